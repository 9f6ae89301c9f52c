//! Access tokens by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4), shared by all
//! calls to an upstream or a forward's receiver.

mod endpoint;
mod token;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

pub(super) use self::endpoint::TokenEndpoint;
pub(crate) use self::token::Token;
use super::{UpstreamError, lock};

/// How long a token is used on after its renewal failed, before the next try.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

type Fetch = BoxFuture<'static, Result<Arc<Token>, UpstreamError>>;

/// Gets access tokens. One is fetched at a time, however many calls wait for it.
#[derive(Debug)]
pub(crate) struct TokenSource {
    endpoint: Arc<TokenEndpoint>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Arc<Token>>,
    /// When the token is renewed; it is valid for longer.
    renew_at: Option<Instant>,
    /// The fetch in progress. It is dropped when no call waits for it any more.
    fetch: Option<WeakShared<Fetch>>,
}

impl State {
    /// The token, unless it has expired.
    fn valid(&self) -> Option<Arc<Token>> {
        self.token.clone().filter(|token| Instant::now() < token.expires_at())
    }
}

impl TokenSource {
    pub(super) fn new(endpoint: TokenEndpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), state: Arc::default() }
    }

    /// A valid token: the present one, or a new one shortly before that expires.
    ///
    /// # Errors
    ///
    /// When none can be had. Nothing is retried here: the failure is that of the call, whose
    /// backoff and breaker spare the token endpoint, too.
    pub(crate) async fn token(&self) -> Result<Arc<Token>, UpstreamError> {
        let fetch = {
            let mut state = lock(&self.state);
            let is_due = state.renew_at.is_none_or(|renew_at| renew_at <= Instant::now());
            if !is_due && let Some(token) = state.valid() {
                return Ok(token);
            }
            match state.fetch.as_ref().and_then(WeakShared::upgrade) {
                Some(fetch) => fetch,
                None => {
                    let fetch = self.fetch();
                    state.fetch = fetch.downgrade();
                    fetch
                }
            }
        };
        fetch.await
    }

    fn fetch(&self) -> Shared<Fetch> {
        let (endpoint, state) = (Arc::clone(&self.endpoint), Arc::clone(&self.state));
        async move {
            let fetched = endpoint.fetch().await.map(Arc::new);
            let mut state = lock(&state);
            state.fetch = None;
            match fetched {
                Ok(token) => {
                    state.token = Some(Arc::clone(&token));
                    state.renew_at = Some(token.renew_at());
                    Ok(token)
                }
                Err(error) => match state.valid() {
                    Some(token) => {
                        state.renew_at = Some(Instant::now() + RENEWAL_RETRY);
                        Ok(token)
                    }
                    None => Err(error),
                },
            }
        }
        .boxed()
        .shared()
    }

    /// Drops a token that the upstream has refused, unless it is replaced already.
    pub(crate) fn invalidate(&self, refused: &Arc<Token>) {
        let mut state = lock(&self.state);
        if state.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            state.token = None;
        }
    }
}
