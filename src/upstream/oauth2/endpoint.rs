//! The token endpoint of an authorization server.

use std::time::Duration;

use bytes::Bytes;
use headers::{Authorization, HeaderMapExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::{self, Instant};

use super::Token;
use crate::config::{ClientAuth, OAuth2};
use crate::outcome::Outcome;
use crate::request::{append_pair, form_encoded};
use crate::upstream::body::{self, BodyLimit};
use crate::upstream::client::{self, ConnectionSettings, SetupError};
use crate::upstream::retry_after::retry_after;
use crate::upstream::setting_names::SettingNames;
use crate::upstream::{UpstreamError, classify};

/// The largest answer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// The reasons that an endpoint may give (RFC 6749, section 5.2). Others are not quoted.
const REASONS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Requests tokens.
pub(in crate::upstream) struct TokenEndpoint {
    client: Client,
    url: Url,
    /// The headers of the request, with the client's secret if it is sent there.
    headers: HeaderMap,
    /// The encoded form, with the client's secret if it is sent there.
    form: SecretString,
    timeout: Duration,
    names: SettingNames,
}

impl TokenEndpoint {
    /// The token endpoint for an upstream or a forward, whose settings hold for it too.
    pub(in crate::upstream) fn new(
        names: &SettingNames,
        connections: ConnectionSettings<'_>,
        timeout: Duration,
        oauth2: &OAuth2,
    ) -> Result<Self, SetupError> {
        let url = oauth2.token_url.clone();
        let setting = ("auth.oauth2.token_url", &url);
        // Requests are so far apart that a pooled connection would usually have been closed.
        let client = client::build(names, connections, setting, |builder| {
            builder.pool_max_idle_per_host(0)
        })?;
        let mut form = String::new();
        append_pair(&mut form, "grant_type", "client_credentials");
        let optional = [("scope", &oauth2.scope), ("audience", &oauth2.audience)];
        for (name, value) in optional {
            if let Some(value) = value {
                append_pair(&mut form, name, value);
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let (id, secret) = (&oauth2.client_id, oauth2.client_secret.expose_secret());
        match oauth2.client_auth {
            ClientAuth::Body => {
                append_pair(&mut form, "client_id", id);
                append_pair(&mut form, "client_secret", secret);
            }
            // Section 2.3.1: both are encoded before they are joined by a colon.
            ClientAuth::Basic => headers.typed_insert(Authorization::basic(
                &form_encoded(id).to_string(),
                &form_encoded(secret).to_string(),
            )),
        }
        Ok(Self { client, url, headers, form: form.into(), timeout, names: names.clone() })
    }

    /// Requests a new token, once.
    pub(super) async fn fetch(&self) -> Result<Token, UpstreamError> {
        let requested_at = Instant::now();
        let result = time::timeout(self.timeout, self.request(requested_at)).await;
        let result = result.unwrap_or_else(|_| {
            let timeout = humantime::format_duration(self.timeout);
            Err(self.failure(&format!("no whole answer came within {timeout}")))
        });
        let upstream = self.names.to_string();
        match &result {
            Ok(_) => tracing::debug!(upstream, "access token fetched"),
            Err(error) => {
                let (detail, status) =
                    (error.detail.as_str(), error.status.map(|status| status.as_u16()));
                tracing::warn!(upstream, status, detail, "access token could not be fetched");
            }
        }
        result
    }

    async fn request(&self, requested_at: Instant) -> Result<Token, UpstreamError> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        let form = self.form.expose_secret().to_owned();
        let response = request.body(form).send().await.map_err(|error| {
            self.failure(&classify::transport(&error, "the token endpoint").detail)
        })?;
        let status = response.status();
        let wait = retry_after(status, response.headers());
        if status.is_redirection() {
            let detail = format!("it redirects, which is not followed ({})", status.as_u16());
            return Err(self.failure(&detail).with_status(status));
        }
        let body = self.read(response).await;
        if !status.is_success() {
            let detail = self.refusal(status, &body.unwrap_or_default());
            return Err(self.failure(&detail).with_status(status).with_retry_after(wait));
        }
        Token::parse(&body?, requested_at).map_err(|why| self.failure(why).with_status(status))
    }

    async fn read(&self, response: Response) -> Result<Bytes, UpstreamError> {
        let status = response.status();
        let limit =
            BodyLimit { left: MAX_ANSWER_BYTES, max_body: MAX_ANSWER_BYTES, names: &self.names };
        body::read(response, &limit).await.map_err(|error| match error.kind {
            Outcome::TooLarge => {
                self.failure("its answer is larger than 1 MiB").with_status(status)
            }
            Outcome::Decode => self.failure(&error.detail).with_status(status),
            _ => self.failure(&error.detail),
        })
    }

    /// What an answer with this status and body says.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let code = status.as_u16();
        if !status.is_client_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return format!("it answered {code}");
        }
        let given = serde_json::from_slice::<Refusal>(body).ok();
        let reason =
            REASONS.iter().find(|reason| given.as_ref().is_some_and(|g| g.error == **reason));
        let reason = reason.map_or(String::new(), |reason| format!(", {reason}"));
        format!("it refused the client ({code}{reason}); check {}", self.names.setting("auth"))
    }

    fn failure(&self, why: &str) -> UpstreamError {
        let host = self.url.host_str().unwrap_or_default();
        UpstreamError::new(Outcome::Auth, format!("no access token from {host}: {why}"))
    }
}

impl std::fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}
