//! Which snapshot a request is answered from, and how long it waits for one.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use http::request::Parts;
use tokio::time::{Instant, timeout_at};

use super::Gateway;
use super::context::Context;
use super::freshness::{self, CacheResult};
use super::prefer::Preferences;
use super::problem::Problem;
use super::query::{AllowedKeys, Query};
use crate::snapshot::{Completeness, Snapshot};

/// What is left of the response budget for scheduling, headers and the socket once an answer is
/// rendered.
pub(super) const SEND_MARGIN: Duration = Duration::from_millis(50);

/// What rendering and compressing takes for each byte of upstream data, on a slow day.
const RENDER_NANOS_PER_BYTE: u64 = 4;

/// The snapshot that an answer is made from, and how the request came by it.
pub(super) struct SelectedSnapshot {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) result: CacheResult,
    /// When it was selected.
    pub(super) at: Instant,
}

/// How a request wants to be answered.
pub(super) struct RequestPreferences {
    pub(super) prefer: Preferences,
    /// Whether only a complete answer will do.
    strict: bool,
}

impl Gateway {
    /// The request's query and preferences. The query's `complete` overrules `Prefer: handling`.
    pub(super) fn parse_request(
        &self,
        request: &Parts,
        keys: AllowedKeys,
    ) -> Result<(Query, RequestPreferences), Problem> {
        self.parse_query(request.uri.query(), &request.headers, keys)
    }

    /// The same for a query that is only a part of the request's.
    pub(super) fn parse_query(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        keys: AllowedKeys,
    ) -> Result<(Query, RequestPreferences), Problem> {
        let query = Query::parse(query, keys, self.snapshots.borrow().view.names())?;
        let mut prefer = Preferences::from_headers(headers);
        let strict = query.complete.or(prefer.strict).unwrap_or(false);
        // What the query overrules is not honoured, and must not be said to be.
        prefer.strict = prefer.strict.filter(|preferred| *preferred == strict);
        Ok((query, RequestPreferences { prefer, strict }))
    }

    /// The snapshot to answer from: the present one, or a later one where sources are still being
    /// fetched for the first time and may come within the budget.
    pub(super) async fn select_snapshot(
        &self,
        preferences: &RequestPreferences,
        context: &Context,
    ) -> Result<SelectedSnapshot, Problem> {
        let mut snapshot = self.snapshot();
        let mut waited = false;
        if is_worth_waiting(&snapshot, preferences.strict) {
            (snapshot, waited) = self.wait_for_data(preferences, context).await;
        }
        self.check_snapshot(snapshot, waited, preferences)
    }

    /// The present snapshot to answer from, without waiting for a better one.
    pub(super) fn current_snapshot(
        &self,
        preferences: &RequestPreferences,
    ) -> Result<SelectedSnapshot, Problem> {
        self.check_snapshot(self.snapshot(), false, preferences)
    }

    fn check_snapshot(
        &self,
        snapshot: Arc<Snapshot>,
        waited: bool,
        preferences: &RequestPreferences,
    ) -> Result<SelectedSnapshot, Problem> {
        let at = Instant::now();
        let result = freshness::cache_result(&snapshot, waited, at);
        self.metrics.record_cache(result);
        if !snapshot.has_data() {
            return Err(Problem::NoData { retry_after: freshness::retry_after(&snapshot, at) });
        }
        if preferences.strict && snapshot.completeness(at) != Completeness::Complete {
            return Err(Problem::Incomplete { retry_after: freshness::retry_after(&snapshot, at) });
        }
        Ok(SelectedSnapshot { snapshot, result, at })
    }

    /// Waits while a better snapshot may come, and says whether it waited.
    async fn wait_for_data(
        &self,
        preferences: &RequestPreferences,
        context: &Context,
    ) -> (Arc<Snapshot>, bool) {
        let mut snapshots = self.snapshots.clone();
        let mut snapshot = Arc::clone(&snapshots.borrow_and_update());
        let longest = preferences.prefer.wait.map_or(self.budget, |wait| wait.min(self.budget));
        let mut waited = false;
        while is_worth_waiting(&snapshot, preferences.strict) {
            // What has come must still be rendered within the budget.
            let bytes: usize = snapshot.sources.iter().map(|source| source.bytes).sum();
            let render = Duration::from_nanos(bytes as u64 * RENDER_NANOS_PER_BYTE);
            let until =
                context.started + longest.min(self.budget.saturating_sub(2 * SEND_MARGIN + render));
            match timeout_at(until, snapshots.changed()).await {
                Ok(Ok(())) => snapshot = Arc::clone(&snapshots.borrow_and_update()),
                // The budget is spent, or the refresh has ended with the process.
                Ok(Err(_)) | Err(_) => {
                    // `wait=0` asks for no wait, and there was none.
                    waited |= !longest.is_zero();
                    break;
                }
            }
            waited = true;
        }
        (snapshot, waited)
    }
}

/// Whether waiting may bring what the request asks for: a source that has no data is being fetched.
pub(super) fn is_worth_waiting(snapshot: &Snapshot, strict: bool) -> bool {
    let is_lacking = if strict {
        snapshot.completeness(Instant::now()) != Completeness::Complete
    } else {
        !snapshot.has_data()
    };
    snapshot.is_loading() || (is_lacking && snapshot.is_fetching_missing())
}
