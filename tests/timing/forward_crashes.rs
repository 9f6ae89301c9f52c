//! The gateway and the command `forward` are killed at random moments, and receivers fail at
//! random: each record is accepted or a dead letter, and the counts are exact at every moment.

mod books;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::books::{Books, Database};
use crate::crashes::{ROUNDS, SETTINGS, until};
use crate::replicas::cluster::Cluster;
use crate::support::client::get;
use crate::support::forward_receiver::{Answer, ForwardReceiver, Record};
use crate::support::gateway::good_upstream;
use crate::support::listing::Listing;
use crate::support::process::{Process, spawn_forward};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};
use rustix::process::Signal;
use tokio::time::sleep;

/// The moment of a crash is within this time after the process listens, or after the command
/// starts.
const MAX_LIFE: Duration = Duration::from_millis(1200);

/// Of so many records, one is refused.
const RECORDS_A_POISON: usize = 31;

/// Of so many rounds, one is of the command.
const ROUNDS_A_COMMAND: usize = 3;

const FORWARDS: [&str; 3] = ["ndjson", "cloudevents", "elasticsearch"];

fn is_poison(record: &Record) -> bool {
    Listing::number(&record.incident).is_some_and(|number| number % RECORDS_A_POISON == 7)
}

/// How a receiver answers that fails at random unless it is calm. It takes a moment, so that
/// requests are in flight when the process is killed.
fn answer(format: &str, is_calm: bool, records: &[Record]) -> Answer {
    let delay = Duration::from_millis(fastrand::u64(0..15));
    let busy = Reply { status: 503, ..Reply::json("{}") };
    let fault = if is_calm { 1.0 } else { fastrand::f64() };
    let item = |record: &Record| match record {
        record if is_poison(record) => 400,
        _ if !is_calm && fastrand::u8(..) < 3 => 429,
        _ => *fastrand::choice(&[200, 201, 409]).unwrap(),
    };
    match fault {
        // It has them, and nobody learns that.
        ..0.03 => Answer::Other(Script::ResetBeforeHeaders),
        0.03..0.05 => Answer::Other(busy.after(delay).into()),
        _ if format == "elasticsearch" => Answer::Items(records.iter().map(item).collect()),
        _ if records.iter().any(is_poison) => Answer::Status(400),
        _ => Answer::Status(200),
    }
}

/// Receivers, and the records that an upstream lists: ever more.
struct World {
    upstream: ScriptedUpstream,
    receivers: Vec<ForwardReceiver>,
    is_calm: Arc<AtomicBool>,
    records: usize,
    store: String,
}

impl World {
    async fn new(store: String) -> Self {
        let is_calm = Arc::new(AtomicBool::new(false));
        let mut receivers = Vec::new();
        for format in FORWARDS {
            let (receiver, is_calm) = (ForwardReceiver::start(format).await, is_calm.clone());
            receiver.answer(move |records| answer(format, is_calm.load(Ordering::SeqCst), records));
            receivers.push(receiver);
        }
        let upstream = good_upstream().await;
        Self { upstream, receivers, is_calm, records: 0, store }
    }

    /// Lets the upstream list some more records.
    fn add_records(&mut self) {
        self.records += fastrand::usize(0..20);
        Listing { records: 0..self.records, padding: 20 }.script(&self.upstream);
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let rest = "from: beginning, batch: { max_records: 20, max_wait: 20ms }";
        let forward = |(receiver, name): (&ForwardReceiver, _)| receiver.forward(name, rest);
        let forwards: Vec<_> = self.receivers.iter().zip(FORWARDS).map(forward).collect();
        let forwards = format!("[{}]", forwards.join(", "));
        let own = [("STORE__URL", self.store.clone()), ("FORWARD", forwards)];
        let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        settings.into_iter().chain(own).collect()
    }

    async fn serve(&self) -> Process {
        let variables = self.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        Process::serve(&self.upstream.base_url(), &variables).await
    }

    /// A life of the gateway, until its sudden end.
    async fn live(&mut self) {
        let mut process = self.serve().await;
        let end = Instant::now() + MAX_LIFE.mul_f64(fastrand::f64());
        while Instant::now() < end {
            self.add_records();
            sleep(Duration::from_millis(50)).await;
        }
        process.signal(Signal::KILL);
        process.ends_within(Duration::from_secs(5)).await;
    }

    /// A life of the command, until its sudden end or its own.
    async fn run(&mut self) {
        self.add_records();
        let variables = self.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        let mut command = spawn_forward(&self.upstream.base_url(), &variables);
        sleep(MAX_LIFE.mul_f64(fastrand::f64())).await;
        command.kill().await.unwrap();
    }

    /// Lets the gateway send what is left.
    async fn finish(&self) -> Process {
        self.is_calm.store(true, Ordering::SeqCst);
        let process = self.serve().await;
        let newest = Listing::name(self.records - 1);
        until("all records stored", || async {
            let history = get(process.address, "/history?type=misuse&limit=1").await;
            history.status == 200 && history.text().contains(&newest)
        })
        .await;
        until("everything sent", || async {
            let sources = get(process.address, "/sources").await.json();
            let forwards = sources["forwards"].as_array().unwrap();
            forwards.iter().all(|forward| forward["state"] == "idle" && forward["lag"] == 0)
        })
        .await;
        process
    }
}

/// Kills the gateway or the command again and again; after each time the books must be right.
async fn crash_again_and_again(database: &Database, url: String) {
    let mut world = World::new(url).await;
    let mut reached = 0;
    for round in 0..*ROUNDS {
        if round % ROUNDS_A_COMMAND == ROUNDS_A_COMMAND - 1 {
            world.run().await;
        } else {
            world.live().await;
        }
        database.end_lease().await;
        for (receiver, name) in world.receivers.iter().zip(FORWARDS) {
            let Some(books) = Books::read(database, name).await else { continue };
            books.check(receiver, is_poison);
            reached = reached.max(books.position);
        }
    }
    assert!(reached > 0, "nothing was ever sent before a crash");
    world.add_records();
    let process = world.finish().await;
    process.signal(Signal::KILL);
    for (receiver, name) in world.receivers.iter().zip(FORWARDS) {
        let books = Books::read(database, name).await.expect("a position");
        books.check(receiver, is_poison);
        books.check_complete(receiver, is_poison);
        assert_eq!(receiver.upstream.most_in_flight(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_forwards_each_record_though_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.db");
    let url = format!("sqlite:{}", file.display());
    crash_again_and_again(&Database::Sqlite(file), url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_forwards_each_record_though_the_process_is_killed() {
    let test = "postgres_forwards_each_record_though_the_process_is_killed";
    let Some(cluster) = Cluster::empty(test).await else { return };
    let url = cluster.postgres.tcp_url(&cluster.database);
    crash_again_and_again(&Database::Postgres(cluster), url).await;
}
