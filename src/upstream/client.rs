//! The pooled HTTP client: reqwest over rustls, bound to one origin.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use headers::{Authorization, HeaderMapExt as _};
use http::{HeaderMap, HeaderValue, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Url, retry};
use secrecy::ExposeSecret as _;
use tower::Service;

use super::call::Attempt;
use super::{Endpoint, UpstreamError, body, classify};
use crate::config;
use crate::trace_context::TRACEPARENT;

/// Where a connection carries several calls (HTTP/2), a dead one would fail all of them until the
/// kernel gives it up.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no client could be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetupError {
    /// The endpoint's path cannot be put behind `upstream.base_url`.
    Path {
        /// The source's name.
        source: String,
        /// The path as configured.
        path: String,
    },
    /// `https`, and no certificate authority to trust.
    NoTrustRoots,
    /// Anything else; the text is reqwest's.
    Client(String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { source, path } => write!(
                f,
                "source {source}: path {path:?} makes no address below upstream.base_url; write it like /incidents/"
            ),
            Self::NoTrustRoots => f.write_str(
                "upstream.base_url is https, but no CA certificates were found to check it with; install the \
                 system's (package ca-certificates), or name a PEM file in SSL_CERT_FILE",
            ),
            Self::Client(why) => write!(f, "the HTTP client could not be set up: {why}"),
        }
    }
}

impl std::error::Error for SetupError {}

/// Makes the calls of one upstream over pooled connections.
#[derive(Clone)]
pub(super) struct HttpTransport {
    client: Client,
    base: Url,
    targets: Arc<[Url]>,
    max_body: u64,
}

impl HttpTransport {
    pub(super) fn new(
        settings: &config::Upstream,
        endpoints: &[Endpoint],
    ) -> Result<Self, SetupError> {
        let base = settings.base_url.clone();
        let targets =
            endpoints.iter().map(|endpoint| join(&base, endpoint)).collect::<Result<_, _>>()?;
        // Err says that one is installed already, which is as good: a test or an embedding program
        // chose it.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let origin = base.origin();
        let builder = Client::builder()
            .user_agent(concat!("incident-gateway/", env!("CARGO_PKG_VERSION")))
            .default_headers(default_headers(settings))
            .connect_timeout(settings.connect_timeout)
            // Credentials go to the base URL's origin and nowhere else, so neither do calls.
            .redirect(Policy::custom(move |redirect| {
                if redirect.url().origin() == origin
                    && redirect.previous().len() <= classify::REDIRECTS
                {
                    redirect.follow()
                } else {
                    redirect.stop()
                }
            }))
            .referer(false)
            .no_proxy()
            // Retries are made in one place, with a budget: our own.
            .retry(retry::never())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        let builder = if base.scheme() == "https" {
            builder.https_only(true)
        } else {
            // Without TLS no certificates are needed, so their absence must not matter.
            builder.tls_certs_only([])
        };
        let client = builder.build().map_err(|error| classify_setup(&error))?;
        Ok(Self { client, base, targets, max_body: settings.max_body })
    }
}

impl fmt::Debug for HttpTransport {
    /// Without the client, whose default headers hold the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Service<Attempt> for HttpTransport {
    type Response = Bytes;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Bytes, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut request = self.client.get(self.targets[attempt.endpoint].clone());
        if let Some(trace) = attempt.context.trace {
            request = request.header(TRACEPARENT, trace.traceparent(attempt.span_id));
        }
        let (base, max_body) = (self.base.clone(), self.max_body);
        Box::pin(async move {
            let response = request.send().await.map_err(|error| classify::transport(&error))?;
            classify::answer(&response, &base)?;
            let status = response.status();
            body::read(response, max_body).await.map_err(|error| error.with_status(status))
        })
    }
}

fn default_headers(settings: &config::Upstream) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(username) = &settings.username {
        let password = settings.password.as_ref().map_or("", |password| password.expose_secret());
        // Marks its value as sensitive, so that no Debug shows it.
        headers.typed_insert(Authorization::basic(username, password));
    }
    headers
}

/// The endpoint's address: its path behind the base URL's own, if that has one.
fn join(base: &Url, endpoint: &Endpoint) -> Result<Url, SetupError> {
    let wrong =
        || SetupError::Path { source: endpoint.name.to_string(), path: endpoint.path.clone() };
    if !endpoint.path.starts_with('/') {
        return Err(wrong());
    }
    let joined = Url::parse(&format!("{}{}", base.as_str().trim_end_matches('/'), endpoint.path));
    joined.ok().filter(|url| url.origin() == base.origin()).ok_or_else(wrong)
}

fn classify_setup(error: &reqwest::Error) -> SetupError {
    // reqwest and the verifier give this no type of its own.
    let text = classify::chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if text.contains("No CA certificates") {
        SetupError::NoTrustRoots
    } else {
        SetupError::Client(text)
    }
}
