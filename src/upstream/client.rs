//! The pooled HTTP client: reqwest over rustls, bound to one origin.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use headers::{Authorization, HeaderMapExt as _};
use http::{HeaderMap, HeaderValue, header};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url, retry};
use secrecy::ExposeSecret as _;
use tower::Service;

use super::call::Attempt;
use super::content_coding::ACCEPTED;
use super::resend::{AnsweredConnections, MAX_RESENDS, MAX_SHARED_RESENDS, Resend};
use super::{Endpoint, UpstreamError, body, classify};
use crate::config;
use crate::trace_context::TRACEPARENT;

/// Pings detect a dead HTTP/2 connection, on which all calls would fail until the kernel notices.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The most header fields of an answer. Over HTTP/1 they must also fit into the 400 KiB that hyper
/// buffers.
const MAX_HEADER_FIELDS: usize = 4096;

/// The most bytes of header fields of an answer over HTTP/2.
const MAX_HEADER_BYTES: u32 = 400 << 10;

/// Why no client could be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetupError {
    /// The endpoint's path gives no URL below `upstream.base_url`.
    Path {
        /// The source's name.
        source: String,
        /// The path as configured.
        path: String,
    },
    /// The base URL is `https`, and no CA certificates were found.
    NoTrustRoots,
    /// Any other error, with reqwest's message.
    Client(String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { source, path } => write!(
                f,
                "source {source}: path {path:?} makes no address below upstream.base_url; write it \
                 like /incidents/"
            ),
            Self::NoTrustRoots => f.write_str(
                "upstream.base_url is https, but no CA certificates were found to check it with; \
                 install the system's (package ca-certificates), or name a PEM file in \
                 SSL_CERT_FILE",
            ),
            Self::Client(why) => write!(f, "the HTTP client could not be set up: {why}"),
        }
    }
}

impl std::error::Error for SetupError {}

/// Makes the calls of one upstream over pooled connections.
#[derive(Clone)]
pub(super) struct HttpTransport {
    pooled: Client,
    /// Opens a new connection for each request.
    unpooled: Client,
    answered_connections: Arc<AnsweredConnections>,
    base: Url,
    targets: Arc<[Url]>,
    max_body: u64,
}

impl HttpTransport {
    pub(super) fn new(
        settings: &config::Upstream,
        endpoints: &[Endpoint],
    ) -> Result<Self, SetupError> {
        warn_of_unencrypted_credentials(settings);
        let base = settings.base_url.clone();
        let targets = endpoints
            .iter()
            .map(|endpoint| endpoint_url(&base, endpoint))
            .collect::<Result<_, _>>()?;
        // This only fails if a provider is installed already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build =
            |builder: ClientBuilder| builder.build().map_err(|error| classify_setup(&error));
        Ok(Self {
            pooled: build(client_builder(settings))?,
            unpooled: build(client_builder(settings).pool_max_idle_per_host(0))?,
            answered_connections: Arc::default(),
            base,
            targets,
            max_body: settings.max_body,
        })
    }

    /// Sends a GET request and waits for the head of the answer. Sends the request again if the
    /// upstream did not process it.
    async fn send(&self, url: Url, headers: HeaderMap) -> reqwest::Result<Response> {
        let (mut resends, mut client) = (0, &self.pooled);
        loop {
            let error = match client.get(url.clone()).headers(headers.clone()).send().await {
                Ok(response) => {
                    self.answered_connections.note(&response);
                    return Ok(response);
                }
                Err(error) => error,
            };
            let Some(resend) =
                self.answered_connections.resend(&error).filter(|_| resends < MAX_RESENDS)
            else {
                return Err(error);
            };
            resends += 1;
            if resend == Resend::OnNew || resends > MAX_SHARED_RESENDS {
                client = &self.unpooled;
            }
            tracing::debug!(resends, "request sent again: the upstream had not processed it");
        }
    }
}

/// Warns if the credentials are sent over a network unencrypted.
fn warn_of_unencrypted_credentials(settings: &config::Upstream) {
    if settings.username.is_some() && !is_encrypted_or_local(&settings.base_url) {
        tracing::warn!(
            "`upstream.base_url` is http://, so the upstream's username and password cross the \
             network unencrypted; use https://"
        );
    }
}

fn is_encrypted_or_local(base_url: &Url) -> bool {
    let host = base_url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.');
            // RFC 6761, section 6.3.
            name == "localhost" || name.ends_with(".localhost")
        }
    };
    is_local || base_url.scheme() == "https"
}

fn client_builder(settings: &config::Upstream) -> ClientBuilder {
    let origin = settings.base_url.origin();
    let builder = Client::builder()
        .user_agent(concat!("incident-gateway/", env!("CARGO_PKG_VERSION")))
        .default_headers(default_headers(settings))
        .connect_timeout(settings.connect_timeout)
        // Credentials must not be sent to any other origin than the base URL's.
        .redirect(Policy::custom(move |redirect| {
            if redirect.url().origin() == origin
                && redirect.previous().len() <= classify::MAX_REDIRECTS
            {
                redirect.follow()
            } else {
                redirect.stop()
            }
        }))
        .referer(false)
        .no_proxy()
        // Only the retry layer repeats failed calls, within its budget.
        .retry(retry::never())
        .http1_max_headers(MAX_HEADER_FIELDS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true);
    if settings.base_url.scheme() == "https" {
        builder.https_only(true)
    } else {
        // Without TLS no CA certificates are needed, and the system may have none.
        builder.tls_certs_only([])
    }
}

impl fmt::Debug for HttpTransport {
    /// Omits the clients, whose default headers contain the credentials.
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
        let mut headers = HeaderMap::new();
        if let Some(trace) = attempt.context.trace {
            headers.insert(TRACEPARENT, trace.traceparent(attempt.span_id));
        }
        let transport = self.clone();
        Box::pin(async move {
            let url = transport.targets[attempt.endpoint].clone();
            let response =
                transport.send(url, headers).await.map_err(|error| classify::transport(&error))?;
            classify::answer(&response, &transport.base)?;
            let status = response.status();
            body::read(response, transport.max_body)
                .await
                .map_err(|error| error.with_status(status))
        })
    }
}

fn default_headers(settings: &config::Upstream) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
    if let Some(username) = &settings.username {
        let password = settings.password.as_ref().map_or("", |password| password.expose_secret());
        // This marks the value as sensitive, so that `Debug` does not show it.
        headers.typed_insert(Authorization::basic(username, password));
    }
    headers
}

/// The endpoint's URL: the base URL, including its path, followed by the endpoint's path.
fn endpoint_url(base: &Url, endpoint: &Endpoint) -> Result<Url, SetupError> {
    let invalid_path =
        || SetupError::Path { source: endpoint.name.to_string(), path: endpoint.path.clone() };
    if !endpoint.path.starts_with('/') {
        return Err(invalid_path());
    }
    let joined = Url::parse(&format!("{}{}", base.as_str().trim_end_matches('/'), endpoint.path));
    joined.ok().filter(|url| url.origin() == base.origin()).ok_or_else(invalid_path)
}

fn classify_setup(error: &reqwest::Error) -> SetupError {
    // Neither reqwest nor the certificate verifier has an error type for this.
    let text = classify::chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if text.contains("No CA certificates") {
        SetupError::NoTrustRoots
    } else {
        SetupError::Client(text)
    }
}

#[cfg(test)]
mod tests {
    use super::is_encrypted_or_local;

    #[test]
    fn credentials_are_safe_over_https_and_on_loopback() {
        for safe in [
            "https://api.example.test",
            "http://localhost:8080",
            "http://LOCALHOST./",
            "http://api.localhost",
            "http://127.0.0.1",
            "http://127.8.9.1:1",
            "http://[::1]:8080",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(is_encrypted_or_local(&safe.parse().unwrap()), "{safe}");
        }
        for clear in [
            "http://api.example.test",
            "http://localhost.example.test",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://[2001:db8::1]",
        ] {
            assert!(!is_encrypted_or_local(&clear.parse().unwrap()), "{clear}");
        }
    }
}
