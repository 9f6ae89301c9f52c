//! The process is killed at random moments, the database too, and the disk is full: what was stored
//! is there afterwards, once.

mod disk;
mod ledger;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use self::disk::SmallDisk;
use self::ledger::Ledger;
use crate::replicas::cluster::{Cluster, incidents, is_complete, metric};
use crate::support::client::get;
use crate::support::gateway::good_upstream;
use crate::support::listing::Listing;
use crate::support::postgres::Stop;
use crate::support::process::Process;
use crate::support::scripted_upstream::ScriptedUpstream;
use rustix::process::Signal;
use tokio::time::sleep;

/// How often each store is crashed: `INCIDENT_GATEWAY_CRASH_ROUNDS`.
pub(crate) static ROUNDS: LazyLock<usize> = LazyLock::new(|| {
    let rounds = std::env::var("INCIDENT_GATEWAY_CRASH_ROUNDS").ok();
    rounds.map_or(8, |rounds| rounds.parse().unwrap())
});

/// The moment of a crash is within this time after the process listens.
const MAX_LIFE: Duration = Duration::from_millis(900);

/// How often what the upstream lists changes; a refresh is made every 200 ms.
const CHANGE_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) const SETTINGS: [(&str, &str); 3] =
    [("CACHE__TTL", "200ms"), ("UPSTREAM__RETRIES", "0"), ("UPSTREAM__CONCURRENCY", "8")];

/// How long a test waits for what has no bound of its own.
const MAX_WAIT: Duration = Duration::from_mins(1);

pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < MAX_WAIT, "never {what}");
        sleep(Duration::from_millis(30)).await;
    }
}

/// An upstream whose list moves on by itself: records come and go.
async fn moving_upstream() -> Arc<ScriptedUpstream> {
    let upstream = Arc::new(good_upstream().await);
    let moving = Arc::clone(&upstream);
    let next = AtomicUsize::new(1);
    tokio::spawn(async move {
        while Arc::strong_count(&moving) > 1 {
            let newest = next.fetch_add(1, Ordering::Relaxed);
            let oldest = newest.saturating_sub(100);
            Listing { records: oldest..newest, padding: 20 }.script(&moving);
            sleep(CHANGE_INTERVAL).await;
        }
    });
    upstream
}

/// A life of a process, from its start to its sudden end.
async fn live(process: Process, ledger: &mut Ledger) {
    let mut process = process;
    let end = Instant::now() + MAX_LIFE.mul_f64(fastrand::f64());
    incidents(&process).await;
    ledger.check(process.address).await;
    while Instant::now() < end {
        ledger.check(process.address).await;
    }
    process.signal(Signal::KILL);
    process.ends_within(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_loses_and_doubles_nothing_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.db");
    let url = format!("sqlite:{}", file.display());
    let upstream = moving_upstream().await;
    let mut ledger = Ledger::default();
    let variables = [&SETTINGS[..], &[("STORE__URL", &url)]].concat();
    for round in 0..*ROUNDS {
        let process = Process::serve(&upstream.base_url(), &variables).await;
        live(process, &mut ledger).await;
        let database = rusqlite::Connection::open(&file).unwrap();
        let integrity: String =
            database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok", "round {round}");
        let counts = "SELECT count(*), count(DISTINCT number), count(DISTINCT id) FROM records";
        let counts: [i64; 3] = database
            .query_row(counts, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
            .unwrap();
        assert_eq!(counts, [counts[0]; 3], "round {round}: records, numbers, ids");
    }
    assert!(ledger.len() > 20, "too few records to tell: {}", ledger.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_loses_and_doubles_nothing_when_process_or_server_is_killed() {
    let test = "postgres_loses_and_doubles_nothing";
    let Some(cluster) = Cluster::empty(test).await else { return };
    let url = cluster.postgres.tcp_url(&cluster.database);
    let upstream = moving_upstream().await;
    let mut ledger = Ledger::default();
    let variables = [&SETTINGS[..], &[("STORE__URL", &url)]].concat();
    for round in 0..*ROUNDS {
        let process = Process::serve(&upstream.base_url(), &variables).await;
        until("the leader", || async { metric(&process, "store_leader").await == Some(1.0) }).await;
        if round % 4 == 3 {
            // Without data yet, a process that waits for its store may answer that it has none.
            until("complete data", || async { is_complete(&process).await }).await;
            ledger.check(process.address).await;
            cluster.postgres.stop(Stop::Immediate);
            incidents(&process).await;
            cluster.postgres.restart();
            until("the store up", || async { metric(&process, "store_up").await == Some(1.0) })
                .await;
        }
        live(process, &mut ledger).await;
        let counts = "SELECT count(*), count(DISTINCT number), count(DISTINCT id) FROM records";
        let row = cluster.postgres.query(&cluster.database, counts).await.remove(0);
        assert!(row.iter().all(|count| *count == row[0]), "round {round}: {row:?}");
        // As if the ten seconds of the lease were over.
        let expire = "UPDATE lease SET expires_at = '-infinity'";
        cluster.postgres.query(&cluster.database, expire).await;
    }
    assert!(ledger.len() > 20, "too few records to tell: {}", ledger.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_history_and_nothing_else() {
    const RECORDS_A_STEP: usize = 200;
    let Some(disk) = SmallDisk::mount("a_full_disk_stops_the_history", "3m") else { return };
    let url = format!("sqlite:{}/history.db", disk.path().display());
    let upstream = good_upstream().await;
    let list = |records| Listing { records: 0..records, padding: 2000 }.script(&upstream);
    list(RECORDS_A_STEP);
    let variables = [&SETTINGS[..], &[("STORE__URL", &url)]].concat();
    let process = Process::serve(&upstream.base_url(), &variables).await;
    until("the store up", || async { metric(&process, "store_up").await == Some(1.0) }).await;
    let history = || get(process.address, "/history?type=misuse&limit=1");
    until("a history", || async { history().await.json()["count"] == 1 }).await;
    let mut records = RECORDS_A_STEP;
    let began = Instant::now();
    while metric(&process, "store_up").await == Some(1.0) {
        assert!(began.elapsed() < MAX_WAIT, "the disk is never full");
        records += RECORDS_A_STEP;
        list(records);
        sleep(Duration::from_millis(400)).await;
    }
    // Answers have what is new; the history answers without it.
    records += RECORDS_A_STEP;
    list(records);
    let newest = Listing::name(records - 1);
    until("new data", || async { incidents(&process).await.text().contains(&newest) }).await;
    let answer = history().await;
    assert_eq!((answer.status, &answer.json()["count"]), (200, &1.into()), "{}", answer.text());
    assert!(!answer.text().contains(&newest));
    let store = &get(process.address, "/sources").await.json()["store"];
    assert_eq!((&store["up"], store["last_error"].is_string()), (&false.into(), true), "{store}");
    disk.enlarge("64m");
    until("the newest record stored", || async { history().await.text().contains(&newest) }).await;
    // Other sources that could not be written are tried again within 30 s.
    until("the store up again", || async { metric(&process, "store_up").await == Some(1.0) }).await;
}
