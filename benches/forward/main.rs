//! How fast stored records are sent, beside a bare client that posts the same batches, beside the
//! shortest program that forwards them, and beside the shortest that only reads them.
//!
//! `cargo bench --bench forward` measures every format; `-- ndjson` one of them, and a number
//! behind that is how many records are stored, in place of 100,000. The sender is the real binary
//! in a process of its own, with an SQLite store; the bare client posts batches that are ready, one
//! after another over one connection; the floor reads the rows and writes the batches, too. All
//! are timed by the receiver, which answers at once: from the first request to the end of the last.
//! Processor time, which other load on the machine changes less, is the sender's beyond that of the
//! same process without forwards.

mod client;
mod floor;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../refresh/gateway.rs"]
mod gateway;
mod receiver;
#[path = "../store/records.rs"]
mod records;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../refresh/upstream.rs"]
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use gateway::Gateway;
use incident_gateway::clock::WallClock;
use incident_gateway::config;
use incident_gateway::memory::{Allocator, keep_heaps_small};
use incident_gateway::store::sqlite::{Access, SqliteStore};
use incident_gateway::store::{ForwardStore, KeptUp, Lease, SourceWrite, Store, StoredForward};
use receiver::{Receiver, Seen};
use upstream::Upstream;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const RECORDS: u64 = 100_000;

const FORMATS: [&str; 5] = ["ndjson", "cloudevents", "splunk_hec", "elasticsearch", "alertmanager"];

const ROUNDS: usize = 3;

/// The least ratio to the bare client that is asked for.
const BOUND: f64 = 0.5;

fn main() {
    keep_heaps_small();
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (formats, records) = match arguments[..] {
        [] => (&FORMATS[..], RECORDS),
        ["all", records] => (&FORMATS[..], records.parse().expect("a number")),
        [ref format, ref rest @ ..] => {
            assert!(FORMATS.contains(format), "all, or one of {FORMATS:?}");
            let records = rest.first().map_or(RECORDS, |text| text.parse().expect("a number"));
            (std::slice::from_ref(format), records)
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("history.db");
    let mut writes = records::first_writes(records);
    for write in &mut writes {
        // They are named by their paths.
        let name = write.name.rsplit('/').find(|part| !part.is_empty()).unwrap();
        write.name = name.to_owned();
    }
    let stored = runtime().block_on(store(&database, &writes));
    let config_of = |forward: &str| configuration(&database, &writes, forward);
    let idle = without_forwards(&config_of("[]"));
    let reads = (0..ROUNDS).map(|_| stored as f64 / floor::read(&database).as_secs_f64());
    println!(
        "{stored} records of an SQLite store, medians of {ROUNDS}; reading them alone: {:.0} \
         thousand records/s; without forwards the process takes {:.1} MB and {:.0} ms of processor \
         time",
        median(reads.collect()) / 1e3,
        megabytes(idle.memory),
        idle.cpu.as_secs_f64() * 1e3
    );
    for format in formats {
        measure(format, &database, stored, &idle, &config_of);
    }
}

/// Writes what the first refreshes of all sources bring; returns how many records that is.
async fn store(database: &Path, writes: &[SourceWrite]) -> u64 {
    let store = open(database);
    store.prepare().await.unwrap();
    let Lease::Held { epoch, .. } = store.acquire_or_renew(&KeptUp::default()).await.unwrap()
    else {
        panic!("nobody else is there");
    };
    for write in writes {
        store.write(epoch, write.clone()).await.unwrap();
    }
    // Its last write is followed by work on the log, during which the file is locked.
    store.release(epoch).await.unwrap();
    writes.iter().map(|write| records::upserts(write).len() as u64).sum()
}

fn open(database: &Path) -> std::sync::Arc<SqliteStore> {
    SqliteStore::open(database, Access::Exclusive, WallClock::system()).unwrap()
}

/// A gateway with the sources that have been stored. Their files are not there, so that nothing is
/// written of their records.
fn configuration(database: &Path, writes: &[SourceWrite], forward: &str) -> String {
    let source = |write: &SourceWrite| {
        format!("  - {{ name: {}, file: gone.json, identity: id }}\n", write.name)
    };
    let sources: String = writes.iter().map(source).collect();
    format!(
        "store: {{ url: 'sqlite:{}' }}\ncache: {{ ttl: 1h, stale_for: 1h }}\nidentities: []\n\
         sources:\n{sources}forward: {forward}\n",
        database.display()
    )
}

/// What a process has used.
struct Usage {
    /// The most memory, in bytes.
    memory: usize,
    cpu: Duration,
}

impl Usage {
    fn of(gateway: &Gateway) -> Self {
        Self { memory: gateway.memory("VmHWM"), cpu: gateway.cpu() }
    }
}

/// What the same process uses without forwards.
fn without_forwards(config: &str) -> Usage {
    /// Until the sources were read, and the store's session is under way.
    const SETTLING: Duration = Duration::from_secs(2);
    let gateway = Gateway::configured(config);
    std::thread::sleep(SETTLING);
    let usage = Usage::of(&gateway);
    gateway.stop();
    usage
}

fn measure(
    format: &str,
    database: &Path,
    stored: u64,
    idle: &Usage,
    config_of: &impl Fn(&str) -> String,
) {
    let path = if format == "elasticsearch" { "/_bulk" } else { "/" };
    // Each name has a position of its own.
    let forward = |round: usize, address: SocketAddr| {
        config_of(&format!(
            "[{{ name: {format}-{round}, url: 'http://{address}{path}', format: {format}, \
             from: beginning, batch: {{ max_wait: 0s }} }}]"
        ))
    };
    let mut memory = 0;
    let mut send = |round: usize, receiver: &Receiver| {
        let gateway = Gateway::configured(&forward(round, receiver.address));
        let seen = receiver.wait();
        let usage = Usage::of(&gateway);
        gateway.stop();
        let sent = runtime().block_on(forwards(database));
        let sent = sent.into_iter().find(|of| of.name == format!("{format}-{round}")).unwrap();
        assert_eq!((sent.sent, sent.dead_letters), (stored, 0));
        memory = memory.max(usage.memory);
        (seen, usage.cpu)
    };
    // The first round is not timed: it shows what the others send.
    let receiver = Receiver::start(receiver::Bodies::Keep);
    let batches = send(ROUNDS, &receiver).0.bodies;
    let settings = config::from_yaml("bench", &forward(ROUNDS, receiver.address)).unwrap();
    drop(receiver);
    let bytes: usize = batches.iter().map(bytes::Bytes::len).sum();
    let timed = |post: &dyn Fn(SocketAddr)| {
        let receiver = Receiver::start(receiver::Bodies::Discard);
        post(receiver.address);
        let seen = receiver.wait();
        assert_eq!((seen.requests, seen.bytes), (batches.len(), bytes));
        rate(stored, &seen)
    };
    let (mut forwarded, mut bare, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = Vec::new();
    for round in 0..ROUNDS {
        let receiver = Receiver::start(receiver::Bodies::Discard);
        let (seen, used) = send(round, &receiver);
        assert_eq!(seen.bytes, bytes);
        forwarded.push(rate(stored, &seen));
        cpu.push(used.saturating_sub(idle.cpu).as_secs_f64());
        drop(receiver);
        bare.push(timed(&|address| client::post(address, path, &batches)));
        floor.push(timed(&|address| {
            floor::forward(address, path, database, &settings.forward[0]);
        }));
    }
    let [forwarded, bare, floor, cpu] = [forwarded, bare, floor, cpu].map(median);
    let ratio = forwarded / bare;
    let verdict = if ratio >= BOUND { "" } else { ", MISSED" };
    println!(
        "{format:>13} {:>5.0} thousand records/s in {} requests of {:.0} kB | bare client {:.0}, \
         ratio {ratio:.2} (at least {BOUND}{verdict}) | floor {:.0}, ratio {:.2} | {:.2} us of \
         processor time a record | memory at most {:.1} MB, {:.1} MB more",
        forwarded / 1e3,
        batches.len(),
        bytes as f64 / batches.len() as f64 / 1e3,
        bare / 1e3,
        floor / 1e3,
        forwarded / floor,
        cpu * 1e6 / stored as f64,
        megabytes(memory),
        megabytes(memory.saturating_sub(idle.memory)),
    );
}

async fn forwards(database: &Path) -> Vec<StoredForward> {
    let store = open(database);
    store.prepare().await.unwrap();
    store.forwards().await.unwrap()
}

/// Records a second.
fn rate(records: u64, seen: &Seen) -> f64 {
    records as f64 / seen.elapsed.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
