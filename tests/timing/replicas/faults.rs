//! PostgreSQL stops, freezes, or cannot be reached by one replica: answers go on, and afterwards
//! there is one leader.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, has_record, incidents, metric};
use crate::support::postgres::Stop;
use crate::support::tcp_proxy::{Network, TcpProxy};
use tokio::time::sleep;

/// Until a replica that has lost the store refreshes for itself: its data would be stale after 4 s.
const MAX_WAIT_FOR_OWN_REFRESH: Duration = Duration::from_secs(4 + 15);

/// Asks every replica for this long; each answer has to be whole and in time.
async fn answers_go_on(cluster: &Cluster, long: Duration) {
    let began = Instant::now();
    while began.elapsed() < long {
        for replica in &cluster.replicas {
            let answer = incidents(replica).await;
            assert_ne!(answer.header("incident-completeness"), "partial");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every replica finds out by itself what the upstream lists now.
async fn each_refreshes_for_itself(cluster: &Cluster, records: usize) {
    cluster.list(records);
    let began = Instant::now();
    for replica in &cluster.replicas {
        while !has_record(incidents(replica).await.text(), records) {
            assert!(began.elapsed() < MAX_WAIT_FOR_OWN_REFRESH, "it stands on old data");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn is_together_again(cluster: &Cluster, records: usize) {
    cluster.until_up(true).await;
    cluster.settle().await;
    cluster.spread(records).await;
    for replica in 0..cluster.replicas.len() {
        cluster.until_stored(replica, records).await;
    }
    cluster.assert_each_record_once(records).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_on_while_postgres_is_stopped() {
    let Some(cluster) = Cluster::start("answers_go_on_while_stopped", 3).await else { return };
    for (records, stop) in [(2, Stop::Fast), (4, Stop::Immediate)] {
        cluster.postgres.stop(stop);
        answers_go_on(&cluster, Duration::from_secs(1)).await;
        cluster.until_up(false).await;
        for replica in &cluster.replicas {
            let answer = crate::support::client::get(replica.address, "/history").await;
            assert_eq!((answer.status, answer.problem().as_str()), (503, "store-unavailable"));
        }
        each_refreshes_for_itself(&cluster, records).await;
        cluster.postgres.restart();
        is_together_again(&cluster, records + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_on_while_postgres_is_frozen() {
    let Some(cluster) = Cluster::start("answers_go_on_while_frozen", 3).await else { return };
    cluster.postgres.pause();
    answers_go_on(&cluster, Duration::from_secs(2)).await;
    cluster.until_up(false).await;
    each_refreshes_for_itself(&cluster, 2).await;
    cluster.postgres.resume();
    is_together_again(&cluster, 3).await;
}

/// A leader with two followers, and the network between it and PostgreSQL.
async fn leader_behind_proxy(test: &str) -> Option<(Cluster, TcpProxy)> {
    let mut cluster = Cluster::empty(test).await?;
    let target = ([127, 0, 0, 1], cluster.postgres.port()).into();
    let proxy = TcpProxy::start(target).await;
    let url = cluster.postgres.tcp_url(&cluster.database);
    let port = |port: u16| format!(":{port}/");
    let through_proxy = url.replace(&port(target.port()), &port(proxy.address().port()));
    for url in [&through_proxy, &url, &url] {
        let replica = cluster.serve(url).await;
        cluster.replicas.push(replica);
        cluster.settle().await;
    }
    assert_eq!(cluster.leader().await, Some(0));
    Some((cluster, proxy))
}

async fn gives_way_and_comes_back(test: &str, fault: Network) {
    let Some((cluster, proxy)) = leader_behind_proxy(test).await else { return };
    proxy.set(fault);
    let took = cluster
        .until("another leader", || async {
            incidents(&cluster.replicas[0]).await;
            matches!(cluster.leader().await, Some(1 | 2))
        })
        .await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(metric(&cluster.replicas[0], "store_up").await, Some(0.0));
    each_refreshes_for_itself(&cluster, 2).await;
    proxy.set(Network::Up);
    is_together_again(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_network_stalls_gives_way_and_comes_back() {
    gives_way_and_comes_back("a_leader_whose_network_stalls", Network::Stalled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_gives_way_and_comes_back() {
    gives_way_and_comes_back("a_leader_that_is_cut_off", Network::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_behind_a_slow_network_goes_on() {
    let Some((cluster, proxy)) = leader_behind_proxy("a_leader_behind_a_slow_network").await else {
        return;
    };
    proxy.set(Network::Delayed(Duration::from_millis(15)));
    for records in 2..5 {
        cluster.spread(records).await;
        assert_eq!(cluster.leader().await, Some(0));
        assert_eq!(metric(&cluster.replicas[0], "store_up").await, Some(1.0));
    }
    cluster.assert_each_record_once(4).await;
}
