//! Keeps the keys of an issuer up to date.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::key_set::KeySet;
use super::verified_tokens::VerifiedTokens;

/// How often the keys are fetched.
const REFRESH_INTERVAL: Duration = Duration::from_mins(10);

/// The least time between two fetches because of tokens of unknown keys.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(10);

/// The wait after a failed fetch, which doubles with each further one.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The issuer's present keys.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) set: KeySet,
    /// The tokens that they have verified. Another key set begins with none, so that no token is
    /// known for longer than its key.
    pub(super) verified: VerifiedTokens,
}

/// Fetches the keys of an issuer in a task of its own, which ends when this value is dropped. While
/// the issuer is down, the last keys stand.
#[derive(Debug)]
pub(super) struct KeySource {
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    /// `None` until the first successful fetch.
    keys: Option<Arc<Keys>>,
    /// Whether a fetch is under way or requested.
    is_fetching: bool,
    /// When the last fetch because of an unknown key was requested.
    requested_at: Option<Instant>,
}

impl Drop for KeySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeySource {
    /// Starts the first `fetch` at once. Its error says why there are no keys.
    pub(super) fn start<F>(issuer: &str, fetch: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<KeySet, String>> + Send + 'static,
    {
        let state = State { keys: None, is_fetching: true, requested_at: None };
        let state = Arc::new(watch::Sender::new(state));
        let task = tokio::spawn(run(issuer.to_owned(), fetch, Arc::clone(&state)));
        Self { state, task }
    }

    /// The present keys; `None` before any were fetched.
    pub(super) fn current(&self) -> Option<Arc<Keys>> {
        self.state.borrow().keys.clone()
    }

    /// Requests a fetch because of an unknown key, unless one is under way or the last such request
    /// was too recent. Returns whether a fetch is under way now.
    pub(super) fn request(&self) -> bool {
        let mut is_fetching = false;
        self.state.send_if_modified(|state| {
            let now = Instant::now();
            let may_request =
                state.requested_at.is_none_or(|at| now.duration_since(at) >= UNKNOWN_KEY_INTERVAL);
            let requests = !state.is_fetching && may_request;
            if requests {
                state.is_fetching = true;
                state.requested_at = Some(now);
            }
            is_fetching = state.is_fetching;
            requests
        });
        is_fetching
    }

    /// Waits until no fetch is under way.
    pub(super) async fn fetched(&self) {
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(|state| !state.is_fetching).await;
    }
}

async fn run<F>(issuer: String, fetch: impl Fn() -> F, state: Arc<watch::Sender<State>>)
where
    F: Future<Output = Result<KeySet, String>>,
{
    let mut requests = state.subscribe();
    let mut is_failing = false;
    let mut retry_delay = MIN_RETRY_DELAY;
    loop {
        let fetched = fetch().await;
        match &fetched {
            Ok(_) if is_failing => tracing::info!(issuer, "the issuer's keys are fetched again"),
            Err(why) if !is_failing => {
                let effect = if state.borrow().keys.is_some() {
                    "the last keys stand"
                } else {
                    "its tokens are refused until then"
                };
                tracing::warn!(issuer, why, "the issuer's keys cannot be fetched; {effect}");
            }
            Ok(_) | Err(_) => {}
        }
        is_failing = fetched.is_err();
        let delay = if is_failing { retry_delay } else { REFRESH_INTERVAL };
        retry_delay =
            if is_failing { (retry_delay * 2).min(MAX_RETRY_DELAY) } else { MIN_RETRY_DELAY };
        state.send_modify(|state| {
            state.is_fetching = false;
            if let Ok(set) = fetched
                && state.keys.as_ref().is_none_or(|keys| keys.set != set)
            {
                state.keys = Some(Arc::new(Keys { set, verified: VerifiedTokens::new() }));
            }
        });
        tokio::select! {
            () = sleep(delay) => state.send_modify(|state| state.is_fetching = true),
            () = requested(&mut requests) => {}
        }
    }
}

async fn requested(state: &mut watch::Receiver<State>) {
    // The sender lives as long as the task that waits here.
    let _ = state.wait_for(|state| state.is_fetching).await;
}

#[cfg(test)]
mod tests;
