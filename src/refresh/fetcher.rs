//! Fetches and decodes the data of a source. Tests of the refresh replace this interface.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Batch;
use crate::background::spawn_cpu_bound;
use crate::config::{self, Config, Origin};
use crate::decode::{Incidents, SourceFields};
use crate::identity::IdentityTable;
use crate::outcome::Outcome;
use crate::request::{Request, RequestTimes};
use crate::sources::{PerSource, SourceId};
use crate::upstream::{CallContext, UpstreamError, Upstreams};

/// Fetches the data of sources.
pub trait Fetcher: Send + Sync + 'static {
    /// Fetches and decodes the data of a source, retries included.
    fn fetch(
        &self,
        source: SourceId,
        context: CallContext,
    ) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>>;
}

/// The fetched data of a source.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    /// The decoded data.
    pub batch: Batch,
    /// How long the successful call took.
    pub duration: Duration,
}

/// Fetches from upstreams, and decodes bodies on threads for CPU-bound work.
pub struct UpstreamFetcher {
    upstreams: Arc<Upstreams>,
    requests: PerSource<Option<Request>>,
    /// The identity fields of each incident source; `None` for the identity table.
    fields: PerSource<Option<Arc<SourceFields>>>,
}

impl UpstreamFetcher {
    /// Fetches from `upstreams`, which must be built from the same configuration.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>, config: &Config) -> Self {
        let fields =
            |source: &config::Source| Some(Arc::new(SourceFields::new(&source.identity_fields())));
        let now = jiff::Timestamp::now();
        let times = RequestTimes { now, since: now };
        let tables = config.identities.iter().map(|table| &table.origin);
        let origins = PerSource::new(tables, config.sources.iter().map(|source| &source.origin));
        let requests = origins.map(|source, origin| match origin {
            Origin::Http(http) => http.request.render(upstreams.base_url(source), &times).ok(),
            Origin::File(_) => None,
        });
        let fields = PerSource::new(
            config.identities.iter().map(|_| None),
            config.sources.iter().map(fields),
        );
        Self { upstreams, requests, fields }
    }
}

impl Fetcher for UpstreamFetcher {
    fn fetch(
        &self,
        source: SourceId,
        context: CallContext,
    ) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let upstreams = Arc::clone(&self.upstreams);
        let request = self.requests[source].clone().expect("the source is fetched over HTTP");
        let fields = self.fields[source].clone();
        async move {
            let answer = upstreams.fetch(source, request, context).await?;
            let (body, duration) = (answer.body().clone(), answer.duration());
            let decode = move || match fields {
                None => IdentityTable::decode(body)
                    .map(|identities| Batch::Identities(Arc::new(identities))),
                Some(fields) => Incidents::decode(body, &fields)
                    .map(|incidents| Batch::Incidents(Arc::new(incidents))),
            };
            match spawn_cpu_bound(decode).await {
                Ok(Ok(batch)) => {
                    drop(answer.accept());
                    Ok(FetchedBatch { batch, duration })
                }
                Ok(Err(error)) => {
                    let detail = format!("the body is not what this source should send: {error}");
                    Err(answer.reject(UpstreamError::new(Outcome::Decode, detail)))
                }
                Err(_) => {
                    let detail = "decoding the body failed; this is a fault of the gateway";
                    Err(answer.reject(UpstreamError::new(Outcome::Decode, detail)))
                }
            }
        }
        .boxed()
    }
}
