//! The cost of a large refresh: the time from start to the first complete answer, memory, and the
//! latency of callers meanwhile.
//!
//! `cargo bench --bench refresh` runs all three, and a mapped list of many pages; `-- cold`,
//! `-- memory`, `-- latency`, `-- pages` or `-- endurance` runs one. The gateway is the real binary
//! in a process of its own. So is the upstream, this bench started again, which sends other data at
//! each call. The floor is a bare client that downloads the same bodies and validates them.

#[path = "../support/exchange.rs"]
mod exchange;
mod floor;
mod gateway;
mod load;
mod pages;
mod upstream;

use std::time::{Duration, Instant};

use gateway::Gateway;
use upstream::Upstream;

const RECORDS: u64 = 700_000;

/// The interval between refreshes while latency is measured.
const REFRESH_INTERVAL: Duration = Duration::from_millis(400);

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve-upstream", records, second] => upstream::serve(records.parse().unwrap(), second),
        ["floor", how, address] => floor::run(how, address),
        ["keep-refreshing", address] => floor::keep_refreshing(address, REFRESH_INTERVAL),
        ["serve-pages"] => pages::serve(),
        ["fetch-pages", address] => pages::fetch(address),
        ["cold"] => cold(),
        ["memory"] => memory(),
        ["latency"] => latency(""),
        ["latency", answers] => latency(answers),
        ["pages"] => pages::run(),
        ["endurance"] => endurance(),
        [] => {
            cold();
            memory();
            latency("");
            pages::run();
        }
        _ => panic!(
            "cold, memory, latency, pages, endurance, or nothing for all but the last; after \
             latency, which answers"
        ),
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Time from exec to listening and to the first complete answer, in turn with the bare client's.
fn cold() {
    const ROUNDS: usize = 7;
    let upstream = Upstream::start(RECORDS);
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (how, times) in ["sequential", "concurrent"].into_iter().zip(&mut times) {
            times.push(floor::time(how, &upstream));
        }
        let started = Instant::now();
        let gateway = Gateway::start(&upstream, "1h");
        times[2].push(started.elapsed());
        let answer = gateway.get("/incidents?complete=true", "identity");
        times[3].push(started.elapsed());
        assert!(answer.is_complete, "the first answer is not complete");
    }
    let [sequential, concurrent, listening, whole] = times.map(median).map(milliseconds);
    println!("cold start, {RECORDS} records, {:.1} MB", upstream.megabytes());
    println!("bare client, one after another   {sequential:>6.0} ms");
    println!("bare client, all at once         {concurrent:>6.0} ms");
    println!("gateway, listening               {listening:>6.1} ms");
    println!(
        "gateway, first complete answer   {whole:>6.0} ms   {:.2} and {:.2} times the bare \
         client's",
        whole / sequential,
        whole / concurrent
    );
}

/// Memory at its peak and at rest, as multiples of the upstream's data, for several sets of
/// documents that callers ask for.
fn memory() {
    const TTL: Duration = Duration::from_secs(1);
    const JSON: &str = "application/json";
    let mixes: [(&str, &[(&str, &str)]); 5] = [
        ("JSON", &[(JSON, "identity")]),
        ("JSON as gzip", &[(JSON, "gzip")]),
        ("JSON plain, gzip, zstd", &[(JSON, "identity"), (JSON, "gzip"), (JSON, "zstd")]),
        (
            "JSON, NDJSON, CSV",
            &[(JSON, "identity"), ("application/x-ndjson", "identity"), ("text/csv", "identity")],
        ),
        (
            "all three, as gzip",
            &[(JSON, "gzip"), ("application/x-ndjson", "gzip"), ("text/csv", "gzip")],
        ),
    ];
    let upstream = Upstream::start(RECORDS);
    println!(
        "memory, {RECORDS} records, {:.1} MB, all of it new in each refresh",
        upstream.megabytes()
    );
    println!(
        "{:>24} | {:>14} {:>14} {:>14}",
        "documents in use", "cold peak", "later peak", "rest"
    );
    for (name, documents) in mixes {
        let gateway = Gateway::start(&upstream, "1s");
        let ask = || {
            for (accept, coding) in documents {
                gateway.get_as("/incidents", accept, coding);
            }
        };
        ask();
        let cold = gateway.memory("VmHWM");
        let until = gateway.refreshes() + 6;
        while gateway.refreshes() < until {
            std::thread::sleep(TTL / 4);
            ask();
        }
        let peak = gateway.memory("VmHWM");
        // The smallest of samples over one interval is that between two refreshes.
        let samples = (0..40).map(|_| {
            std::thread::sleep(TTL / 40);
            gateway.memory("VmRSS")
        });
        let rest = samples.min().unwrap();
        let shown = |bytes: usize| {
            format!(
                "{:.0} MB {:.2} x",
                bytes as f64 / 1e6,
                bytes as f64 / 1e6 / upstream.megabytes()
            )
        };
        println!("{name:>24} | {:>14} {:>14} {:>14}", shown(cold), shown(peak), shown(rest));
    }
}

/// The 99th percentile of warm answers, in turn at rest, during refreshes, and, as the floor, while
/// a bare client of the same niceness downloads and validates the same data as often.
fn latency(answers: &str) {
    const ROUNDS: usize = 5;
    let upstream = Upstream::start(RECORDS);
    println!(
        "latency, {RECORDS} records, {:.1} MB, medians of {ROUNDS} rounds",
        upstream.megabytes()
    );
    println!(
        "in ms: median, p99, longest; then p99 beside that at rest, its median and each round's"
    );
    println!(
        "{:>20} | {:>21} | {:>21} | {:>21} | refreshes, bare client",
        "answers", "at rest", "during refreshes", "beside a bare client"
    );
    for (name, load) in load::LOADS.into_iter().filter(|(name, _)| name.starts_with(answers)) {
        let measure = |ttl: Duration| {
            let gateway = Gateway::start(&upstream, &format!("{}ms", ttl.as_millis()));
            let target = load.target(&gateway);
            // A first request, so that each refresh renders the answer ahead.
            gateway.get(&target, load.coding);
            std::thread::sleep(Duration::from_millis(300));
            let before = gateway.refreshes();
            let latencies = load.run(gateway.address(), &target);
            (
                [50, 99, 100].map(|of_hundred| latencies.percentile(of_hundred)),
                gateway.refreshes() - before,
            )
        };
        let rarely = Duration::from_hours(1);
        let mut refreshes = 0;
        let rounds = [(); ROUNDS].map(|()| {
            let (rest, (during, count)) = (measure(rarely).0, measure(REFRESH_INTERVAL));
            refreshes += count;
            let _refreshing = floor::Refreshing::start(&upstream);
            [rest, during, measure(rarely).0]
        });
        let figures = |what: usize| {
            let figure = |figure: usize| {
                milliseconds(median(rounds.map(|round| round[what][figure]).into()))
            };
            format!("{:>6.2} {:>6.2} {:>7.2}", figure(0), figure(1), figure(2))
        };
        let ratios = |what: usize| {
            let mut ratios =
                rounds.map(|round| round[what][1].as_secs_f64() / round[0][1].as_secs_f64());
            ratios.sort_by(f64::total_cmp);
            format!(
                "{:.2} ({})",
                ratios[ROUNDS / 2],
                ratios.map(|ratio| format!("{ratio:.1}")).join(" ")
            )
        };
        let [rest, during, floor] = [0, 1, 2].map(figures);
        println!(
            "{name:>20} | {rest} | {during} | {floor} | {}, {}; {refreshes} refreshes",
            ratios(1),
            ratios(2)
        );
    }
}

/// Resident memory over a thousand refreshes.
fn endurance() {
    const EACH: u64 = 100;
    let upstream = Upstream::start(RECORDS / 10);
    let gateway = Gateway::start(&upstream, "50ms");
    println!(
        "resident memory over refreshes, {} records, {:.1} MB",
        RECORDS / 10,
        upstream.megabytes()
    );
    for hundred in 0..=10 {
        while gateway.refreshes() < hundred * EACH + 5 {
            drop(gateway.get("/incidents", "identity"));
            std::thread::sleep(Duration::from_millis(20));
        }
        let samples = (0..40).map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            gateway.memory("VmRSS")
        });
        let rest = samples.min().unwrap();
        let [rest, peak] = [rest, gateway.memory("VmHWM")].map(|bytes| bytes as f64 / 1e6);
        println!(
            "{:>5} refreshes: {rest:.1} MB at rest, {peak:.1} MB at the peak",
            gateway.refreshes()
        );
    }
}
