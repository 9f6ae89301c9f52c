//! Sends requests over reqwest, and reads their answers.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Client, Response, Url};
use tokio::time::Instant;
use tower::Service;

use super::body::{self, BodyLimit};
use super::call::Attempt;
use super::client::{self, SetupError};
use super::observer::MAX_REFUSAL_BYTES;
use super::rate::RateLimiter;
use super::resend::{AnsweredConnections, MAX_RESENDS, MAX_SHARED_RESENDS, Resend};
use super::setting_names::SettingNames;
use super::{Answer, UpstreamError, classify};
use crate::config::{self, Auth};
use crate::outcome::Outcome;
use crate::trace_context::TRACEPARENT;

const DIRECT: &str = "the upstream";
const THROUGH_PROXY: &str = "the upstream through its proxy";

/// Makes one attempt of a call: HTTP, or a simulated upstream.
pub trait Transport:
    Service<Attempt, Response = Answer, Error = UpstreamError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Transport for T where
    T: Service<Attempt, Response = Answer, Error = UpstreamError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Makes the calls of one upstream over pooled connections. Clones share them.
#[derive(Clone)]
pub(super) struct HttpTransport {
    pooled: Client,
    /// Opens a new connection for each request.
    unpooled: Client,
    answered_connections: Arc<AnsweredConnections>,
    base: Url,
    /// Who answers, in messages.
    peer: &'static str,
    max_body: u64,
    names: SettingNames,
    rate: Option<Arc<RateLimiter>>,
}

impl HttpTransport {
    pub(super) fn new(
        names: &SettingNames,
        settings: &config::Upstream,
        rate: Option<Arc<RateLimiter>>,
    ) -> Result<Self, SetupError> {
        let base = &settings.base_url;
        let auth = settings.auth.as_ref();
        let has_credentials =
            auth.map_or(settings.username.is_some(), |auth| !matches!(auth, Auth::None));
        let (connections, url) = (settings.into(), ("base_url", base));
        client::warn_of_unencrypted_credentials(names, url, auth, has_credentials);
        Ok(Self {
            pooled: client::build(names, connections, url, |builder| builder)?,
            unpooled: client::build(names, connections, url, |builder| {
                builder.pool_max_idle_per_host(0)
            })?,
            answered_connections: Arc::default(),
            base: base.clone(),
            peer: if settings.proxy.is_some() { THROUGH_PROXY } else { DIRECT },
            max_body: settings.max_body,
            names: names.clone(),
            rate,
        })
    }

    /// Waits for the turn of a request that follows the first one of an attempt, which
    /// `admission` has admitted.
    async fn wait_for_turn(&self, attempt: &Attempt) {
        if let Some(rate) = &self.rate {
            let started = Instant::now();
            rate.take_next().await;
            attempt.deadline.put_off(started.elapsed());
        }
    }

    /// Sends a request and waits for the head of the answer. Sends the request again if the
    /// upstream did not process it. That is safe also for POST, since sources are only read.
    async fn send(
        &self,
        attempt: &Attempt,
        url: &Url,
        headers: &HeaderMap,
    ) -> reqwest::Result<Response> {
        let (mut resends, mut client) = (0, &self.pooled);
        loop {
            let mut request = client
                .request(attempt.request.method.clone(), url.clone())
                .headers(headers.clone());
            if let Some(body) = &attempt.request.body {
                request = request.body(body.clone());
            }
            let error = match request.send().await {
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
            self.wait_for_turn(attempt).await;
        }
    }

    /// Sends a request and follows the redirects of its answer. Credentials must not be sent to any
    /// other origin than the base URL's.
    async fn send_and_follow(
        &self,
        attempt: &Attempt,
        headers: &HeaderMap,
    ) -> Result<Response, UpstreamError> {
        let mut url = attempt.request.url.clone();
        let mut redirects = 0;
        loop {
            let response = self
                .send(attempt, &url, headers)
                .await
                .map_err(|error| classify::transport(&error, self.peer))?;
            match redirect_target(&response) {
                Some(target)
                    if target.origin() == self.base.origin()
                        && attempt.request.method == Method::GET
                        && redirects < classify::MAX_REDIRECTS =>
                {
                    url = target;
                }
                _ => return Ok(response),
            }
            redirects += 1;
            self.wait_for_turn(attempt).await;
        }
    }

    /// Shows the body of an answer with a bad status to the observer, if there is one.
    async fn show_refusal(&self, attempt: &Attempt, response: Response) {
        let observer = &attempt.context.observer;
        if observer.is_set() {
            let limit =
                BodyLimit { left: MAX_REFUSAL_BYTES, max_body: self.max_body, names: &self.names };
            observer.refused(&body::read(response, &limit).await.unwrap_or_default());
        }
    }

    async fn answer(&self, attempt: &Attempt) -> Result<Answer, UpstreamError> {
        let request = &attempt.request;
        if request.url.origin() != self.base.origin() {
            let detail = format!(
                "the next page is not at the scheme, host and port of {}; it was not asked for",
                self.names.setting("base_url")
            );
            return Err(UpstreamError::new(Outcome::Pages, detail));
        }
        let mut headers = request.headers.clone();
        headers.extend(HeaderMap::clone(&attempt.credentials));
        if let Some(trace) = attempt.context.trace {
            headers.insert(TRACEPARENT, trace.traceparent(attempt.span_id));
        }
        let response = self.send_and_follow(attempt, &headers).await?;
        let is_conditional = request.headers.contains_key(header::IF_NONE_MATCH)
            || request.headers.contains_key(header::IF_MODIFIED_SINCE);
        let status = response.status();
        let (url, kept) = (response.url().clone(), Answer::kept_headers(response.headers()));
        let body = match status {
            StatusCode::OK => self.body(attempt, response).await?,
            // A 304 has no body; its header fields may describe the one that has not changed.
            StatusCode::NOT_MODIFIED if is_conditional => Bytes::new(),
            _ => {
                let (method, base) = (&request.method, &self.base);
                let error = classify::bad_status(&response, method, base, &self.names);
                self.show_refusal(attempt, response).await;
                return Err(error);
            }
        };
        Ok(Answer { status, url, headers: kept, body })
    }

    async fn body(&self, attempt: &Attempt, response: Response) -> Result<Bytes, UpstreamError> {
        let status = response.status();
        let limit = BodyLimit {
            left: attempt.context.max_body,
            max_body: self.max_body,
            names: &self.names,
        };
        body::read(response, &limit).await.map_err(|error| error.with_status(status))
    }
}

/// Where a redirect leads; `None` if the answer is none, or names no address.
fn redirect_target(response: &Response) -> Option<Url> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if is_redirect { classify::location(response) } else { None }
}

impl fmt::Debug for HttpTransport {
    /// Omits the clients, which may show a proxy's credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Service<Attempt> for HttpTransport {
    type Response = Answer;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Answer, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move { transport.answer(&attempt).await })
    }
}
