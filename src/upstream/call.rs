//! One call to the upstream: its deadline, and what is told of it to the log and the metrics.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceExt as _};
use tracing::Span;

use super::UpstreamError;
use super::metrics::SourceMetrics;
use crate::logging::join_trace;
use crate::outcome::Outcome;
use crate::trace_context::TraceContext;

/// On whose behalf the upstream is called; both parts are for the log and for tracing.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The request that asked for it.
    pub request_id: Option<Arc<str>>,
    /// The trace it belongs to, passed on in `traceparent`; without one, each call starts a new
    /// trace.
    pub trace: Option<TraceContext>,
    /// Told of each failure after which the call is made again.
    pub on_retry: OnRetry,
}

/// Something to tell of a failure, or nothing.
#[derive(Clone, Default)]
pub struct OnRetry(Option<Arc<Listener>>);

type Listener = dyn Fn(&UpstreamError) + Send + Sync;

impl OnRetry {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(&UpstreamError) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells of a failure.
    pub fn tell(&self, error: &UpstreamError) {
        if let Some(listener) = &self.0 {
            listener(error);
        }
    }
}

impl fmt::Debug for OnRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnRetry").field(&self.0.is_some()).finish()
    }
}

/// One try at one endpoint; what travels down the stack.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which endpoint, by its place in the list that the stack was built from.
    pub endpoint: usize,
    /// 1 for the first try.
    pub number: usize,
    /// Whether a half-open circuit sent it to see how the source is.
    pub probe: bool,
    /// On whose behalf.
    pub caller: Caller,
    /// The call's span id, new for each try and never zero.
    pub span: u64,
}

/// An answer whose whole body came with status 200.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body, decompressed.
    pub body: Bytes,
}

/// An answer, and the record of the call that is still to be written.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Bytes,
    pub(super) record: Record,
}

/// Bounds a call by one deadline over connecting, headers and the whole body, and records it.
#[derive(Clone, Debug)]
pub(super) struct Observe<S> {
    pub(super) inner: S,
    pub(super) source: Arc<str>,
    pub(super) deadline: Duration,
    pub(super) metrics: SourceMetrics,
    pub(super) spans: Arc<std::sync::Mutex<fastrand::Rng>>,
}

impl<S> Service<Attempt> for Observe<S>
where
    S: Service<Attempt, Response = Answer, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Reply;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Reply, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let (span, own_trace) = {
            let mut ids = super::lock(&self.spans);
            (ids.u64(1..), TraceContext::new(ids.u128(1..)))
        };
        attempt.span = span;
        // A call that nobody asked for begins a trace of its own, so that the upstream's log can be
        // matched with ours.
        attempt.caller.trace.get_or_insert(own_trace);
        let span =
            tracing::info_span!("upstream call", source = &*self.source, attempt = attempt.number);
        if let Some(trace) = attempt.caller.trace {
            join_trace(&span, trace.trace_id().as_u128(), attempt.span);
        }
        let (inner, deadline) = (self.inner.clone(), self.deadline);
        let (source, metrics) = (Arc::clone(&self.source), self.metrics.clone());
        let started = Instant::now();
        let call = async move {
            let result =
                timeout(deadline, inner.oneshot(attempt.clone())).await.unwrap_or_else(|_| {
                    let detail = format!(
                        "no whole answer came within {}",
                        humantime::format_duration(deadline)
                    );
                    Err(UpstreamError::new(Outcome::Timeout, detail))
                });
            let took = started.elapsed();
            let bytes = result.as_ref().map_or(0, |answer| answer.body.len());
            let record = Record {
                source,
                metrics,
                attempt,
                took,
                span: Span::current(),
                bytes,
                written: false,
            };
            match result {
                Ok(Answer { body }) => Ok(Reply { body, record }),
                Err(error) => Err(record.fail(error)),
            }
        };
        Box::pin(tracing::Instrument::instrument(call, span))
    }
}

/// What the log and the metrics say of one call; written exactly once.
///
/// A body that came whole may still not decode, so the record of a good answer waits for that
/// verdict.
#[derive(Debug)]
pub(super) struct Record {
    source: Arc<str>,
    metrics: SourceMetrics,
    attempt: Attempt,
    took: Duration,
    span: Span,
    bytes: usize,
    written: bool,
}

impl Record {
    pub(super) const fn took(&self) -> Duration {
        self.took
    }

    pub(super) const fn attempt(&self) -> usize {
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
        self.written = true;
        let outcome = error.map_or(Outcome::Ok, |error| error.kind);
        self.metrics.record_call(outcome, self.took);

        let source = &*self.source;
        let outcome = outcome.as_str();
        let status =
            error.map_or(Some(StatusCode::OK), |error| error.status).map(|status| status.as_u16());
        let (bytes, duration_seconds) = (self.bytes, self.took.as_secs_f64());
        let attempt = self.attempt.number;
        let request_id = self.attempt.caller.request_id.as_deref();
        let trace_id =
            self.attempt.caller.trace.map(|trace| tracing::field::display(trace.trace_id()));
        let span_id = format_args!("{:016x}", self.attempt.span);
        let _entered = self.span.enter();
        if let Some(error) = error {
            let (probe, detail) = (self.attempt.probe, error.detail.as_str());
            tracing::warn!(
                source, outcome, status, bytes, duration_seconds, attempt, probe, request_id, trace_id, %span_id,
                detail, "upstream call failed"
            );
        } else {
            tracing::info!(
                source, outcome, status, bytes, duration_seconds, attempt, request_id, trace_id, %span_id,
                "upstream call"
            );
        }
    }
}

impl Drop for Record {
    /// Nobody judged the body: what is known is that it came whole.
    fn drop(&mut self) {
        if !self.written {
            self.write(None);
        }
    }
}
