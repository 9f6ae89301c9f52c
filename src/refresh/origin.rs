//! Where batches come from: the seam between the schedule and the upstream, so that tests can drive
//! the schedule alone.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::background::spawn_cpu_bound;
use crate::cache::Batch;
use crate::config;
use crate::decode::{Identities, Incidents, SourceFields};
use crate::upstream::{Caller, Endpoint, OnRetry, Upstream, UpstreamError};

/// A set of sources that can be asked for their data. Index 0 is the identities endpoint, the
/// incident sources follow in the configured order.
pub trait Origin: Send + Sync + 'static {
    /// Fetches and decodes a source's whole answer, retries included; `on_retry` is told of each
    /// failure that is not the last.
    fn fetch(
        &self,
        source: usize,
        on_retry: OnRetry,
    ) -> BoxFuture<'static, Result<Fetched, UpstreamError>>;
}

/// A source's answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The decoded answer.
    pub batch: Batch,
    /// How long the successful call took.
    pub duration: Duration,
}

/// The endpoints to ask, in the order of [`Origin`]'s indices.
#[must_use]
pub fn endpoints(config: &config::Config) -> Vec<Endpoint> {
    let identities =
        Endpoint { name: config::IDENTITIES.into(), path: config.identities.path.clone() };
    let incidents = config
        .sources
        .iter()
        .map(|source| Endpoint { name: source.name.as_str().into(), path: source.path.clone() });
    std::iter::once(identities).chain(incidents).collect()
}

/// The fields that incident records are known to have beside `priority` and `timestamp`: those that
/// may name the employee, in the configured order, and `source_ip`, each once.
#[must_use]
pub fn fields(config: &config::Config) -> Arc<[Arc<str>]> {
    let identity = config.sources.iter().flat_map(|source| &source.identity).map(String::as_str);
    let mut fields: Vec<Arc<str>> = Vec::new();
    for field in identity.chain(["source_ip"]).filter(|field| *field != "employee_id") {
        if !fields.iter().any(|known| **known == *field) {
            fields.push(field.into());
        }
    }
    fields.into()
}

/// The real origin: the upstream's bodies, decoded on threads of their own.
pub struct UpstreamOrigin {
    upstream: Arc<Upstream>,
    /// The fields of the incident sources, in the configured order.
    fields: Vec<Arc<SourceFields>>,
}

impl UpstreamOrigin {
    /// Asks `upstream`, which was built from [`endpoints`] of the same configuration.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, sources: &[config::Source]) -> Self {
        let fields =
            sources.iter().map(|source| Arc::new(SourceFields::new(&source.identity))).collect();
        Self { upstream, fields }
    }
}

impl Origin for UpstreamOrigin {
    fn fetch(
        &self,
        source: usize,
        on_retry: OnRetry,
    ) -> BoxFuture<'static, Result<Fetched, UpstreamError>> {
        let upstream = Arc::clone(&self.upstream);
        let fields = source.checked_sub(1).map(|source| Arc::clone(&self.fields[source]));
        let caller = Caller { on_retry, ..Caller::default() };
        async move {
            let fetched = upstream.fetch(source, &caller).await?;
            let (body, duration) = (fetched.body().clone(), fetched.duration());
            let decode = move || match fields {
                None => Identities::decode(body)
                    .map(|identities| Batch::Identities(Arc::new(identities))),
                Some(fields) => Incidents::decode(body, &fields)
                    .map(|incidents| Batch::Incidents(Arc::new(incidents))),
            };
            match spawn_cpu_bound(decode).await {
                Ok(Ok(batch)) => {
                    drop(fetched.accept());
                    Ok(Fetched { batch, duration })
                }
                Ok(Err(error)) => Err(fetched
                    .refuse(format!("the body is not what this source should send: {error}"))),
                Err(_) => {
                    Err(fetched.refuse("decoding the body failed; this is a fault of the gateway"))
                }
            }
        }
        .boxed()
    }
}
