//! Selects the snapshot that a request is served from, and bounds how long it waits for one.

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

/// The part of the response budget that is reserved for scheduling, headers and the socket after a
/// body has been rendered.
pub(super) const SEND_MARGIN: Duration = Duration::from_millis(50);

/// A cautious estimate of the time that rendering and compressing takes for each byte of upstream
/// data.
const RENDER_NANOS_PER_BYTE: u64 = 4;

/// The snapshot that a request is served from.
pub(super) struct SelectedSnapshot {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) result: CacheResult,
    /// When it was selected, at the end of any waiting.
    pub(super) at: Instant,
}

/// The caller's preferences, from `Prefer` and the query.
pub(super) struct RequestPreferences {
    pub(super) prefer: Preferences,
    /// Whether only a complete answer will do.
    strict: bool,
}

impl Gateway {
    /// Parses the request's query, within the caller's scope, and preferences. The query's
    /// `complete` takes precedence over `Prefer: handling`.
    pub(super) fn parse_request(
        &self,
        request: &Parts,
        keys: AllowedKeys<'_>,
        context: &Context,
    ) -> Result<(Query, RequestPreferences), Problem> {
        self.parse_query(request.uri.query(), &request.headers, keys, context)
    }

    /// The same for a query that is only part of the request's.
    pub(super) fn parse_query(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        keys: AllowedKeys<'_>,
        context: &Context,
    ) -> Result<(Query, RequestPreferences), Problem> {
        let snapshot = self.snapshot();
        let query = Query::parse(query, keys, snapshot.view.names(), context.scope())?;
        let mut prefer = Preferences::from_headers(headers);
        let strict = query.complete.or(prefer.strict).unwrap_or(false);
        // A preference that the query overrides must not appear in `Preference-Applied`.
        prefer.strict = prefer.strict.filter(|preferred| *preferred == strict);
        Ok((query, RequestPreferences { prefer, strict }))
    }

    /// The snapshot to serve: the current one, or, while sources are fetched for the first time, a
    /// later one that arrives within the budget.
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

    /// The current snapshot, without waiting for a better one.
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

    /// Waits while a better snapshot may arrive. Returns the last one, and whether it waited.
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
            // The data received so far must still be rendered within the budget.
            let bytes: usize = snapshot.sources.iter().map(|source| source.bytes).sum();
            let render = Duration::from_nanos(bytes as u64 * RENDER_NANOS_PER_BYTE);
            let deadline =
                context.started + longest.min(self.budget.saturating_sub(2 * SEND_MARGIN + render));
            match timeout_at(deadline, snapshots.changed()).await {
                Ok(Ok(())) => snapshot = Arc::clone(&snapshots.borrow_and_update()),
                // The deadline has passed, or the refresh has ended because the process is exiting.
                Ok(Err(_)) | Err(_) => {
                    // With `wait=0` nothing was waited for.
                    waited |= !longest.is_zero();
                    break;
                }
            }
            waited = true;
        }
        (snapshot, waited)
    }
}

/// Whether a later snapshot may be better for the request: because sources are still being fetched
/// for the first time, or because one without data is being fetched and the request needs it.
pub(super) fn is_worth_waiting(snapshot: &Snapshot, strict: bool) -> bool {
    let is_lacking = if strict {
        snapshot.completeness(Instant::now()) != Completeness::Complete
    } else {
        !snapshot.has_data()
    };
    snapshot.is_loading() || (is_lacking && snapshot.is_fetching_missing())
}
