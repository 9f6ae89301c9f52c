use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::{Instant, advance};

use super::{
    Breaker, BreakerPermit, BreakerState, FAILURES_TO_OPEN, FIRST_OPEN_TIME, MAX_OPEN_TIME,
};
use crate::metrics;
use crate::upstream::UpstreamMetrics;

fn breaker(seed: u64) -> (Arc<Breaker>, Registry) {
    let source: Arc<str> = "denial".into();
    let mut registry = metrics::registry();
    let metrics = UpstreamMetrics::register(&mut registry).source(&source);
    let breaker = Breaker::new(source, metrics, fastrand::Rng::with_seed(seed));
    breaker.activate();
    (Arc::new(breaker), registry)
}

fn pass(breaker: &Arc<Breaker>) -> BreakerPermit {
    breaker.admit().expect("the circuit lets it through")
}

fn open(breaker: &Arc<Breaker>) -> Duration {
    for _ in 0..FAILURES_TO_OPEN {
        pass(breaker).fail();
    }
    breaker.admit().expect_err("the circuit is open")
}

fn shown(registry: &Registry) -> String {
    let page = metrics::encode(registry);
    let line =
        page.lines().find(|line| line.starts_with("incident_gateway_circuit_state{")).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn opens_after_consecutive_failures() {
    let (breaker, registry) = breaker(0);
    for _ in 1..FAILURES_TO_OPEN {
        pass(&breaker).fail();
    }
    pass(&breaker).succeed();
    for _ in 1..FAILURES_TO_OPEN {
        pass(&breaker).fail();
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "a success in between starts the count anew");
    assert_eq!(shown(&registry), "0");
    pass(&breaker).fail();
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(shown(&registry), "2");
}

#[tokio::test(start_paused = true)]
async fn half_open_admits_one_probe_whose_success_closes_the_circuit() {
    let (breaker, registry) = breaker(1);
    let wait = open(&breaker);
    assert!(wait >= FIRST_OPEN_TIME / 2 && wait <= FIRST_OPEN_TIME, "{wait:?}");
    let moment = Duration::from_millis(1);
    advance(wait.saturating_sub(moment)).await;
    assert!(breaker.admit().is_err());
    advance(moment).await;

    let probe = pass(&breaker);
    assert!(probe.is_probe);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(shown(&registry), "1");
    assert!(breaker.admit().is_err(), "only one probe");
    probe.succeed();
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(shown(&registry), "0");
    assert!(!pass(&breaker).is_probe);
}

#[tokio::test(start_paused = true)]
async fn each_failed_probe_doubles_the_open_time_up_to_the_maximum() {
    for seed in 0..50 {
        let (breaker, _registry) = breaker(seed);
        let mut wait = open(&breaker);
        for opening in 1..40 {
            let asked = Instant::now();
            advance(wait).await;
            pass(&breaker).fail();
            wait = breaker.admit().expect_err("the probe failed");
            let most = FIRST_OPEN_TIME.saturating_mul(1 << opening.min(10)).min(MAX_OPEN_TIME);
            assert!(wait >= most / 2 && wait <= most, "seed {seed}, opening {opening}: {wait:?}");
            assert!(asked.elapsed() <= MAX_OPEN_TIME);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_resets_the_open_time() {
    let (breaker, _registry) = breaker(2);
    let mut wait = open(&breaker);
    for _ in 0..3 {
        advance(wait).await;
        pass(&breaker).fail();
        wait = breaker.admit().expect_err("the probe failed");
    }
    advance(wait).await;
    pass(&breaker).succeed();
    assert!(open(&breaker) <= FIRST_OPEN_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_admits_another() {
    let (breaker, _registry) = breaker(3);
    advance(open(&breaker)).await;
    for _ in 0..3 {
        drop(pass(&breaker));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    pass(&breaker).succeed();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn calls_that_began_before_it_opened_do_not_count() {
    let (breaker, _registry) = breaker(4);
    let (late_success, late_failure) = (pass(&breaker), pass(&breaker));
    let wait = open(&breaker);
    late_success.succeed();
    assert_eq!(breaker.state(), BreakerState::Open, "an old success says nothing of now");
    advance(wait).await;
    let probe = pass(&breaker);
    late_failure.fail();
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "nor does an old failure");
    probe.succeed();
    assert_eq!(breaker.state(), BreakerState::Closed);
}
