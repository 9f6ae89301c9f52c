//! The client of an upstream over a transport that does as it is told, for tests on paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::StatusCode;
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::metrics::{self, Registry};
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{
    Answer, Attempt, CallContext, UnverifiedAnswer, Upstream, UpstreamError, UpstreamMetrics,
};
use tokio::time::{Instant, sleep};

use super::metrics_page::calls;
use super::one_source::get;

/// What the transport does with a call.
#[derive(Clone, Copy)]
pub enum Act {
    /// A good answer after a second.
    Answer,
    /// A broken connection after a second.
    Break,
    /// This status at once.
    Status(u16),
    /// This status at once, and a wait of so many seconds that it asks for.
    Wait(u16, u64),
    /// Nothing, ever.
    Hang,
}

/// The stack of eight sources, `s0` to `s7`, over a transport that takes one act a call from a
/// list, and then answers.
pub struct ScriptedStack {
    pub upstream: Upstream,
    pub registry: Registry,
    pub acts: Arc<Mutex<VecDeque<Act>>>,
    /// Every attempt that reached the transport.
    pub made: Arc<Mutex<Vec<Attempt>>>,
    /// When each of them did.
    pub times: Arc<Mutex<Vec<Instant>>>,
}

async fn act(act: Act) -> Result<Bytes, UpstreamError> {
    let failed = |code, kind| {
        UpstreamError::new(kind, "status").with_status(StatusCode::from_u16(code).unwrap())
    };
    match act {
        Act::Answer => {
            sleep(Duration::from_secs(1)).await;
            Ok(Bytes::from_static(b"{}"))
        }
        Act::Break => {
            sleep(Duration::from_secs(1)).await;
            Err(UpstreamError::new(Outcome::Body, "broken"))
        }
        Act::Status(code) => Err(failed(code, Outcome::Status)),
        Act::Wait(code, seconds) => {
            let kind = if code == 429 { Outcome::RateLimited } else { Outcome::Status };
            Err(failed(code, kind).with_retry_after(Some(Duration::from_secs(seconds))))
        }
        Act::Hang => std::future::pending().await,
    }
}

impl ScriptedStack {
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::with(|_| {}, acts)
    }

    pub fn with(
        change: impl FnOnce(&mut config::Upstream),
        acts: impl IntoIterator<Item = Act>,
    ) -> Self {
        let mut settings = Config::default().upstream;
        settings.concurrency = Concurrency::Fixed(8);
        change(&mut settings);
        let names: Vec<_> = (0..8).map(|i| format!("s{i}").into()).collect();
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<VecDeque<_>>()));
        let (made, times) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let transport = tower::service_fn({
            let (acts, made, times) = (Arc::clone(&acts), Arc::clone(&made), Arc::clone(&times));
            move |attempt: Attempt| {
                let url = attempt.request.url.clone();
                made.lock().unwrap().push(attempt);
                times.lock().unwrap().push(Instant::now());
                let body = act(acts.lock().unwrap().pop_front().unwrap_or(Act::Answer));
                async { Ok(Answer::ok(url, body.await?)) }
            }
        });
        let upstream =
            Upstream::with_transport("default", &settings, &names, &transport, &metrics, 1);
        Self { upstream, registry, acts, made, times }
    }

    pub async fn fetch(&self, source: usize) -> Result<Bytes, UpstreamError> {
        Ok(self.call(source).await?.accept())
    }

    /// Fetches a source, and leaves it to the test to accept the answer.
    pub async fn call(&self, source: usize) -> Result<UnverifiedAnswer, UpstreamError> {
        self.call_with(source, CallContext::default()).await
    }

    pub async fn call_with(
        &self,
        source: usize,
        context: CallContext,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        self.upstream.fetch(source, get(&self.upstream, "/"), context).await
    }

    /// What the metrics count for a source, by outcome, without the zeros.
    pub fn counted(&self, source: &str) -> Vec<(&'static str, u64)> {
        let all = Outcome::ALL
            .into_iter()
            .map(Outcome::as_str)
            .map(|outcome| (outcome, calls(&self.registry, source, outcome)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    pub fn retried(&self) -> usize {
        self.made.lock().unwrap().iter().filter(|attempt| attempt.number > 1).count()
    }

    /// Good answers of all sources, which earn retries.
    pub async fn earn(&self) {
        for answer in join_all((0..8).map(|source| self.fetch(source))).await {
            answer.unwrap();
        }
    }
}
