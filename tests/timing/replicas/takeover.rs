//! The holder of the lease goes: killed, stopped by a signal, or frozen.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, incidents, metric};
use rustix::process::Signal;
use tokio::time::sleep;

/// Until another replica takes over from one that has died.
const MAX_TAKEOVER: Duration = Duration::from_secs(15);

/// The same from one that has stopped in order, and what a busy machine takes.
const MAX_HANDOVER: Duration = Duration::from_millis(2000 + 500);

/// Waits until a replica is the leader; meanwhile they answer.
async fn until_leader(cluster: &Cluster, among: &[usize]) -> (usize, Duration) {
    let began = Instant::now();
    loop {
        for &replica in among {
            incidents(&cluster.replicas[replica]).await;
            if metric(&cluster.replicas[replica], "store_leader").await == Some(1.0) {
                return (replica, began.elapsed());
            }
        }
        assert!(began.elapsed() < 2 * MAX_TAKEOVER, "nobody takes over");
        sleep(Duration::from_millis(50)).await;
    }
}

fn others(cluster: &Cluster, leader: usize) -> Vec<usize> {
    (0..cluster.replicas.len()).filter(|replica| *replica != leader).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_over_from_one_that_is_killed() {
    let Some(mut cluster) = Cluster::start("another_replica_takes_over", 3).await else { return };
    let leader = cluster.leader().await.unwrap();
    cluster.replicas[leader].signal(Signal::KILL);
    let (_, took) = until_leader(&cluster, &others(&cluster, leader)).await;
    assert!(took < MAX_TAKEOVER, "{took:?}");
    cluster.replicas.remove(leader);
    cluster.spread(2).await;
    // It comes back, and is one of them.
    let returned = cluster.serve(&cluster.postgres.tcp_url(&cluster.database)).await;
    cluster.replicas.push(returned);
    cluster.settle().await;
    cluster.spread(3).await;
    cluster.until_stored(2, 3).await;
    cluster.assert_each_record_once(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_hands_over_at_once() {
    let Some(mut cluster) = Cluster::start("one_that_stops_hands_over", 3).await else { return };
    let leader = cluster.leader().await.unwrap();
    cluster.replicas[leader].signal(Signal::TERM);
    let (_, took) = until_leader(&cluster, &others(&cluster, leader)).await;
    assert!(took < MAX_HANDOVER, "{took:?}");
    let status = cluster.replicas[leader].ends_within(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0));
    cluster.replicas.remove(leader);
    cluster.spread(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_holder_that_wakes_up_writes_nothing() {
    let Some(cluster) = Cluster::start("a_frozen_holder", 3).await else { return };
    cluster.spread(3).await;
    let former = cluster.leader().await.unwrap();
    cluster.until_stored(former, 3).await;
    cluster.replicas[former].signal(Signal::STOP);
    let rest = others(&cluster, former);
    let (leader, took) = until_leader(&cluster, &rest).await;
    assert!(took < MAX_TAKEOVER, "{took:?}");
    // What the former holder knows is gone: were it to write, this record would be current.
    cluster.list(2);
    let is_gone = "SELECT count(*) FROM records WHERE last_seen IS NOT NULL";
    let gone = || cluster.postgres.value(&cluster.database, is_gone);
    cluster.until("the record gone", || async { gone().await == "1" }).await;
    cluster.replicas[former].signal(Signal::CONT);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(gone().await, "1", "the former holder has written");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cluster.leader().await, Some(leader));
    cluster.spread(4).await;
    cluster.until_stored(former, 4).await;
    cluster.assert_each_record_once(4).await;
}
