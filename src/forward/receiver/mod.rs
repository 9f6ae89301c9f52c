//! Sends batches to the receiver of a forward, and reads its answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Url};

use crate::config::Forward;
use crate::upstream::{
    BuildError, ConnectionSettings, SetupError, build_client, transport_failure,
};

/// Sends the batches of one forward over pooled connections.
pub struct Receiver {
    client: Client,
    url: Url,
    timeout: Duration,
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
    /// be sent again, and the record is refused with anything else.
    pub status: u16,
    /// What is wrong, at most 200 bytes of printable text; empty if nothing is.
    pub error: String,
}

impl Receiver {
    /// The receiver of a forward.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, for example because there are no CA certificates, or when no
    /// header can have the credentials.
    pub fn new(forward: &Forward) -> Result<Self, SetupError> {
        let connections = ConnectionSettings {
            ca: forward.ca.as_ref(),
            client_certificate: forward.client_certificate.as_ref(),
            proxy: forward.proxy.as_ref(),
            connect_timeout: forward.timeout,
        };
        let section = format!("forward.{}", forward.name);
        let client = build_client(connections, &forward.url, |builder| builder);
        let client = client.map_err(|error| match error {
            BuildError::NoTrustRoots => SetupError::NoTrustRoots { setting: section + ".url" },
            BuildError::Other(why) => SetupError::Client { setting: section, why },
        })?;
        Ok(Self { client, url: forward.url.clone(), timeout: forward.timeout })
    }

    /// Sends a body with so many records, once. A future that is dropped gives up the request.
    pub async fn send(&self, content_type: HeaderValue, body: Bytes, _records: usize) -> Reply {
        let request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, content_type);
        let response = match request.timeout(self.timeout).body(body).send().await {
            Ok(response) => response,
            Err(error) => {
                let detail = transport_failure(&error, "the receiver").detail;
                return Reply::Failed { detail, retry_after: None };
            }
        };
        match response.status() {
            status if status.is_success() => Reply::Done(Accepted::All),
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY) => {
                Reply::Blamed { status: status.as_u16(), answer: String::new() }
            }
            status => Reply::Failed {
                detail: format!("the receiver answered {}", status.as_u16()),
                retry_after: None,
            },
        }
    }
}

impl std::fmt::Debug for Receiver {
    /// Omits the client, which may show a proxy's credentials, and the URL's query.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}
