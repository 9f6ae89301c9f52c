//! A gateway with a store, beside one without: its refreshes, its restart, its answers while it
//! writes, and its memory.

use std::time::{Duration, Instant};

use incident_gateway::store::{SourceWrite, Store as _};

use super::first_write::{copy, open_sqlite};
use super::history::fill_sqlite;
use super::load::LOADS;
use super::postgres::{PostgresServer, Settings};
use super::records::first_writes;
use super::{Gateway, Size, Upstream, floor, median, milliseconds, runtime};

const STORE_URL: &str = "INCIDENT_GATEWAY__STORE__URL";
const STORE_KEEP: &str = "INCIDENT_GATEWAY__STORE__KEEP";

/// So that a first answer is complete on a slow machine, too.
const LONG_BUDGET: (&str, &str) = ("INCIDENT_GATEWAY__RESPONSE_BUDGET", "1m");

/// Longer than a bench.
const ONCE: &str = "1h";

const TTL: &str = "1500ms";

/// What a first refresh writes: seven sources and the table of identities.
const FIRST_WRITES: u64 = 8;

fn writes(gateway: &Gateway) -> u64 {
    gateway.count("incident_gateway_store_write_duration_seconds_count")
}

/// Waits until the first refresh is stored.
fn wait_until_stored(gateway: &Gateway) {
    let started = Instant::now();
    while writes(gateway) < FIRST_WRITES {
        assert!(started.elapsed() < Duration::from_mins(5), "the first refresh is not stored");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sqlite_url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("history.db").display())
}

/// The processor time that a refresh takes more with a store, which compares and writes; and what
/// a refresh that brings nothing new makes PostgreSQL read and write.
pub(crate) fn refreshes(size: Size) {
    const REFRESHES: u64 = 12;
    let Size { records, .. } = size;
    println!(
        "processor time of a refresh of {records} records, the gateway's whole process, averages \
         of {REFRESHES}"
    );
    let runtime = runtime();
    let server = PostgresServer::start("refreshes", &Settings::default());
    for (second, name) in [("same", "nothing new"), ("some", "1 % new")] {
        let upstream = Upstream::start_with(records, second);
        let measure = |gateway: &Gateway| {
            let (before, cpu) = (gateway.refreshes(), gateway.cpu());
            while gateway.refreshes() < before + REFRESHES {
                std::thread::sleep(Duration::from_millis(10));
            }
            // What the last one brought may still be stored.
            std::thread::sleep(Duration::from_millis(700));
            milliseconds(gateway.cpu().saturating_sub(cpu)) / REFRESHES as f64
        };
        let without = {
            let gateway = Gateway::start(&upstream, TTL);
            gateway.get("/incidents?complete=true", "identity");
            measure(&gateway)
        };
        println!("{name:>12} | without a store {without:>6.0} ms");
        let with = |url: &str| {
            let gateway = Gateway::start_with(&upstream, TTL, &[(STORE_URL, url)]);
            gateway.get("/incidents?complete=true", "identity");
            wait_until_stored(&gateway);
            // The second set of records is stored for the first time, too.
            let before = gateway.refreshes();
            while gateway.refreshes() < before + 3 {
                std::thread::sleep(Duration::from_millis(10));
            }
            gateway
        };
        let folder = tempfile::tempdir().unwrap();
        let sqlite = measure(&with(&sqlite_url(&folder)));
        println!("{name:>12} | SQLite          {sqlite:>6.0} ms, {:+.0} ms", sqlite - without);
        let Some(server) = &server else {
            println!("{name:>12} | PostgreSQL: not installed");
            continue;
        };
        let database = runtime.block_on(server.create_database());
        let gateway = with(&server.url(&database));
        let rows = || {
            // Sessions report their counts a second later.
            std::thread::sleep(Duration::from_secs(3));
            let sql = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) \
                FILTER (WHERE relname = 'records'), 0), \
                coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del) \
                FILTER (WHERE relname = 'records'), 0), \
                coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del) \
                FILTER (WHERE relname = 'sources'), 0) FROM pg_stat_user_tables";
            let rows = runtime.block_on(server.query(&database, sql));
            let counts = rows[0].iter().map(|count| count.as_deref().unwrap().parse::<f64>());
            counts.map(Result::unwrap).collect::<Vec<_>>()
        };
        let (before, refreshes) = (rows(), gateway.refreshes());
        let postgres = measure(&gateway);
        let (after, refreshes) = (rows(), gateway.refreshes() - refreshes);
        let each = |index: usize| (after[index] - before[index]) / refreshes as f64;
        println!(
            "{name:>12} | PostgreSQL      {postgres:>6.0} ms, {:+.0} ms | rows a refresh: {:.1} \
             records read, {:.1} written; {:.1} sources written",
            postgres - without,
            each(0),
            each(1),
            each(2)
        );
    }
}

/// From exec to the first complete answer: from a store, beside a cold start.
pub(crate) fn restart(size: Size) {
    const ROUNDS: usize = 5;
    let Size { records, .. } = size;
    let upstream = Upstream::start_with(records, "same");
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(&folder);
    let server = PostgresServer::start("restart", &Settings::default());
    let mut places = vec![("SQLite", url)];
    if let Some(server) = &server {
        let database = runtime().block_on(server.create_database());
        places.push(("PostgreSQL", server.url(&database)));
    }
    println!("first complete answer, {records} records, medians of {ROUNDS}");
    for (name, url) in &places {
        let gateway = Gateway::start_with(&upstream, ONCE, &[(STORE_URL, url)]);
        gateway.get("/incidents?complete=true", "identity");
        wait_until_stored(&gateway);
        gateway.stop();
        let mut times: [Vec<Duration>; 2] = Default::default();
        for _ in 0..ROUNDS {
            let variables: [&[(&str, &str)]; 2] =
                [&[LONG_BUDGET], &[LONG_BUDGET, (STORE_URL, url)]];
            for (variables, times) in variables.into_iter().zip(&mut times) {
                let started = Instant::now();
                let gateway = Gateway::start_with(&upstream, ONCE, variables);
                let answer = gateway.get("/incidents?complete=true", "identity");
                times.push(started.elapsed());
                assert!(answer.is_complete, "the first answer is not complete");
                gateway.stop();
            }
        }
        let [cold, restart] = times.map(median).map(milliseconds);
        println!(
            "{name:>10} {restart:>6.0} ms | cold start {cold:.0} ms, {:.2} times",
            restart / cold
        );
    }
}

/// The 99th percentile of warm answers while a first refresh is written, and at rest. `PostgreSQL`
/// runs on the same cores here and takes its share of them, so that a third figure shows what a
/// plain COPY of the same records by another process does to a gateway that writes nothing.
pub(crate) fn latency(size: Size) {
    let Size { records, .. } = size;
    let upstream = Upstream::start_with(records, "same");
    println!(
        "warm answers while {records} records are written, medians of {LATENCY_ROUNDS}: p50, p99 \
         in ms"
    );
    latency_beside("SQLite", &upstream, None, sqlite_url);
    let Some(server) = PostgresServer::start("latency", &Settings::default()) else {
        println!("PostgreSQL: not installed");
        return;
    };
    let writes = first_writes(records);
    let url = |_: &_| server.url(&runtime().block_on(server.create_database()));
    latency_beside("PostgreSQL", &upstream, Some((&server, &writes)), url);
}

const LATENCY_ROUNDS: usize = 5;

fn latency_beside(
    name: &str,
    upstream: &Upstream,
    plain: Option<(&PostgresServer, &[SourceWrite])>,
    url: impl Fn(&tempfile::TempDir) -> String,
) {
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::start_with(upstream, ONCE, &[(STORE_URL, &url(&folder))]);
        (gateway, folder)
    };
    // How long it writes, so that the load ends before.
    let load_duration = {
        let (gateway, _folder) = start();
        gateway.get("/incidents?complete=true", "identity");
        let started = Instant::now();
        wait_until_stored(&gateway);
        started.elapsed().mul_f64(0.6).min(Duration::from_secs(5))
    };
    for (load_name, load) in LOADS.iter().take(3) {
        let mut percentiles: [[Vec<Duration>; 2]; 3] = Default::default();
        let mut still_writing = 0;
        for _ in 0..LATENCY_ROUNDS {
            let (gateway, _folder) = start();
            // All is fetched and joined before the load begins.
            gateway.get("/incidents?complete=true", "identity");
            let target = load.target(&gateway);
            gateway.get(&target, load.coding);
            let mut measure = |index: usize| {
                let latencies = load.run_for(load_duration, gateway.address(), &target);
                percentiles[index][0].push(latencies.percentile(50));
                percentiles[index][1].push(latencies.percentile(99));
            };
            measure(0);
            still_writing += usize::from(writes(&gateway) < FIRST_WRITES);
            wait_until_stored(&gateway);
            std::thread::sleep(Duration::from_secs(1));
            measure(1);
            if let Some((server, writes)) = plain {
                beside_copy(server, writes, || measure(2));
            }
        }
        let median = |times: &[Vec<Duration>; 2]| times.clone().map(median).map(milliseconds);
        let [during, rest] = [0, 1].map(|index| median(&percentiles[index]));
        print!(
            "{name:>10}, {load_name:>20} | writing {:>6.2} {:>7.2} | at rest {:>6.2} {:>7.2} | p99 \
             {:.2} times; {still_writing} of {LATENCY_ROUNDS} wrote to the end of {:.1} s",
            during[0],
            during[1],
            rest[0],
            rest[1],
            during[1] / rest[1],
            load_duration.as_secs_f64()
        );
        if plain.is_some() {
            let copy = median(&percentiles[2]);
            let ratios = (copy[1] / rest[1], during[1] / copy[1]);
            print!(
                " | beside a plain COPY {:>6.2} {:>7.2}, {:.2} times; writing beside that {:.2}",
                copy[0], copy[1], ratios.0, ratios.1
            );
        }
        println!();
    }
}

/// Measures while the records are written by COPY again and again.
fn beside_copy(server: &PostgresServer, writes: &[SourceWrite], measure: impl FnOnce()) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                let copies = async {
                    loop {
                        copy(server, writes).await;
                    }
                };
                tokio::select! {
                    () = copies => {}
                    _ = stopped => {}
                }
            });
        });
        // The tables are made first.
        std::thread::sleep(Duration::from_millis(500));
        measure();
        drop(stop);
    });
}

/// Memory with an empty history and with a large one.
pub(crate) fn memory(size: Size) {
    const REFRESHES: u64 = 6;
    let Size { records, rows } = size;
    let upstream = Upstream::start_with(records, "some");
    println!("memory with a store in SQLite, {records} records, 1 % new in each refresh");
    for rows in [0, rows] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        if rows > 0 {
            runtime().block_on(open_sqlite(&path).prepare()).unwrap();
            fill_sqlite(&mut floor::open(&path), i64::try_from(rows).unwrap());
        }
        let variables = [(STORE_URL, &*sqlite_url(&folder)), (STORE_KEEP, "876000h")];
        let gateway = Gateway::start_with(&upstream, TTL, &variables);
        gateway.get("/incidents?complete=true", "identity");
        wait_until_stored(&gateway);
        let until = gateway.refreshes() + REFRESHES;
        while gateway.refreshes() < until {
            for target in ["/history?limit=1000", "/history?employee_id=100007", "/history/summary"]
            {
                gateway.get(target, "identity");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        let samples = (0..40).map(|_| {
            std::thread::sleep(Duration::from_millis(40));
            gateway.memory("VmRSS")
        });
        let rest = samples.min().unwrap();
        println!(
            "{rows:>9} older rows | peak {:>6.0} MB | rest {:>6.0} MB",
            gateway.memory("VmHWM") as f64 / 1e6,
            rest as f64 / 1e6
        );
    }
}
