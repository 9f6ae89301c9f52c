//! `/incidents` and its kin: wait as long as it helps, render as the caller prefers, say how true
//! the answer is.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use tokio::time::{Instant, timeout_at};

use super::Gateway;
use super::body::Body;
use super::conditions;
use super::connection::ConnectionHandle;
use super::context::Context;
use super::freshness::{self, CacheResult};
use super::negotiate;
use super::prefer::Preferences;
use super::problem::Problem;
use super::query::{Keys, Query};
use super::routes::Route;
use crate::cache::{Connection, Question};
use crate::render;
use crate::render::compress::Coding;
use crate::render::{Document, Format};
use crate::snapshot::{Completeness, Snapshot};

/// What answering takes beside rendering: scheduling, headers, the socket.
const MARGIN: Duration = Duration::from_millis(50);

/// What rendering and compressing takes a byte of upstream data, on a slow day.
const RENDER_NANOS_PER_BYTE: u64 = 4;

/// As many headers as an answer has at the most, about.
const HEADERS: usize = 24;

pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The snapshot that an answer is made from, and how the request came by it.
pub(super) struct SelectedSnapshot {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) result: CacheResult,
    /// When it was selected.
    pub(super) at: Instant,
}

/// What is asked of a view: its name in the cache, and how it is rendered.
pub(super) struct RenderRequest<R> {
    pub(super) question: Question,
    pub(super) content_type: &'static str,
    pub(super) vary: &'static str,
    pub(super) coding: Coding,
    /// Whether to render it takes less than to have another thread do it.
    pub(super) is_small: bool,
    pub(super) render: R,
}

impl Gateway {
    /// The answer to a request for a whole document that asks for nothing else, if this moment's is
    /// there. It needs no more: what an answer waits for, and what callers want, is seen to
    /// whenever one is made.
    pub(super) fn cached_response(
        &self,
        route: &Route,
        request: &Parts,
        context: &Context,
    ) -> Option<Response<Body>> {
        let question = match route {
            Route::Incidents => {
                let format = negotiate::format(&request.headers)?;
                Question::Document(Document::Incidents(format))
            }
            Route::Unattributed => Question::Document(Document::Unattributed),
            _ => return None,
        };
        if request.uri.query().is_some() || request.headers.contains_key(PREFER) {
            return None;
        }
        let coding = negotiate::coding(&request.headers)?;
        let (answer, headers, result) = self.response_cache.get(
            &question,
            coding,
            &self.snapshots.borrow(),
            context.started,
        )?;
        let bytes = self.cache.send(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        *response.headers_mut() = headers;
        self.metrics.record_cache(result);
        Some(conditions::apply(response, request, context))
    }

    /// `GET /incidents`
    pub(super) async fn incidents(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (query, preferences) = self.read(request, Keys::All)?;
            let format = negotiate::format(&request.headers).ok_or(Problem::NotAcceptable)?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            if query.filter.is_empty() {
                self.cache.record_demand(&Question::Document(Document::Incidents(format)), coding);
            }
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let filter = query.filter.normalized(&view);
            let question = if filter.is_empty() {
                Question::Document(Document::Incidents(format))
            } else {
                Question::Filtered(format!("/incidents {format:?} {filter:?}").into())
            };
            let render_request = RenderRequest {
                question,
                content_type: format.content_type(),
                vary: "Accept, Accept-Encoding, Prefer",
                coding,
                is_small: filter.is_small(&view),
                render: move || format.render(&view, &filter),
            };
            self.reply(render_request, selected, &preferences, request, context).await
        };
        self.into_response(answer.await, request, context)
    }

    /// `GET /incidents/{employee_id}`
    pub(super) async fn employee(
        &self,
        id: &str,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let answer = async {
            let (query, preferences) = self.read(request, Keys::OfEmployee)?;
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let rank = view.index().rank(id).ok_or(Problem::UnknownEmployee)?;
            let employee = view.index().employee_at(rank);
            let filter = query.filter.normalized(&view);
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            let render_request = RenderRequest {
                question: Question::Filtered(format!("/incidents/{id:?} {filter:?}").into()),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                coding,
                is_small: render::is_small(&view, [employee].into_iter()),
                render: move || render::employee(&view, &view.index().employee_at(rank), &filter),
            };
            self.reply(render_request, selected, &preferences, request, context).await
        };
        self.into_response(answer.await, request, context)
    }

    /// `GET /unattributed`
    pub(super) async fn unattributed(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (_, preferences) = self.read(request, Keys::Complete)?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            self.cache.record_demand(&Question::Document(Document::Unattributed), coding);
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let render_request = RenderRequest {
                question: Question::Document(Document::Unattributed),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                coding,
                is_small: false,
                render: move || render::unattributed(&view),
            };
            self.reply(render_request, selected, &preferences, request, context).await
        };
        self.into_response(answer.await, request, context)
    }

    /// What is asked and how, the query's `complete` as one with `Prefer: handling`.
    pub(super) fn read(
        &self,
        request: &Parts,
        keys: Keys,
    ) -> Result<(Query, RequestPreferences), Problem> {
        self.read_query(request.uri.query(), &request.headers, keys)
    }

    /// The same, of a query that is a part of the request's.
    pub(super) fn read_query(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        keys: Keys,
    ) -> Result<(Query, RequestPreferences), Problem> {
        let query = Query::parse(query, keys, self.snapshots.borrow().view.names())?;
        let mut prefer = Preferences::from_headers(headers);
        let strict = query.complete.or(prefer.strict).unwrap_or(false);
        // What the query overrules is not honoured, and must not be said to be.
        prefer.strict = prefer.strict.filter(|preferred| *preferred == strict);
        Ok((query, RequestPreferences { prefer, strict }))
    }

    /// The snapshot to answer from: the present one, unless data has yet to come and may within the
    /// budget.
    pub(super) async fn select_snapshot(
        &self,
        preferences: &RequestPreferences,
        context: &Context,
    ) -> Result<SelectedSnapshot, Problem> {
        let mut snapshot = self.snapshot();
        let mut waited = false;
        if may_improve(&snapshot, preferences.strict) {
            (snapshot, waited) = self.wait_for_data(preferences, context).await;
        }
        self.accept_snapshot(snapshot, waited, preferences)
    }

    /// The present snapshot to answer from, without waiting for a better one.
    pub(super) fn present_snapshot(
        &self,
        preferences: &RequestPreferences,
    ) -> Result<SelectedSnapshot, Problem> {
        self.accept_snapshot(self.snapshot(), false, preferences)
    }

    fn accept_snapshot(
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

    /// Waits while a better snapshot may come, and says whether it did.
    async fn wait_for_data(
        &self,
        preferences: &RequestPreferences,
        context: &Context,
    ) -> (Arc<Snapshot>, bool) {
        let mut snapshots = self.snapshots.clone();
        let mut snapshot = Arc::clone(&snapshots.borrow_and_update());
        let longest = preferences.prefer.wait.map_or(self.budget, |wait| wait.min(self.budget));
        let mut waited = false;
        while may_improve(&snapshot, preferences.strict) {
            // What has come must still be rendered within the budget.
            let bytes: usize = snapshot.sources.iter().map(|source| source.bytes).sum();
            let render = Duration::from_nanos(bytes as u64 * RENDER_NANOS_PER_BYTE);
            let until =
                context.started + longest.min(self.budget.saturating_sub(2 * MARGIN + render));
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

    /// Renders, or finds rendered, and sends with all that belongs to it.
    pub(super) async fn reply(
        &self,
        render_request: RenderRequest<impl FnOnce() -> Vec<u8> + Send + 'static>,
        selected: SelectedSnapshot,
        preferences: &RequestPreferences,
        request: &Parts,
        context: &Context,
    ) -> Result<Response<Body>, Problem> {
        let (mut response, now) = self.render(render_request, &selected, request, context).await?;
        let headers = response.headers_mut();
        preferences.prefer.insert_applied(headers);
        let since_start = |at: Instant| at.saturating_duration_since(context.started);
        headers.insert(SERVER_TIMING, server_timing(since_start(selected.at), since_start(now)));
        Ok(conditions::apply(response, request, context))
    }

    /// The response with all headers but those that only this request has, and when it was
    /// rendered.
    async fn render(
        &self,
        render_request: RenderRequest<impl FnOnce() -> Vec<u8> + Send + 'static>,
        selected: &SelectedSnapshot,
        request: &Parts,
        context: &Context,
    ) -> Result<(Response<Body>, Instant), Problem> {
        let RenderRequest { question, content_type, vary, coding, is_small, render } =
            render_request;
        let view = &selected.snapshot.view;
        let deadline = context.started + self.budget.saturating_sub(MARGIN);
        let answer = if is_small {
            self.cache.small_answer(view, question.clone(), coding, deadline, render).await?
        } else {
            self.cache.answer(view, question.clone(), coding, deadline, render).await?
        };
        let now = Instant::now();
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(coding) = coding.as_str() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.insert(header::ETAG, answer.etag().clone());
        headers.insert(header::VARY, HeaderValue::from_static(vary));
        self.freshness_headers
            .of(&selected.snapshot, now)
            .insert_all(&mut headers, selected.result);
        // Those who come later wait no more than this one did.
        if matches!(selected.result, CacheResult::Hit | CacheResult::Stale)
            && !may_improve(&selected.snapshot, false)
        {
            self.response_cache.keep(&question, coding, selected, now, &answer, &headers);
        }
        let bytes = self.cache.send(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        *response.headers_mut() = headers;
        Ok((response, now))
    }

    /// An answer, or the problem with the sources that are behind it.
    pub(super) fn into_response(
        &self,
        answer: Result<Response<Body>, Problem>,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        answer.unwrap_or_else(|problem| {
            let (snapshot, now) = (self.snapshot(), Instant::now());
            let of_data = matches!(
                problem,
                Problem::NoData { .. } | Problem::Incomplete { .. } | Problem::UnknownEmployee
            );
            if !of_data {
                return problem.response(context.id(), &[]);
            }
            let mut response =
                problem.response(context.id(), &freshness::problem_sources(&snapshot, now));
            let headers = response.headers_mut();
            self.freshness_headers.of(&snapshot, now).insert_state(headers);
            headers
                .insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"));
            if let Ok((_, preferences)) = self.read(request, Keys::All) {
                preferences.prefer.insert_applied(headers);
            }
            response
        })
    }
}

/// How a request wants to be answered.
pub(super) struct RequestPreferences {
    prefer: Preferences,
    /// All or nothing.
    strict: bool,
}

/// The value of `Server-Timing`: milliseconds to the microsecond, without the cost of formatting
/// floats.
pub(super) fn server_timing(waited: Duration, total: Duration) -> HeaderValue {
    let mut text = String::with_capacity(64);
    let rendered = total.saturating_sub(waited);
    for (name, duration) in
        [("wait;dur=", waited), (", render;dur=", rendered), (", total;dur=", total)]
    {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        text.push_str(name);
        text.push_str(itoa::Buffer::new().format(micros / 1000));
        text.push('.');
        // The thousand keeps the zeros in front of what is left.
        text.push_str(&itoa::Buffer::new().format(1000 + micros % 1000)[1..]);
    }
    HeaderValue::try_from(text).expect("words and numbers make a header value")
}

/// Whether waiting may bring what is asked for: a source that was never heard of yet is under way.
fn may_improve(snapshot: &Snapshot, strict: bool) -> bool {
    let wanting = if strict {
        snapshot.completeness(Instant::now()) != Completeness::Complete
    } else {
        !snapshot.has_data()
    };
    snapshot.is_loading() || (wanting && snapshot.is_fetching_missing())
}

/// The connection that a request came over, if it came over one.
pub(super) fn connection(request: &Parts) -> Option<Arc<dyn Connection>> {
    let handle = request.extensions.get::<ConnectionHandle>()?;
    Some(Arc::new(handle.clone()))
}
