//! A simulated upstream without sockets, for tests with paused time, whose calls slow each other
//! down according to a [`Law`].
//!
//! All calls progress at the same rate, which depends on how many are in flight. The work of a call
//! is therefore measured in the seconds that it would take alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{Answer, Attempt, UpstreamError};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tower::Service;

/// How the upstream behaves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// The duration of a call when no other is in flight, in seconds.
    pub latency: f64,
    /// With `n` calls in flight, each takes `1 + factor * (n - 1)^power` times as long.
    #[serde(default)]
    pub factor: f64,
    #[serde(default)]
    pub power: i32,
    /// The work of each call varies by up to this share, uniformly.
    #[serde(default)]
    pub noise: f64,
    /// A factor for the work of each source; 1 for those beyond the end of the list.
    #[serde(default)]
    pub work: Vec<f64>,
    /// A call that starts with more than this many in flight, itself included, never ends.
    pub hang_above: Option<usize>,
    /// A call that starts with more than this many in flight, itself included, gets 503 after 20
    /// ms.
    pub push_back_above: Option<usize>,
    /// These sources never answer.
    #[serde(default)]
    pub hanging: Vec<usize>,
    /// These sources answer 503 after 20 ms.
    #[serde(default)]
    pub failing: Vec<usize>,
}

struct Sim {
    law: Law,
    rng: fastrand::Rng,
    in_flight: usize,
    most_in_flight: usize,
    calls: BTreeMap<usize, usize>,
    /// The work done until `since` by a call that has been in flight from the beginning.
    done: f64,
    since: Instant,
}

impl Sim {
    fn rate(&self) -> f64 {
        let beside = f64::from(u32::try_from(self.in_flight.saturating_sub(1)).unwrap());
        1.0 / (1.0 + self.law.factor * beside.powi(self.law.power))
    }

    fn advance(&mut self) -> f64 {
        let now = Instant::now();
        self.done += self.rate() * now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.done
    }
}

/// The upstream; clones share it.
#[derive(Clone)]
pub struct SimulatedUpstream {
    sim: Arc<Mutex<Sim>>,
    changed: watch::Sender<()>,
}

struct InFlight(SimulatedUpstream);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut sim = self.0.sim.lock().unwrap();
        sim.advance();
        sim.in_flight -= 1;
        self.0.changed.send_replace(());
    }
}

impl SimulatedUpstream {
    pub fn new(law: Law, seed: u64) -> Self {
        let sim = Sim {
            law,
            rng: fastrand::Rng::with_seed(seed),
            in_flight: 0,
            most_in_flight: 0,
            calls: BTreeMap::new(),
            done: 0.0,
            since: Instant::now(),
        };
        Self { sim: Arc::new(Mutex::new(sim)), changed: watch::Sender::new(()) }
    }

    /// Changes the behaviour from now on.
    pub fn obey(&self, law: Law) {
        let mut sim = self.sim.lock().unwrap();
        sim.advance();
        sim.law = law;
        self.changed.send_replace(());
    }

    /// How many calls of a source there were.
    pub fn calls(&self, source: usize) -> usize {
        self.sim.lock().unwrap().calls.get(&source).copied().unwrap_or_default()
    }

    /// The most calls that were in flight at once.
    pub fn most_in_flight(&self) -> usize {
        self.sim.lock().unwrap().most_in_flight
    }

    async fn answer(self, source: usize) -> Result<Bytes, UpstreamError> {
        let mut changed = self.changed.subscribe();
        let (goal, busy, hangs, fails) = {
            let mut sim = self.sim.lock().unwrap();
            let now = sim.advance();
            sim.in_flight += 1;
            sim.most_in_flight = sim.most_in_flight.max(sim.in_flight);
            *sim.calls.entry(source).or_default() += 1;
            let off = sim.rng.f64() * 2.0 - 1.0;
            let work = sim.law.latency
                * sim.law.work.get(source).unwrap_or(&1.0)
                * (1.0 + sim.law.noise * off);
            let beyond = |most: Option<usize>| most.is_some_and(|most| sim.in_flight > most);
            let hangs = beyond(sim.law.hang_above) || sim.law.hanging.contains(&source);
            (now + work, beyond(sim.law.push_back_above), hangs, sim.law.failing.contains(&source))
        };
        self.changed.send_replace(());
        let _in_flight = InFlight(self.clone());
        if busy || fails {
            sleep(Duration::from_millis(20)).await;
            return Err(UpstreamError::new(Outcome::Status, "busy")
                .with_status(StatusCode::SERVICE_UNAVAILABLE));
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        loop {
            changed.mark_unchanged();
            let left = {
                let mut sim = self.sim.lock().unwrap();
                (goal - sim.advance()) / sim.rate()
            };
            if left <= 1e-6 {
                return Ok(Bytes::from_static(b"{}"));
            }
            tokio::select! {
                () = sleep(Duration::from_secs_f64(left)) => {}
                _ = changed.changed() => {}
            }
        }
    }
}

impl Service<Attempt> for SimulatedUpstream {
    type Response = Answer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Answer, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let body = self.clone().answer(attempt.source);
        Box::pin(async move { Ok(Answer::ok(attempt.request.url.clone(), body.await?)) })
    }
}
