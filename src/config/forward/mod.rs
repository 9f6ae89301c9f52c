//! Forwards: receivers to which new records are sent.

mod print;
mod read;
mod secrets;
mod tags;

use std::time::Duration;

pub(super) use print::show;
#[cfg(test)]
pub(super) use read::KEYS;
pub(super) use read::{check_types, read};

use super::{Auth, ClientCertificate, PemFile, Rate};
use crate::mapping::Priority;

/// A receiver of records, and which records it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Its name, to which its position in the store belongs; written like a source's, and unique.
    pub name: String,
    /// Where batches are sent by POST.
    pub url: reqwest::Url,
    /// How requests are authenticated.
    pub auth: Option<Auth>,
    /// Certificates that are trusted beside the system's.
    pub ca: Option<PemFile>,
    /// The certificate and the key that this client presents.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy, `http` or `https`; never taken from the environment.
    pub proxy: Option<reqwest::Url>,
    /// How batches are written.
    pub format: ForwardFormat,
    /// Which records are sent.
    pub select: Selection,
    /// Names and values that each record is sent with, in the configured order. Names are a
    /// lower-case letter, then lower-case letters, digits and `_`.
    pub tags: Vec<(String, String)>,
    /// How records are grouped to requests.
    pub batch: Batch,
    /// The most requests in a time, evenly spaced.
    pub rate: Option<Rate>,
    /// The deadline of one request: connecting, sending and the whole answer.
    pub timeout: Duration,
    /// Where it begins as long as it has no position.
    pub from: ForwardFrom,
}

/// How batches are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForwardFormat {
    /// A row of the history a line.
    Ndjson,
    /// `CloudEvents` 1.0 in the JSON batch format.
    CloudEvents,
    /// Events of Splunk's HTTP Event Collector.
    SplunkHec,
    /// Elasticsearch's bulk API.
    Elasticsearch,
    /// Prometheus Alertmanager's API v2.
    Alertmanager {
        /// How long an alert is active after it was sent.
        active_for: Duration,
    },
}

/// Which records are sent. A condition that is `None` holds for all; no condition holds for a
/// record that lacks the member.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// The priorities.
    pub priorities: Option<Vec<Priority>>,
    /// The names of sources.
    pub types: Option<Vec<String>>,
    /// Whether records are sent that have no employee.
    pub unattributed: bool,
}

impl Forward {
    /// `timeout` where it is not set.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

    /// A receiver at this address, with the defaults of everything else.
    #[must_use]
    pub fn new(name: &str, url: reqwest::Url, format: ForwardFormat) -> Self {
        Self {
            name: name.to_owned(),
            url,
            auth: None,
            ca: None,
            client_certificate: None,
            proxy: None,
            format,
            select: Selection::default(),
            tags: Vec::new(),
            batch: Batch::default(),
            rate: None,
            timeout: Self::DEFAULT_TIMEOUT,
            from: ForwardFrom::default(),
        }
    }
}

impl ForwardFormat {
    /// `active_for` where it is not set.
    pub const DEFAULT_ACTIVE_FOR: Duration = Duration::from_hours(1);

    /// Every format, with the defaults of what belongs to it.
    pub(super) const ALL: [Self; 5] = [
        Self::Ndjson,
        Self::CloudEvents,
        Self::SplunkHec,
        Self::Elasticsearch,
        Self::Alertmanager { active_for: Self::DEFAULT_ACTIVE_FOR },
    ];

    /// Its name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::CloudEvents => "cloudevents",
            Self::SplunkHec => "splunk_hec",
            Self::Elasticsearch => "elasticsearch",
            Self::Alertmanager { .. } => "alertmanager",
        }
    }
}

/// How records are grouped to requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The most records of a request.
    pub max_records: usize,
    /// The most bytes of a request's body; a larger record goes alone.
    pub max_bytes: usize,
    /// How long a record waits for others.
    pub max_wait: Duration,
}

/// Where a forward begins as long as it has no position.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardFrom {
    /// Behind all records that the store has, and behind the first refresh of each source that is
    /// stored.
    #[default]
    Now,
    /// With the oldest record.
    Beginning,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_records: 500, max_bytes: 1 << 20, max_wait: Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests;
