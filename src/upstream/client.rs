//! Builds HTTP clients: reqwest over rustls, with the TLS settings and the proxy of an upstream or
//! a forward.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, Url, retry};

use super::classify;
use super::content_coding::ACCEPTED;
use super::setting_names::SettingNames;
use crate::config::{self, Auth, ClientCertificate, PemFile};

/// Pings detect a dead HTTP/2 connection, on which all calls would fail until the kernel notices.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The most header fields of an answer. Over HTTP/1 they must also fit into the 400 KiB that hyper
/// buffers.
const MAX_HEADER_FIELDS: usize = 4096;

/// The most bytes of header fields of an answer over HTTP/2.
const MAX_HEADER_BYTES: u32 = 400 << 10;

/// Why the client of an upstream or a forward could not be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetupError {
    /// The source's request cannot be made, for example because its path gives no URL below the
    /// base URL.
    Request {
        /// The source's name.
        source: String,
        /// What is wrong, and what to write instead.
        detail: String,
    },
    /// The URL is `https`, and no CA certificates were found.
    NoTrustRoots {
        /// The setting with the URL.
        setting: String,
    },
    /// Credentials cannot be sent in a header.
    Credentials {
        /// The setting with the credentials.
        setting: String,
    },
    /// Any other error.
    Client {
        /// The settings of the upstream or the forward.
        setting: String,
        /// reqwest's message.
        why: String,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { source, detail } => write!(f, "source {source}: {detail}"),
            Self::NoTrustRoots { setting } => write!(
                f,
                "{setting} is https, but no CA certificates were found to check it with; install \
                 the system's (package ca-certificates), or name a PEM file in SSL_CERT_FILE or \
                 in its ca_file"
            ),
            Self::Credentials { setting } => write!(
                f,
                "{setting}: the credentials have characters that no header can have; write them \
                 in one line, without control characters"
            ),
            Self::Client { setting, why } => {
                write!(f, "{setting}: the HTTP client could not be set up: {why}")
            }
        }
    }
}

impl std::error::Error for SetupError {}

/// The settings of a client's connections.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionSettings<'a> {
    /// Certificates that are trusted beside the system's.
    pub(crate) ca: Option<&'a PemFile>,
    /// The certificate and the key that the client presents.
    pub(crate) client_certificate: Option<&'a ClientCertificate>,
    /// The proxy, which is never taken from the environment.
    pub(crate) proxy: Option<&'a Url>,
    /// The deadline of connecting.
    pub(crate) connect_timeout: Duration,
}

impl<'a> From<&'a config::Upstream> for ConnectionSettings<'a> {
    fn from(settings: &'a config::Upstream) -> Self {
        Self {
            ca: settings.ca.as_ref(),
            client_certificate: settings.client_certificate.as_ref(),
            proxy: settings.proxy.as_ref(),
            connect_timeout: settings.connect_timeout,
        }
    }
}

/// Why a client could not be built.
pub(crate) enum BuildError {
    /// TLS is needed, and no CA certificates were found.
    NoTrustRoots,
    /// Any other error, with reqwest's message.
    Other(String),
}

/// Builds a client for requests to the URL that the setting `key` has; `change` adds other
/// settings.
pub(crate) fn build(
    names: &SettingNames,
    connections: ConnectionSettings<'_>,
    (key, url): (&str, &Url),
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, SetupError> {
    build_client(connections, url, change).map_err(|error| match error {
        BuildError::NoTrustRoots => SetupError::NoTrustRoots { setting: names.setting(key) },
        BuildError::Other(why) => SetupError::Client { setting: names.to_string(), why },
    })
}

/// Builds a client for requests to `url`, which follows no redirects and repeats no requests;
/// `change` adds other settings.
pub(crate) fn build_client(
    settings: ConnectionSettings<'_>,
    url: &Url,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, BuildError> {
    // This only fails if a provider is installed already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = change(client_builder(settings.connect_timeout));
    with_tls_and_proxy(builder, settings, url)
        .and_then(ClientBuilder::build)
        .map_err(|error| classify_setup(&error))
}

fn client_builder(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("incident-gateway/", env!("CARGO_PKG_VERSION")))
        .default_headers(default_headers())
        .connect_timeout(connect_timeout)
        // The transport follows those within the origin.
        .redirect(Policy::none())
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
        .http2_keep_alive_while_idle(true)
}

fn with_tls_and_proxy(
    mut builder: ClientBuilder,
    settings: ConnectionSettings<'_>,
    url: &Url,
) -> reqwest::Result<ClientBuilder> {
    let is_https = |url: &Url| url.scheme() == "https";
    if let Some(proxy) = settings.proxy {
        builder = builder.proxy(Proxy::all(proxy.clone())?);
    }
    if !is_https(url) && !settings.proxy.is_some_and(is_https) {
        // Without TLS no CA certificates are needed, and the system may have none.
        return Ok(builder.tls_certs_only([]));
    }
    if let Some(ca) = settings.ca {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&ca.pem)?);
    }
    if let Some(client) = settings.client_certificate {
        let pem = [&client.certificate.pem[..], b"\n", &client.key.pem[..]].concat();
        builder = builder.identity(Identity::from_pem(&pem)?);
    }
    Ok(builder.https_only(is_https(url)))
}

/// The headers of every request that does not set them itself.
fn default_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
    headers
}

fn classify_setup(error: &reqwest::Error) -> BuildError {
    // Neither reqwest nor the certificate verifier has an error type for this.
    let text = classify::chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if text.contains("No CA certificates") {
        BuildError::NoTrustRoots
    } else {
        BuildError::Other(text)
    }
}

/// Warns if credentials are sent over a network unencrypted: to the URL that the setting `key` has,
/// or to the token endpoint.
pub(crate) fn warn_of_unencrypted_credentials(
    names: &SettingNames,
    (key, url): (&str, &Url),
    auth: Option<&Auth>,
    has_credentials: bool,
) {
    let warn = |setting: &str, whose: &str| {
        tracing::warn!(
            "`{setting}` is http://, so {whose} credentials cross the network unencrypted; use \
             https://"
        );
    };
    if has_credentials && !is_encrypted_or_local(url) {
        warn(&names.setting(key), "its");
    }
    if let Some(Auth::OAuth2(oauth2)) = auth
        && !is_encrypted_or_local(&oauth2.token_url)
    {
        warn(&names.setting("auth.oauth2.token_url"), "the client's");
    }
}

/// Whether what is sent to `url` does not cross a network unencrypted.
fn is_encrypted_or_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.');
            // RFC 6761, section 6.3.
            name == "localhost" || name.ends_with(".localhost")
        }
    };
    is_local || url.scheme() == "https"
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
