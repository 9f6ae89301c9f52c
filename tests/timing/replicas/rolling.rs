//! A rolling restart under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::{Cluster, SETTINGS, is_complete};
use crate::support::client::get;
use crate::support::gateway::good_upstream;
use crate::support::process::Process;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

/// A process goes on answering for longer than it takes to send it no more requests.
const DRAIN_DELAY: (&str, &str) = ("SHUTDOWN__DRAIN_DELAY", "1s");

/// Where requests may be sent, as a load balancer knows it.
#[derive(Default)]
struct Balancer {
    addresses: Mutex<Vec<SocketAddr>>,
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Balancer {
    async fn ask(self: Arc<Self>, seed: usize) {
        let mut turn = seed;
        while !self.is_over.load(Ordering::SeqCst) {
            turn += 1;
            let address = {
                let addresses = self.addresses.lock().unwrap();
                addresses[turn % addresses.len()]
            };
            // It panics when the connection fails, which makes the test fail.
            let answer = get(address, "/incidents").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_ne!(answer.header("incident-completeness"), "partial");
            self.answered.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn set(&self, replicas: &[Process]) {
        let addresses = replicas.iter().map(|replica| replica.address).collect();
        *self.addresses.lock().unwrap() = addresses;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_request_and_spares_the_upstream() {
    let Some(mut cluster) = Cluster::empty("a_rolling_restart").await else { return };
    let url = cluster.postgres.tcp_url(&cluster.database);
    for _ in 0..3 {
        let replica = cluster.serve_with(&url, &[DRAIN_DELAY]).await;
        cluster.replicas.push(replica);
    }
    cluster.settle().await;
    let upstream = good_upstream().await;
    let lone = Process::serve(&upstream.base_url(), &SETTINGS).await;
    while !is_complete(&lone).await {
        sleep(Duration::from_millis(20)).await;
    }
    let balancer = Arc::new(Balancer::default());
    balancer.set(&cluster.replicas);
    let clients: Vec<_> =
        (0..6).map(|seed| tokio::spawn(Arc::clone(&balancer).ask(seed))).collect();
    let (before, before_of_lone) = (cluster.calls(), upstream.seen().len());
    for _ in 0..3 {
        let surge = cluster.serve_with(&url, &[DRAIN_DELAY]).await;
        let began = Instant::now();
        while get(surge.admin_address, "/readyz").await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(10), "the new replica is not ready");
            sleep(Duration::from_millis(20)).await;
        }
        cluster.replicas.push(surge);
        let mut old = cluster.replicas.remove(0);
        old.signal(Signal::TERM);
        balancer.set(&cluster.replicas);
        assert_eq!(old.ends_within(Duration::from_secs(15)).await.code(), Some(0));
    }
    cluster.settle().await;
    sleep(Duration::from_secs(1)).await;
    let (calls, of_lone) = (cluster.calls() - before, upstream.seen().len() - before_of_lone);
    balancer.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("no request is lost");
    }
    assert!(balancer.answered.load(Ordering::SeqCst) > 300, "too little load to tell");
    assert!(calls <= of_lone + of_lone / 5 + 8, "{calls} calls, {of_lone} of a process at rest");
    cluster.spread(3).await;
}
