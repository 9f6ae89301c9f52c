//! Sends batches to the receiver of a forward, and reads its answers.

mod bulk;
mod excerpt;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url};
use tokio::time::{Instant, timeout_at};

pub use self::bulk::bulk_items;
use self::excerpt::excerpt;
use crate::config::{Auth, Forward, ForwardFormat, Secret};
use crate::outcome::Outcome;
use crate::store::StableId;
use crate::upstream::{
    self, BodyEnd, ConnectionSettings, Credentials, Mask, SettingNames, SetupError, UpstreamError,
    read_begin, retry_after_any, transport_failure,
};

/// How much of an answer is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How much more is read for each record where the answer has an item for each.
const MAX_ITEM_BYTES: usize = 8 << 10;

/// How often more of such an answer is read than was sent: the error of an item may quote a value
/// of its record more than once, and escaped.
const MAX_QUOTES: usize = 4;

/// How long is waited for the body of an answer whose status says all, so that the connection can
/// be used again.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// How long a connection is kept without a request. Servers usually keep it for longer, so it
/// rarely ends just when a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Sends the batches of one forward over pooled connections.
pub struct Receiver {
    client: Client,
    url: Url,
    credentials: Credentials,
    auth: Option<Auth>,
    timeout: Duration,
    /// Whether an answer has an item for each record.
    has_items: bool,
    /// Who answers, in messages.
    peer: &'static str,
    names: SettingNames,
}

/// What came of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The receiver has taken the batch, or has answered for each of its records.
    Done(Accepted),
    /// The receiver refuses the batch because of what is in it: 400, 413 or 422.
    Blamed {
        /// The status.
        status: u16,
        /// The begin of the answer, at most 200 bytes of printable text.
        answer: String,
    },
    /// The request has failed, and is to be made again.
    Failed {
        /// What happened and, if there is one, the remedy; for the operator.
        detail: String,
        /// How long the receiver asks to wait; at most an hour.
        retry_after: Option<Duration>,
        /// Whether a connection was made, but no whole answer could be read, as when the batch is
        /// too much for the receiver.
        is_unanswered: bool,
    },
}

/// What a receiver has taken of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// All of it.
    All,
    /// What the items say, one for each record, in their order (`elasticsearch`).
    Items(Vec<ItemStatus>),
}

/// What a receiver says of one record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ItemStatus {
    /// The HTTP status of its own: 2xx and 409 (it is there already) are done, 429 and 5xx are to
    /// be sent again, and the record is refused with another 4xx. There are no others.
    pub status: u16,
    /// What is wrong, at most 200 bytes of printable text; empty if nothing is.
    pub error: String,
}

/// The head of an answer, and when its body must have come.
struct Answer {
    response: Response,
    deadline: Instant,
    /// The access token of the request, which the answer may repeat.
    token: Option<Secret>,
}

impl Receiver {
    /// The receiver of a forward. Warns if credentials cross a network unencrypted.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, for example because there are no CA certificates, or when no
    /// header can have the credentials.
    pub fn new(forward: &Forward) -> Result<Self, SetupError> {
        let names = SettingNames::of_forward(&forward.name);
        let (auth, url) = (forward.auth.as_ref(), ("url", &forward.url));
        let has_credentials = auth.is_some_and(|auth| !matches!(auth, Auth::None));
        upstream::warn_of_unencrypted_credentials(&names, url, auth, has_credentials);
        let connections = ConnectionSettings {
            ca: forward.ca.as_ref(),
            client_certificate: forward.client_certificate.as_ref(),
            proxy: forward.proxy.as_ref(),
            connect_timeout: forward.timeout,
        };
        let client = upstream::build(&names, connections, url, |builder| {
            builder.pool_idle_timeout(IDLE_TIMEOUT)
        })?;
        let credentials = match auth {
            None => Credentials::none(),
            Some(auth) => Credentials::of_auth(&names, auth, connections, forward.timeout)?,
        };
        Ok(Self {
            client,
            url: forward.url.clone(),
            credentials,
            auth: forward.auth.clone(),
            timeout: forward.timeout,
            has_items: forward.format == ForwardFormat::Elasticsearch,
            peer: if forward.proxy.is_some() {
                "the receiver through its proxy"
            } else {
                "the receiver"
            },
            names,
        })
    }

    /// Sends a body with the records of these ids, once; or twice if the first access token is
    /// refused, which may have been revoked. A future that is dropped gives up the request.
    pub async fn send(&self, content_type: HeaderValue, body: Bytes, ids: &[StableId]) -> Reply {
        let sent_bytes = body.len();
        match self.answer(&content_type, body).await {
            Ok(answer) => self.reply(answer, ids, sent_bytes).await,
            Err(error) => failed(error),
        }
    }

    async fn answer(
        &self,
        content_type: &HeaderValue,
        body: Bytes,
    ) -> Result<Answer, UpstreamError> {
        let tokens = match &self.credentials {
            Credentials::Headers(headers) => return self.post(headers, content_type, body).await,
            Credentials::Tokens(tokens) => tokens,
        };
        let mut token = tokens.token().await?;
        let mut answer = self.post(&token.headers(), content_type, body.clone()).await?;
        if answer.response.status() == StatusCode::UNAUTHORIZED {
            tokens.invalidate(&token);
            token = tokens.token().await?;
            answer = self.post(&token.headers(), content_type, body).await?;
        }
        Ok(Answer { token: Some(token.secret().into()), ..answer })
    }

    /// Makes one request, and waits for the head of its answer.
    async fn post(
        &self,
        credentials: &HeaderMap,
        content_type: &HeaderValue,
        body: Bytes,
    ) -> Result<Answer, UpstreamError> {
        let deadline = Instant::now() + self.timeout;
        let request = self.client.post(self.url.clone()).headers(credentials.clone());
        let request = request.header(header::CONTENT_TYPE, content_type).body(body);
        match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => Ok(Answer { response, deadline, token: None }),
            Ok(Err(error)) => Err(transport_failure(&error, self.peer)),
            Err(_) => Err(self.too_late()),
        }
    }

    async fn reply(&self, answer: Answer, ids: &[StableId], sent_bytes: usize) -> Reply {
        let status = answer.response.status();
        match status {
            _ if status.is_success() && self.has_items => self.items(answer, ids, sent_bytes).await,
            _ if status.is_success() => {
                let deadline = answer.deadline.min(Instant::now() + BODY_WAIT);
                // Whatever it is: the receiver has taken the batch.
                let mut ignored = Vec::new();
                let body = read_begin(answer.response, MAX_ANSWER_BYTES, &mut ignored);
                let _ = timeout_at(deadline, body).await;
                Reply::Done(Accepted::All)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                let mask = self.mask(answer.token.as_ref());
                let mut begin = Vec::new();
                let body = read_begin(answer.response, MAX_ANSWER_BYTES, &mut begin);
                // What has come by then is shown.
                let _ = timeout_at(answer.deadline, body).await;
                Reply::Blamed { status: status.as_u16(), answer: excerpt(&begin, &mask) }
            }
            _ => Reply::Failed {
                detail: self.failure(status),
                retry_after: retry_after_any(status, answer.response.headers()),
                is_unanswered: false,
            },
        }
    }

    /// Reads what an answer says of each record.
    async fn items(&self, answer: Answer, ids: &[StableId], sent_bytes: usize) -> Reply {
        let max_bytes = max_answer_bytes(ids.len(), sent_bytes);
        let mask = self.mask(answer.token.as_ref());
        let mut body = Vec::new();
        let read = read_begin(answer.response, max_bytes, &mut body);
        let detail = match timeout_at(answer.deadline, read).await {
            Ok(Ok(BodyEnd::Whole)) => match bulk::masked_items(&body, ids, &mask) {
                Ok(items) => return Reply::Done(Accepted::Items(items)),
                Err(why) => {
                    let setting = self.names.setting("url");
                    format!(
                        "the answer is not that of Elasticsearch's bulk API: {why}; check {setting}"
                    )
                }
            },
            // Fewer records may have a smaller answer.
            Ok(Ok(BodyEnd::Limit)) => {
                let records = ids.len();
                let detail =
                    format!("the answer is larger than {max_bytes} bytes for {records} records");
                return Reply::Failed { detail, retry_after: None, is_unanswered: true };
            }
            Ok(Err(error)) => return failed(error),
            Err(_) => return failed(self.too_late()),
        };
        Reply::Failed { detail, retry_after: None, is_unanswered: false }
    }

    /// What a status means that neither accepts nor blames the batch.
    fn failure(&self, status: StatusCode) -> String {
        let code = status.as_u16();
        match status {
            _ if status.is_redirection() => format!(
                "the receiver redirects ({code}), which is not followed; check {}",
                self.names.setting("url")
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!(
                "the receiver refused the credentials ({code}); check {}",
                self.names.setting("auth")
            ),
            StatusCode::NOT_FOUND => format!(
                "the receiver knows no such path (404); check {}",
                self.names.setting("url")
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                "the receiver asks for fewer requests (429)".to_owned()
            }
            _ if status.is_server_error() => format!("the receiver failed ({code})"),
            _ => format!("the receiver answered {code}"),
        }
    }

    fn too_late(&self) -> UpstreamError {
        let timeout = humantime::format_duration(self.timeout);
        let detail = format!("no whole answer came within {timeout}");
        UpstreamError::new(Outcome::Timeout, detail)
    }

    /// Masks what an answer may repeat of the request's credentials; some receivers take them in
    /// the URL's query.
    fn mask(&self, token: Option<&Secret>) -> Mask {
        let mask = Mask::of_auth(self.auth.as_ref(), token.map_or(&[], std::slice::from_ref));
        mask.and_query(&self.url)
    }
}

/// How much is read of an answer with an item for each record.
fn max_answer_bytes(records: usize, sent_bytes: usize) -> usize {
    let items = records.saturating_mul(MAX_ITEM_BYTES);
    MAX_ANSWER_BYTES.saturating_add(items).saturating_add(sent_bytes.saturating_mul(MAX_QUOTES))
}

/// A request without an answer that can be read.
fn failed(error: UpstreamError) -> Reply {
    let is_unanswered = matches!(error.kind, Outcome::Timeout | Outcome::Body);
    Reply::Failed { detail: error.detail, retry_after: error.retry_after, is_unanswered }
}

impl fmt::Debug for Receiver {
    /// Omits the client, which may show a proxy's credentials, and the URL's query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}
