//! Adds an upstream's credentials to requests.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use headers::{Authorization, HeaderMapExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::ExposeSecret as _;
use tower::{Service, ServiceExt as _};

use super::UpstreamError;
use super::call::{self, Attempt, RecordedAnswer};
use super::client::SetupError;
use super::setting_names::SettingNames;
use crate::config::{self, Auth};

/// The credentials of one upstream. Clones share them.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    /// The same header fields for each request, marked as sensitive.
    Headers(Arc<HeaderMap>),
}

impl Credentials {
    /// No credentials.
    pub(super) fn none() -> Self {
        Self::Headers(Arc::default())
    }

    pub(super) fn new(
        names: &SettingNames,
        settings: &config::Upstream,
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
        match &settings.auth {
            None => {
                if let Some(username) = &settings.username {
                    let password = settings.password.as_ref();
                    let password = password.map_or("", |password| password.expose_secret());
                    // This marks the value as sensitive, too.
                    headers.typed_insert(Authorization::basic(username, password));
                }
            }
            Some(Auth::None | Auth::OAuth2(_)) => {}
            Some(Auth::Basic { username, password }) => {
                headers.typed_insert(Authorization::basic(username, password.expose_secret()));
            }
            Some(Auth::Bearer { token }) => {
                add(header::AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))?;
            }
            Some(Auth::Headers(fields)) => {
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
        let Self { inner, credentials, .. } = self.clone();
        Box::pin(async move {
            match credentials {
                Credentials::Headers(headers) => {
                    attempt.credentials = headers;
                    inner.oneshot(attempt).await
                }
            }
        })
    }
}
