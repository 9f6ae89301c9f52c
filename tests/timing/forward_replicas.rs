//! Replicas that forward: the holder of the lease sends, and whoever takes over goes on where it
//! has stopped.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::replicas::cluster::Cluster;
use crate::support::client::get;
use crate::support::forward_receiver::{Answer, ForwardReceiver, Record, Request};
use crate::support::process::Process;
use crate::support::scripted_upstream::{Reply, Script, Seen};
use crate::support::tcp_proxy::{Network, TcpProxy};
use rustix::process::Signal;
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a busy machine takes beside that.
const SLACK: Duration = Duration::from_millis(500);

/// Until another replica takes over from one that has died, at most.
const MAX_TAKEOVER: Duration = Duration::from_secs(15);

/// The forward whose requests say which replica has sent them.
const TAGGED: &str = "tagged";

const FORWARDS: [&str; 2] = [TAGGED, "bulk"];

/// Nobody's requests hang.
const NOBODY: usize = usize::MAX;

fn is_poison(record: &Record) -> bool {
    record.incident["timestamp"].as_u64().is_some_and(|timestamp| timestamp % 10 == 3)
}

/// The replica that has sent a row.
fn sender(row: &Value) -> usize {
    row["tags"]["replica"].as_str().unwrap().parse().unwrap()
}

/// The replica that has sent a request.
fn sender_of(request: &Seen) -> usize {
    sender(&serde_json::from_str(request.body.lines().next().unwrap()).unwrap())
}

/// A cluster that forwards. Replicas have numbers, of which the ones that have ended are not used
/// again, and each has a network to PostgreSQL of its own.
struct Forwarding {
    cluster: Cluster,
    /// The numbers of the replicas of the cluster.
    numbers: Vec<usize>,
    networks: Vec<TcpProxy>,
    tagged: ForwardReceiver,
    bulk: ForwardReceiver,
    /// The replica whose requests are not answered.
    hangs: Arc<AtomicUsize>,
    /// How many records the upstream lists.
    records: Cell<usize>,
    /// Those who have led, in their order.
    leaders: Vec<usize>,
}

impl Forwarding {
    async fn start(test: &str, replicas: usize) -> Option<Self> {
        let cluster = Cluster::empty(test).await?;
        let hangs = Arc::new(AtomicUsize::new(NOBODY));
        let tagged = ForwardReceiver::start("ndjson").await;
        let hanging = Arc::clone(&hangs);
        tagged.answer(move |records| {
            let busy = Reply { status: 503, ..Reply::json("{}") };
            match fastrand::u8(0..100) {
                _ if sender(&records[0].entry) == hanging.load(Ordering::SeqCst) => {
                    Answer::Other(Script::HangBeforeHeaders)
                }
                _ if records.iter().any(is_poison) => Answer::Status(400),
                // It has them, and nobody learns that.
                0 => Answer::Other(Script::ResetBeforeHeaders),
                1 => Answer::Other(busy.into()),
                _ => Answer::Status(200),
            }
        });
        let bulk = ForwardReceiver::start("elasticsearch").await;
        bulk.answer(|records| {
            let item = |record| match fastrand::u8(0..100) {
                _ if is_poison(record) => 400,
                0 => 429,
                1..3 => 409,
                _ => 201,
            };
            Answer::Items(records.iter().map(item).collect())
        });
        let mut forwarding = Self {
            cluster,
            numbers: Vec::new(),
            networks: Vec::new(),
            tagged,
            bulk,
            hangs,
            records: Cell::new(1),
            leaders: Vec::new(),
        };
        for _ in 0..replicas {
            forwarding.add_replica().await;
        }
        forwarding.cluster.settle().await;
        forwarding.leaders.push(forwarding.leader().await.unwrap());
        Some(forwarding)
    }

    async fn add_replica(&mut self) {
        let postgres = &self.cluster.postgres;
        let (number, port) = (self.networks.len(), |port: u16| format!(":{port}/"));
        let network = TcpProxy::start(([127, 0, 0, 1], postgres.port()).into()).await;
        let url = postgres.tcp_url(&self.cluster.database);
        let url = url.replace(&port(postgres.port()), &port(network.address().port()));
        let rest = "from: beginning, timeout: 2s, batch: { max_records: 4, max_wait: 100ms }";
        let tagged = format!("{rest}, tags: {{ replica: '{number}' }}");
        let (tagged, bulk) =
            (self.tagged.forward(TAGGED, &tagged), self.bulk.forward("bulk", rest));
        let forwards = format!("[{tagged}, {bulk}]");
        let replica = self.cluster.serve_with(&url, &[("FORWARD", &forwards)]).await;
        self.cluster.replicas.push(replica);
        self.numbers.push(number);
        self.networks.push(network);
    }

    /// The number of the leader, if exactly one replica says that it is.
    async fn leader(&self) -> Option<usize> {
        Some(self.numbers[self.cluster.leader().await?])
    }

    fn replica(&self, number: usize) -> &Process {
        &self.cluster.replicas[self.numbers.iter().position(|of| *of == number).unwrap()]
    }

    fn remove(&mut self, number: usize) -> Process {
        let index = self.numbers.iter().position(|of| *of == number).unwrap();
        self.numbers.remove(index);
        self.cluster.replicas.remove(index)
    }

    /// Lets the upstream list one more record each time a condition is looked at.
    async fn feed_until(&self, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
        let feed = || async {
            self.records.set(self.records.get() + 1);
            self.cluster.list(self.records.get());
            holds().await
        };
        self.cluster.until(what, feed).await
    }

    /// Waits until some more requests have come from the leader.
    async fn until_sent_by(&self, leader: usize) {
        let is_sender = |request: &Request| sender(&request.records[0].entry) == leader;
        let count = || self.tagged.requests().iter().filter(|request| is_sender(request)).count();
        let before = count();
        self.feed_until("requests of the leader", || async { count() > before + 5 }).await;
    }

    /// Waits until another replica leads and sends.
    async fn until_taken_over(&mut self) {
        let former = *self.leaders.last().unwrap();
        let is_other = || async { self.leader().await.is_some_and(|leader| leader != former) };
        let took = self.feed_until("another leader", is_other).await;
        assert!(took < MAX_TAKEOVER, "{took:?}");
        self.leaders.push(self.leader().await.unwrap());
        self.until_sent_by(*self.leaders.last().unwrap()).await;
    }

    /// What each replica says of the forwards.
    async fn forwards(&self) -> Vec<Value> {
        let mut forwards = Vec::new();
        for replica in &self.cluster.replicas {
            let sources = get(replica.address, "/sources").await.json();
            forwards.push(sources["forwards"].clone());
        }
        forwards
    }

    /// Everything is sent; the counts are exact, and every replica says so.
    async fn assert_complete(&self) {
        let (database, records) = (&self.cluster.database, self.records.get());
        let leader = self.cluster.leader().await.unwrap();
        self.cluster.until_stored(leader, records).await;
        let ids = "SELECT replace(id::text, '-', '') FROM records WHERE employee_id IS NOT NULL";
        let ids = self.cluster.postgres.query(database, ids).await;
        let ids: HashSet<String> = ids.into_iter().flatten().flatten().collect();
        let of_poison = |receiver: &ForwardReceiver| -> HashSet<String> {
            let records = receiver.requests().into_iter().flat_map(|request| request.records);
            records.filter(is_poison).map(|record| record.id).collect()
        };
        self.cluster
            .until("the same everywhere, with nothing to be done", || async {
                let forwards = self.forwards().await;
                let is_idle = |forward: &Value| forward["state"] == "idle" && forward["lag"] == 0;
                forwards[0].as_array().unwrap().iter().all(is_idle)
                    && forwards.iter().all(|of_replica| *of_replica == forwards[0])
            })
            .await;
        let told = self.forwards().await.remove(0);
        for (index, receiver) in [&self.tagged, &self.bulk].into_iter().enumerate() {
            let name = FORWARDS[index];
            let accepted: HashSet<String> = receiver.accepted().into_iter().collect();
            let poison = of_poison(receiver);
            assert!(poison.len() > 10 && accepted.is_disjoint(&poison), "{name}");
            assert_eq!(&accepted | &poison, ids, "{name}: what was accepted or refused, and all");
            let expected = serde_json::json!([name, accepted.len(), poison.len()]);
            let told = &told[index];
            let told: Value =
                ["name", "sent", "dead_letters"].iter().map(|key| told[key].clone()).collect();
            assert_eq!(told, expected);
            let letters = "SELECT replace(id::text, '-', '') FROM dead_letters WHERE forward";
            let letters =
                self.cluster.postgres.query(database, &format!("{letters} = '{name}'")).await;
            let letters: Vec<String> = letters.into_iter().flatten().flatten().collect();
            assert_eq!(letters.len(), poison.len(), "{name}");
            assert_eq!(letters.into_iter().collect::<HashSet<_>>(), poison, "{name}");
        }
    }

    /// One leader after another has sent. Where the requests of two overlap, that of the former
    /// one is over when its time is.
    fn assert_one_after_another(&self) {
        let seen = self.tagged.upstream.seen();
        let mut senders: Vec<_> = seen.iter().map(sender_of).collect();
        for (at, later) in senders.iter().enumerate() {
            for former in (0..at).filter(|former| senders[*former] != *later) {
                let ended = seen[former].ended.expect("it has ended");
                let overlap = ended.saturating_duration_since(seen[at].began);
                let took = ended - seen[former].began;
                assert!(overlap < TIMEOUT + SLACK, "{overlap:?}, as the former took {took:?}");
            }
        }
        senders.dedup();
        assert_eq!(senders, self.leaders);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeovers_lose_nothing_and_count_each_record_once() {
    let test = "takeovers_lose_nothing_and_count_each_record_once";
    let Some(mut forwarding) = Forwarding::start(test, 3).await else { return };
    let first = forwarding.leaders[0];
    forwarding.until_sent_by(first).await;

    // PostgreSQL cannot be reached by the leader, while its receiver can, and does not answer.
    forwarding.hangs.store(first, Ordering::SeqCst);
    forwarding.networks[first].set(Network::Stalled);
    forwarding.until_taken_over().await;
    let up = Instant::now();
    forwarding.networks[first].set(Network::Up);
    forwarding.cluster.until_up(true).await;
    assert!(up.elapsed() < MAX_TAKEOVER, "{:?}", up.elapsed());
    forwarding.hangs.store(NOBODY, Ordering::SeqCst);

    let second = forwarding.leaders[1];
    forwarding.until_sent_by(second).await;
    forwarding.replica(second).signal(Signal::KILL);
    forwarding.remove(second).ends_within(Duration::from_secs(5)).await;
    forwarding.until_taken_over().await;

    forwarding.add_replica().await;
    forwarding.cluster.settle().await;
    let third = forwarding.leaders[2];
    forwarding.until_sent_by(third).await;
    forwarding.replica(third).signal(Signal::TERM);
    let mut ending = forwarding.remove(third);
    forwarding.until_taken_over().await;
    assert_eq!(ending.ends_within(Duration::from_secs(15)).await.code(), Some(0));

    forwarding.assert_complete().await;
    forwarding.assert_one_after_another();
}
