//! Export of spans over OTLP (HTTP, protobuf), where a collector is configured.
//!
//! A request's span belongs to its caller's trace, and the span of an upstream call to that of its
//! refresh. Without a collector no spans are created for requests, since the log needs none.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::Url;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Whether spans are exported; set once, before the first request.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// The exporter of spans. It sends the last ones when it is shut down.
#[derive(Debug)]
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts to send spans to the collector at `endpoint`, on a thread of its own. Must not be
    /// called on a thread of a runtime.
    pub(super) fn start(endpoint: &Url) -> Result<Self, String> {
        // The exporter's thread has no runtime, so it needs a blocking client.
        let plain = endpoint.scheme() == "http";
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().no_proxy();
        // Without TLS no certificate authorities are needed, and a machine may have none.
        let client = if plain { client.tls_certs_only([]) } else { client };
        let client = client.build().map_err(|error| error.to_string())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.as_str())
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name("incident-gateway").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        EXPORTING.store(true, Ordering::Relaxed);
        Ok(Self(provider))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("incident-gateway")
    }

    /// Sends the last spans, and waits for the collector for a few seconds at most.
    pub(super) fn shut_down(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Whether spans are exported; otherwise none need to be created.
#[must_use]
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// Makes `span` a child of the span `parent` in the trace `trace_id`. Does nothing when
/// spans are not exported.
pub fn join_trace(span: &Span, trace_id: u128, parent: u64) {
    if !is_exporting() {
        return;
    }
    let context = SpanContext::new(
        TraceId::from(trace_id),
        SpanId::from(parent),
        // All spans are exported, whether the caller samples its trace or not.
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    // This fails only if the span was entered already; it then stays in a trace of its own.
    let _ = span.set_parent(Context::new().with_remote_span_context(context));
}
