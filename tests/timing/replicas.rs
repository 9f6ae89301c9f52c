//! Replicas that share a PostgreSQL: real processes, a real server, a network that fails.

pub(crate) mod cluster;
mod faults;
mod rolling;
mod takeover;

use std::time::Duration;

use self::cluster::{Cluster, SETTINGS, is_complete};
use crate::support::gateway::good_upstream;
use crate::support::process::Process;
use tokio::time::sleep;

/// How much later than the first one the last replica may have what is stored: 2 s, and what a
/// busy machine takes.
const MAX_SPREAD: Duration = Duration::from_millis(2000 + 500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_answer_as_one_and_call_as_one() {
    let Some(cluster) = Cluster::start("three_replicas_answer_as_one", 3).await else { return };
    let upstream = good_upstream().await;
    let lone = Process::serve(&upstream.base_url(), &SETTINGS).await;
    while !is_complete(&lone).await {
        sleep(Duration::from_millis(20)).await;
    }
    let (before, before_of_lone) = (cluster.calls(), upstream.seen().len());
    for records in 2..8 {
        let took = cluster.spread(records).await;
        assert!(took < MAX_SPREAD, "{took:?} after the first replica");
    }
    let (calls, of_lone) = (cluster.calls() - before, upstream.seen().len() - before_of_lone);
    // Eight sources: one refresh more or less, as their phases differ.
    assert!(of_lone >= 3 * 8, "too few refreshes to tell: {of_lone} calls");
    assert!(calls <= of_lone + of_lone / 5 + 8, "{calls} calls for three, {of_lone} for one");
    cluster.until_stored(2, 7).await;
    cluster.assert_each_record_once(7).await;
}
