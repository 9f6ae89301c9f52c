//! Fetches and decodes the data of a source. Tests of the refresh replace this interface.

mod decoder;
mod files;
mod pages;
mod restore;
mod window;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use tokio::time::Instant;

use self::decoder::DecoderSettings;
use self::files::FileSource;
use self::pages::HttpSource;
use self::restore::Restorer;
pub use self::restore::StoredContent;
use super::Batch;
use crate::config::{Config, Origin};
use crate::files::FileStamp;
use crate::request::Request;
use crate::sources::{PerSource, SourceId, names, upstream_settings};
use crate::store::SourceReport;
use crate::upstream::{CallContext, UpstreamError, UpstreamMetrics, Upstreams};

/// Fetches the data of sources.
pub trait Fetcher: Send + Sync + 'static {
    /// Fetches and decodes the data of a source, retries included.
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>>;

    /// Until when the source may not be called, because its upstream asked for a wait; `None` if it
    /// may be called now.
    fn waits_until(&self, _: SourceId) -> Option<Instant> {
        None
    }

    /// Makes the last good data of a source from what a store has kept of it: the same that a
    /// fetch has decoded under the same definition. It takes as long as decoding an answer.
    ///
    /// # Errors
    ///
    /// When the data cannot be used; the text says why.
    fn restore(
        &self,
        source: SourceId,
        _content: &StoredContent,
        _report: &SourceReport,
    ) -> Result<FetchedBatch, String> {
        Err(format!("{source:?} cannot be restored by this fetcher"))
    }

    /// The most bytes that the records of a source may have together when they are restored.
    fn max_restored_bytes(&self, _: SourceId) -> u64 {
        u64::MAX
    }

    /// The refresh fetches from this fetcher from now on. Calls of the fetcher before that are not
    /// needed any more have been cancelled.
    fn activate(&self) {}
}

/// What is fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The source.
    pub source: SourceId,
    /// When the fetch begins.
    pub started: SystemTime,
    /// The data that the source has, with which a fetch may be cheaper.
    pub held: Option<HeldBatch>,
    /// The circumstances of its calls.
    pub context: CallContext,
}

/// The data of a source, with the memory of the fetch that brought it.
#[derive(Clone, Debug)]
pub struct HeldBatch {
    /// The decoded data.
    pub batch: Batch,
    /// The memory of its fetch.
    pub memory: Arc<FetchMemory>,
}

/// The fetched data of a source.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    /// The decoded data.
    pub batch: Batch,
    /// How many pages or files there were.
    pub pages: usize,
    /// How long the successful calls took.
    pub duration: Duration,
    /// What the next fetch may build upon.
    pub memory: Arc<FetchMemory>,
}

impl FetchedBatch {
    /// New data of one page, which the next fetch does not build upon.
    #[must_use]
    pub fn new(batch: Batch, duration: Duration) -> Self {
        Self { batch, pages: 1, duration, memory: Arc::default() }
    }
}

/// What a fetch keeps for the next one; replaced only by a successful fetch.
#[derive(Debug, Default)]
pub struct FetchMemory {
    /// The request for a list of one page, and the validator of its answer.
    validator: Option<Validator>,
    /// Of an incremental source: the `{now}` of this fetch.
    now: Option<Timestamp>,
    /// Of an incremental source: the `{now}` of the last fetch that asked for the whole window.
    full_at: Option<Timestamp>,
    /// The files that were read.
    files: Vec<FileStamp>,
}

/// A request, and a conditional header that asks whether its answer has changed since.
#[derive(Debug)]
struct Validator {
    request: Request,
    header: HeaderName,
    value: HeaderValue,
}

/// Fetches from upstreams and files, and decodes on threads for CPU-bound work.
pub struct SourceFetcher {
    upstreams: Arc<Upstreams>,
    sources: PerSource<Kind>,
    restorers: PerSource<Restorer>,
    metrics: UpstreamMetrics,
}

#[derive(Clone)]
enum Kind {
    Http(Arc<HttpSource>),
    Files(Arc<FileSource>),
}

impl SourceFetcher {
    /// Fetches from `upstreams`, which must be built from the same configuration, and from files.
    /// `keeps_ids` says whether the ids of all records are kept, as the store needs them.
    #[must_use]
    pub fn new(
        upstreams: Arc<Upstreams>,
        config: &Config,
        metrics: &UpstreamMetrics,
        keeps_ids: bool,
    ) -> Self {
        let tables = config
            .identities
            .iter()
            .map(|table| (&table.origin, None, DecoderSettings::table(table)));
        let incidents = config.sources.iter().map(|source| {
            let decoder = DecoderSettings::incidents(source, keeps_ids);
            (&source.origin, source.incremental, decoder)
        });
        let names = names(config);
        let sources = PerSource::new(tables, incidents);
        let restorers = sources.map(|_, (origin, _, decoder)| {
            let max_body = match origin {
                Origin::Http(http) => upstream_settings(config, &http.upstream).max_body,
                Origin::File(_) => config.upstream.max_body,
            };
            Restorer::new(decoder.clone(), origin, max_body)
        });
        let sources = sources.map(|id, (origin, incremental, decoder)| match origin {
            Origin::Http(http) => Kind::Http(Arc::new(HttpSource::new(
                id,
                http,
                *incremental,
                decoder.clone(),
                upstreams.base_url(id).clone(),
                upstream_settings(config, &http.upstream).max_body,
            ))),
            Origin::File(pattern) => Kind::Files(Arc::new(FileSource {
                pattern: pattern.clone(),
                decoder: decoder.clone(),
                max_body: config.upstream.max_body,
                metrics: metrics.file_source(&names[id]),
            })),
        });
        Self { upstreams, sources, restorers, metrics: metrics.clone() }
    }
}

impl Fetcher for SourceFetcher {
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let Fetch { source, started, held, context } = fetch;
        match self.sources[source].clone() {
            Kind::Http(http) => {
                let upstreams = Arc::clone(&self.upstreams);
                async move { http.fetch(&upstreams, started, held, context).await }.boxed()
            }
            Kind::Files(files) => files.fetch(held).boxed(),
        }
    }

    fn waits_until(&self, source: SourceId) -> Option<Instant> {
        self.upstreams.waits_until(source)
    }

    fn restore(
        &self,
        source: SourceId,
        content: &StoredContent,
        report: &SourceReport,
    ) -> Result<FetchedBatch, String> {
        self.restorers[source].restore(content, report)
    }

    fn max_restored_bytes(&self, source: SourceId) -> u64 {
        self.restorers[source].max_bytes()
    }

    fn activate(&self) {
        self.upstreams.activate(&self.metrics);
        for source in &self.sources {
            if let Kind::Files(files) = source {
                files.metrics.activate();
            }
        }
    }
}

#[cfg(test)]
mod tests;
