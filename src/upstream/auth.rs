//! Adds the credentials of an upstream or a forward to requests.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use headers::{Authorization, HeaderMapExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret as _;
use tower::{Service, ServiceExt as _};

use super::UpstreamError;
use super::call::{self, Attempt, RecordedAnswer};
use super::client::{ConnectionSettings, SetupError};
use super::metrics::SourceMetrics;
use super::oauth2::{TokenEndpoint, TokenSource};
use super::setting_names::SettingNames;
use crate::config::{self, Auth};
use crate::outcome::Outcome;

/// The credentials of one upstream or forward. Clones share them.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// The same header fields for each request, marked as sensitive.
    Headers(Arc<HeaderMap>),
    /// Access tokens, which are renewed.
    Tokens(Arc<TokenSource>),
}

impl Credentials {
    /// No credentials.
    pub(crate) fn none() -> Self {
        Self::Headers(Arc::default())
    }

    pub(super) fn new(
        names: &SettingNames,
        settings: &config::Upstream,
    ) -> Result<Self, SetupError> {
        if let Some(auth) = &settings.auth {
            return Self::of_auth(names, auth, settings.into(), settings.timeout);
        }
        let mut headers = HeaderMap::new();
        if let Some(username) = &settings.username {
            let password = settings.password.as_ref();
            let password = password.map_or("", |password| password.expose_secret());
            // This marks the value as sensitive, too.
            headers.typed_insert(Authorization::basic(username, password));
        }
        Ok(Self::Headers(Arc::new(headers)))
    }

    /// The credentials that `auth` describes. The connections to a token endpoint have these
    /// settings, and requests to it this deadline.
    pub(crate) fn of_auth(
        names: &SettingNames,
        auth: &Auth,
        connections: ConnectionSettings<'_>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &str| {
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| SetupError::Credentials { setting: names.setting("auth") })?;
            // `Debug` does not show it, and HTTP/2 does not index it.
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        match auth {
            Auth::None => {}
            Auth::OAuth2(oauth2) => {
                let endpoint = TokenEndpoint::new(names, connections, timeout, oauth2)?;
                return Ok(Self::Tokens(Arc::new(TokenSource::new(endpoint))));
            }
            Auth::Basic { username, password } => {
                headers.typed_insert(Authorization::basic(username, password.expose_secret()));
            }
            Auth::Bearer { token } => {
                add(header::AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))?;
            }
            Auth::Headers(fields) => {
                for field in fields {
                    add(field.name.clone(), field.value.expose_secret())?;
                }
            }
        }
        Ok(Self::Headers(Arc::new(headers)))
    }
}

/// Adds the credentials to each call.
#[derive(Clone, Debug)]
pub(super) struct AuthService<S> {
    pub(super) inner: S,
    pub(super) credentials: Credentials,
    pub(super) metrics: SourceMetrics,
}

/// Makes a call with an access token. If the upstream refuses it, the call is made once more with a
/// new one: a token may be revoked before it expires.
async fn with_token<S>(
    inner: S,
    tokens: &TokenSource,
    metrics: &SourceMetrics,
    mut attempt: Attempt,
) -> call::Result
where
    S: Service<Attempt, Response = RecordedAnswer, Error = UpstreamError> + Clone,
{
    let no_token = |_: &UpstreamError| metrics.record_not_made(Outcome::Auth);
    let token = tokens.token().await.inspect_err(no_token)?;
    attempt.context.observer.authorized(token.secret());
    attempt.credentials = Arc::new(token.headers());
    let result = inner.clone().oneshot(attempt.clone()).await;
    let is_refused = |error: &UpstreamError| error.status == Some(StatusCode::UNAUTHORIZED);
    if !result.as_ref().is_err_and(is_refused) {
        return result;
    }
    tokens.invalidate(&token);
    let token = tokens.token().await.inspect_err(no_token)?;
    attempt.context.observer.authorized(token.secret());
    attempt.credentials = Arc::new(token.headers());
    inner.oneshot(attempt).await
}

impl<S> Service<Attempt> for AuthService<S>
where
    S: Service<Attempt, Response = RecordedAnswer, Error = UpstreamError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = RecordedAnswer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, call::Result>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let Self { inner, credentials, metrics } = self.clone();
        Box::pin(async move {
            match credentials {
                Credentials::Headers(headers) => {
                    attempt.credentials = headers;
                    inner.oneshot(attempt).await
                }
                Credentials::Tokens(tokens) => with_token(inner, &tokens, &metrics, attempt).await,
            }
        })
    }
}
