//! What a store costs, beside floors that are measured in the same run.
//!
//! `cargo bench --bench store` runs all; `-- first-write`, `-- refreshes`, `-- history`,
//! `-- restart`, `-- latency` or `-- memory` runs one. Two numbers behind that are the records of
//! the sources and the rows of the history, in place of 700,000 and 10,000,000. First writes and
//! the history are measured at the store's interface, the rest at the real binary in a process of
//! its own, beside the same binary without a store. Without PostgreSQL its parts are left out.

#[path = "../support/exchange.rs"]
mod exchange;
mod first_write;
mod floor;
#[path = "../refresh/gateway.rs"]
mod gateway;
mod history;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../refresh/load.rs"]
mod load;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod records;
mod served;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../refresh/upstream.rs"]
mod upstream;

use std::time::Duration;

use gateway::Gateway;
use incident_gateway::memory::{Allocator, keep_heaps_small};
use upstream::Upstream;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// As many as a large organisation has: 60 MB.
const RECORDS: u64 = 700_000;

/// The rows of a large history.
const HISTORY_ROWS: u64 = 10_000_000;

fn main() {
    keep_heaps_small();
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["serve-upstream", records, second] = arguments[..] {
        return upstream::serve(records.parse().unwrap(), second);
    }
    let number = |text: &str| text.replace('_', "").parse().expect("a number");
    let size = |numbers: &[&str]| Size {
        records: numbers.first().map_or(RECORDS, |text| number(text)),
        rows: numbers.get(1).map_or(HISTORY_ROWS, |text| number(text)),
    };
    let (what, size) = match arguments[..] {
        [] => ("all", size(&[])),
        [what, ref numbers @ ..] => (what, size(numbers)),
    };
    let benches: [(&str, Bench); 6] = [
        ("first-write", first_write::run),
        ("refreshes", served::refreshes),
        ("history", history::run),
        ("restart", served::restart),
        ("latency", served::latency),
        ("memory", served::memory),
    ];
    assert!(
        what == "all" || benches.iter().any(|(name, _)| *name == what),
        "all, first-write, refreshes, history, restart, latency or memory"
    );
    for (name, bench) in benches {
        if what == "all" || what == name {
            bench(size);
        }
    }
}

type Bench = fn(Size);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// The records of all sources.
    records: u64,
    /// The rows of a large history.
    rows: u64,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
