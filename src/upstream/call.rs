//! One call to the upstream: its deadline, its log event and its metrics.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span};

use super::deadline::Deadline;
use super::metrics::SourceMetrics;
use super::{Answer, Observer, UpstreamError};
use crate::logging::join_trace;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::trace_context::TraceContext;

/// How a call ended.
pub(super) type Result<T = RecordedAnswer> = std::result::Result<T, UpstreamError>;

/// The longest wait that is waited out within a call, unless the caller allows more.
pub(super) const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);

/// The circumstances of a call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The trace to continue in `traceparent`; without one, each attempt starts a new trace.
    pub trace: Option<TraceContext>,
    /// Called with each failure that is retried, and the time of the retry.
    pub on_retry: OnRetry,
    /// Sees the request and the answer.
    pub observer: Observer,
    /// The longest wait that the upstream may ask for (429, 503) and that is waited out within the
    /// call. Because of a longer one the call fails at once.
    pub max_wait: Duration,
    /// The largest body of this answer, in bytes after decompression; `max_body` of the upstream
    /// bounds it as well.
    pub max_body: u64,
    /// The number of the page that the call asks for, from 1.
    pub page: usize,
}

impl Default for CallContext {
    fn default() -> Self {
        Self {
            trace: None,
            on_retry: OnRetry::default(),
            observer: Observer::default(),
            max_wait: DEFAULT_MAX_WAIT,
            max_body: u64::MAX,
            page: 1,
        }
    }
}

/// An optional function that is called with failures that are retried.
#[derive(Clone, Default)]
pub struct OnRetry(Option<Arc<Listener>>);

type Listener = dyn Fn(&UpstreamError, Instant) + Send + Sync;

impl OnRetry {
    /// Calls `listener` with each failure, and the time of the next attempt.
    pub fn new(listener: impl Fn(&UpstreamError, Instant) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Passes a failure to the listener.
    pub fn notify(&self, error: &UpstreamError, next_attempt: Instant) {
        if let Some(listener) = &self.0 {
            listener(error, next_attempt);
        }
    }
}

impl fmt::Debug for OnRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnRetry").field(&self.0.is_some()).finish()
    }
}

/// One attempt to make a call: the request type of the stack's services.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The source's index in the list that the client was built from.
    pub source: usize,
    /// What is sent, without the credentials.
    pub request: Arc<Request>,
    /// 1 for the first attempt.
    pub number: usize,
    /// Whether it is the probe of a half-open circuit.
    pub is_probe: bool,
    /// The circumstances of the call.
    pub context: CallContext,
    /// The attempt's span id, new for each attempt and never zero.
    pub span_id: u64,
    /// Header fields that authenticate the request, marked as sensitive.
    pub(super) credentials: Arc<HeaderMap>,
    /// The deadline of the attempt, once it is made.
    pub(super) deadline: Deadline,
}

impl Attempt {
    /// The first attempt.
    pub(super) fn first(source: usize, request: Request, context: CallContext) -> Self {
        Self {
            source,
            request: Arc::new(request),
            number: 1,
            is_probe: false,
            context,
            span_id: 0,
            credentials: Arc::default(),
            deadline: Deadline::after(Duration::ZERO),
        }
    }
}

/// A whole answer, and the record of its call, which is still to be written.
#[derive(Debug)]
pub(super) struct RecordedAnswer {
    pub(super) answer: Answer,
    pub(super) record: CallRecord,
}

/// Bounds a call by one deadline over connecting, headers and the whole body, and records it.
#[derive(Clone, Debug)]
pub(super) struct CallTelemetry<S> {
    pub(super) inner: S,
    pub(super) source: Arc<str>,
    pub(super) deadline: Duration,
    pub(super) metrics: SourceMetrics,
    pub(super) trace_ids: Arc<std::sync::Mutex<fastrand::Rng>>,
}

impl<S> Service<Attempt> for CallTelemetry<S>
where
    S: Service<Attempt, Response = Answer, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = RecordedAnswer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let trace = {
            let mut ids = super::lock(&self.trace_ids);
            attempt.span_id = ids.u64(1..);
            *attempt.context.trace.get_or_insert_with(|| TraceContext::new(ids.u128(1..)))
        };
        attempt.deadline = Deadline::after(self.deadline);
        let (source, number, page) = (&*self.source, attempt.number, later_page(&attempt));
        let span = tracing::info_span!("upstream call", source, attempt = number, page);
        join_trace(&span, trace.trace_id().as_u128(), attempt.span_id);
        let (inner, deadline) = (self.inner.clone(), self.deadline);
        let (source, metrics) = (Arc::clone(&self.source), self.metrics.clone());
        let call = async move {
            let started = Instant::now();
            let result = tokio::select! {
                biased;
                result = inner.oneshot(attempt.clone()) => result,
                () = attempt.deadline.passed() => {
                    let deadline = humantime::format_duration(deadline);
                    let detail = format!("no whole answer came within {deadline}");
                    Err(UpstreamError::new(Outcome::Timeout, detail))
                }
            };
            // Created only here, because a cancelled call must not be recorded.
            let record = CallRecord {
                source,
                metrics,
                attempt,
                duration: started.elapsed(),
                span: Span::current(),
                status: match &result {
                    Ok(answer) => Some(answer.status),
                    Err(error) => error.status,
                },
                body_bytes: result.as_ref().map_or(0, |answer| answer.body.len()),
                is_written: false,
            };
            match result {
                Ok(answer) => Ok(RecordedAnswer { answer, record }),
                Err(error) => Err(record.fail(error)),
            }
        };
        Box::pin(call.instrument(span))
    }
}

/// The number of the page that is asked for, unless it is the first.
fn later_page(attempt: &Attempt) -> Option<usize> {
    Some(attempt.context.page).filter(|page| *page > 1)
}

/// The log event and metrics of one call; written exactly once.
///
/// A complete body may still fail to decode, so its call is recorded only when the caller has
/// accepted or rejected the body.
#[derive(Debug)]
pub(super) struct CallRecord {
    source: Arc<str>,
    metrics: SourceMetrics,
    attempt: Attempt,
    duration: Duration,
    span: Span,
    status: Option<StatusCode>,
    body_bytes: usize,
    is_written: bool,
}

impl CallRecord {
    pub(super) const fn duration(&self) -> Duration {
        self.duration
    }

    pub(super) const fn attempts(&self) -> usize {
        self.attempt.number
    }

    pub(super) fn succeed(mut self) {
        self.write(None);
    }

    pub(super) fn fail(mut self, error: UpstreamError) -> UpstreamError {
        self.write(Some(&error));
        error
    }

    fn write(&mut self, error: Option<&UpstreamError>) {
        self.is_written = true;
        let outcome = error.map_or(Outcome::Ok, |error| error.kind);
        self.metrics.record_call(outcome, self.duration);

        let source = &*self.source;
        let outcome = outcome.as_str();
        let status = self.status.map(|status| status.as_u16());
        let (bytes, duration_seconds) = (self.body_bytes, self.duration.as_secs_f64());
        let (attempt, page) = (self.attempt.number, later_page(&self.attempt));
        let trace_id =
            self.attempt.context.trace.map(|trace| tracing::field::display(trace.trace_id()));
        let span_id = format_args!("{:016x}", self.attempt.span_id);
        let _entered = self.span.enter();
        if let Some(error) = error {
            let (probe, detail) = (self.attempt.is_probe, error.detail.as_str());
            tracing::warn!(
                source, outcome, status, bytes, duration_seconds, attempt, page, probe, trace_id,
                %span_id, detail, "upstream call failed"
            );
        } else {
            tracing::info!(
                source, outcome, status, bytes, duration_seconds, attempt, page, trace_id,
                %span_id, "upstream call"
            );
        }
    }
}

impl Drop for CallRecord {
    /// Records a call whose complete body was neither accepted nor rejected as successful.
    fn drop(&mut self) {
        if !self.is_written {
            self.write(None);
        }
    }
}
