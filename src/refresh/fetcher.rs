//! Fetches and decodes the data of a source. Tests of the refresh replace this interface.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Batch;
use crate::background::spawn_cpu_bound;
use crate::config;
use crate::decode::{Incidents, SourceFields};
use crate::identity::IdentityTable;
use crate::sources::{PerSource, SourceId};
use crate::upstream::{CallContext, Upstream, UpstreamError};

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

/// Fetches from the upstream, and decodes bodies on threads for CPU-bound work.
pub struct UpstreamFetcher {
    upstream: Arc<Upstream>,
    /// The identity fields of each incident source; `None` for the identity table.
    fields: PerSource<Option<Arc<SourceFields>>>,
}

impl UpstreamFetcher {
    /// Fetches from `upstream`, which must be built from the endpoints of the same configuration.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, sources: &[config::Source]) -> Self {
        let fields =
            |source: &config::Source| Some(Arc::new(SourceFields::new(&source.identity_fields())));
        Self { upstream, fields: PerSource::new([None], sources.iter().map(fields)) }
    }
}

impl Fetcher for UpstreamFetcher {
    fn fetch(
        &self,
        source: SourceId,
        context: CallContext,
    ) -> BoxFuture<'static, Result<FetchedBatch, UpstreamError>> {
        let upstream = Arc::clone(&self.upstream);
        let fields = self.fields[source].clone();
        let endpoint = self.fields.position(source);
        async move {
            let answer = upstream.fetch(endpoint, context).await?;
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
                    Err(answer
                        .reject(format!("the body is not what this source should send: {error}")))
                }
                Err(_) => {
                    Err(answer.reject("decoding the body failed; this is a fault of the gateway"))
                }
            }
        }
        .boxed()
    }
}
