//! Every metric family of the gateway, in one place, with its help text and buckets.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::decode::Priority;
use crate::join::Reason;
use crate::snapshot::Snapshot;
use crate::upstream::Outcome;

/// The content type of [`Metrics::encode`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SourceLabels {
    source: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    source: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IncidentLabels {
    r#type: Arc<str>,
    priority: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct UnattributedLabels {
    source: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BuildLabels {
    version: &'static str,
    revision: &'static str,
}

/// The metric families. Cheap to share behind an [`Arc`]; every method takes `&self`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: Family<RequestLabels, Counter>,
    http_duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    upstream_requests: Family<OutcomeLabels, Counter>,
    upstream_duration: Family<SourceLabels, Histogram, fn() -> Histogram>,
    upstream_retries: Family<SourceLabels, Counter>,
    upstream_in_flight: Gauge,
    upstream_limit: Gauge,
    circuit_state: Family<SourceLabels, Gauge>,
    source_age: Family<SourceLabels, FloatGauge>,
    source_records: Family<SourceLabels, Gauge>,
    incidents: Family<IncidentLabels, Gauge>,
    unattributed: Family<UnattributedLabels, Gauge>,
    refresh_duration: Histogram,
    snapshot_age: FloatGauge,
    employees: Gauge,
    cache_requests: [(&'static str, Counter); 4],
    /// The series that nearly all requests count in: looking them up takes a lock and a hash of the
    /// labels each.
    usual: OnceLock<(Counter, Histogram)>,
}

/// The request that nearly all callers make.
const USUAL: RequestLabels = RequestLabels { route: "/incidents", method: "GET", status: 200 };

/// From a cached answer (tens of microseconds) to just past the response budget, where the bounds
/// are dense.
const HTTP_SECONDS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 1.5, 1.9, 2.5];

/// Around the second and a half of a lone call, up to the usual deadline.
const UPSTREAM_SECONDS: [f64; 12] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0];

fn http_histogram() -> Histogram {
    Histogram::new(HTTP_SECONDS)
}

fn upstream_histogram() -> Histogram {
    Histogram::new(UPSTREAM_SECONDS)
}

impl Metrics {
    /// All families, registered, with the series whose labels are known set to zero so that rates
    /// start right.
    #[must_use]
    pub fn new(sources: &[Arc<str>]) -> Self {
        let mut registry = Registry::with_prefix("incident_gateway");
        let build = Family::<BuildLabels, Gauge>::default();
        build
            .get_or_create_owned(&BuildLabels {
                version: env!("CARGO_PKG_VERSION"),
                revision: crate::REVISION,
            })
            .set(1);
        registry.register(
            "build_info",
            "The version and source revision of the running binary",
            build,
        );

        let cache_requests = Family::<ResultLabels, Counter>::default();
        let metrics = Self {
            http_requests: Family::default(),
            http_duration: Family::new_with_constructor(http_histogram as fn() -> Histogram),
            upstream_requests: Family::default(),
            upstream_duration: Family::new_with_constructor(
                upstream_histogram as fn() -> Histogram,
            ),
            upstream_retries: Family::default(),
            upstream_in_flight: Gauge::default(),
            upstream_limit: Gauge::default(),
            circuit_state: Family::default(),
            source_age: Family::default(),
            source_records: Family::default(),
            incidents: Family::default(),
            unattributed: Family::default(),
            refresh_duration: upstream_histogram(),
            snapshot_age: FloatGauge::default(),
            employees: Gauge::default(),
            cache_requests: ["hit", "stale", "miss", "collapsed"].map(|result| {
                (result, cache_requests.get_or_create_owned(&ResultLabels { result }))
            }),
            usual: OnceLock::new(),
            registry: Registry::default(),
        };
        registry.register(
            "http_requests",
            "Requests answered on the public listener",
            metrics.http_requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's headers to its answer's headers",
            metrics.http_duration.clone(),
        );
        registry.register(
            "upstream_requests",
            "Calls to the upstream by how they ended",
            metrics.upstream_requests.clone(),
        );
        registry.register(
            "upstream_request_duration_seconds",
            "Time of one upstream call, whole body included",
            metrics.upstream_duration.clone(),
        );
        registry.register(
            "upstream_retries",
            "Upstream calls that were made again after a failure",
            metrics.upstream_retries.clone(),
        );
        registry.register(
            "upstream_in_flight",
            "Upstream calls in flight",
            metrics.upstream_in_flight.clone(),
        );
        registry.register(
            "upstream_concurrency_limit",
            "How many upstream calls may be in flight at once",
            metrics.upstream_limit.clone(),
        );
        registry.register(
            "circuit_state",
            "State of the source's circuit breaker: 0 closed, 1 half-open, 2 open",
            metrics.circuit_state.clone(),
        );
        registry.register(
            "source_age_seconds",
            "Time since the source's data was fetched; absent while it has none",
            metrics.source_age.clone(),
        );
        registry.register(
            "source_records",
            "Records in the source's data; for identities, addresses",
            metrics.source_records.clone(),
        );
        registry.register(
            "incidents",
            "Incidents joined to an employee",
            metrics.incidents.clone(),
        );
        registry.register(
            "unattributed",
            "Records that no employee could be found for",
            metrics.unattributed.clone(),
        );
        registry.register(
            "refresh_duration_seconds",
            "Time from the first upstream call of a refresh to the end of its last",
            metrics.refresh_duration.clone(),
        );
        registry.register(
            "snapshot_age_seconds",
            "Time since the oldest data in the served snapshot was fetched",
            metrics.snapshot_age.clone(),
        );
        registry.register(
            "employees",
            "Employees with at least one incident",
            metrics.employees.clone(),
        );
        registry.register(
            "cache_requests",
            "Requests for incidents by how the cache met them",
            cache_requests,
        );

        for source in sources {
            let labels = SourceLabels { source: Arc::clone(source) };
            for outcome in Outcome::ALL {
                let labels =
                    OutcomeLabels { source: Arc::clone(source), outcome: outcome.as_str() };
                metrics.upstream_requests.get_or_create_owned(&labels);
            }
            metrics.upstream_duration.get_or_create_owned(&labels);
            metrics.upstream_retries.get_or_create_owned(&labels);
            metrics.circuit_state.get_or_create_owned(&labels);
            metrics.source_records.get_or_create_owned(&labels);
        }
        Self { registry, ..metrics }
    }

    /// The whole registry as `OpenMetrics` text ([`OPENMETRICS`]).
    ///
    /// # Panics
    ///
    /// Never: writing to a string does not fail.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::with_capacity(16 << 10);
        text::encode(&mut page, &self.registry).expect("writing to a string does not fail");
        page
    }

    /// A request was answered.
    pub fn http_request(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        took: Duration,
    ) {
        let labels = RequestLabels { route, method, status };
        let series = |labels| {
            let requests = self.http_requests.get_or_create_owned(labels);
            (requests, self.http_duration.get_or_create_owned(&RouteLabels { route }))
        };
        let count = |(requests, duration): &(Counter, Histogram)| {
            requests.inc();
            duration.observe(took.as_secs_f64());
        };
        if labels == USUAL {
            count(self.usual.get_or_init(|| series(&USUAL)));
        } else {
            count(&series(&labels));
        }
    }

    /// An upstream call ended; `took` is `None` for calls that were not made
    /// ([`Outcome::CircuitOpen`]).
    pub fn upstream_request(&self, source: &Arc<str>, outcome: Outcome, took: Option<Duration>) {
        let labels = OutcomeLabels { source: Arc::clone(source), outcome: outcome.as_str() };
        self.upstream_requests.get_or_create_owned(&labels).inc();
        if let Some(took) = took {
            let labels = SourceLabels { source: Arc::clone(source) };
            self.upstream_duration.get_or_create_owned(&labels).observe(took.as_secs_f64());
        }
    }

    /// An upstream call is about to be made again.
    pub fn upstream_retry(&self, source: &Arc<str>) {
        self.upstream_retries
            .get_or_create_owned(&SourceLabels { source: Arc::clone(source) })
            .inc();
    }

    /// How many upstream calls are in flight, and how many may be.
    pub fn upstream_concurrency(&self, in_flight: usize, limit: usize) {
        self.upstream_in_flight.set(in_flight.try_into().unwrap_or(i64::MAX));
        self.upstream_limit.set(limit.try_into().unwrap_or(i64::MAX));
    }

    /// The state of a source's circuit breaker: 0 closed, 1 half-open, 2 open.
    pub fn circuit_state(&self, source: &Arc<str>, state: u8) {
        self.circuit_state
            .get_or_create_owned(&SourceLabels { source: Arc::clone(source) })
            .set(state.into());
    }

    /// A refresh has ended, this long after its first call began.
    pub fn refresh(&self, took: Duration) {
        self.refresh_duration.observe(took.as_secs_f64());
    }

    /// A request for incidents was met by the cache: `hit`, `stale`, `miss` or `collapsed`.
    pub fn cache_request(&self, result: &'static str) {
        if let Some((_, requests)) = self.cache_requests.iter().find(|(name, _)| *name == result) {
            requests.inc();
        }
    }

    /// What is served at `now`.
    pub fn snapshot(&self, snapshot: &Snapshot, now: Instant) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (view, joined) = (&snapshot.view, snapshot.view.joined());
        for source in snapshot.sources.iter() {
            let labels = SourceLabels { source: Arc::clone(&source.name) };
            self.source_records.get_or_create_owned(&labels).set(count(source.records));
            match source.age(now) {
                Some(age) => {
                    self.source_age.get_or_create_owned(&labels).set(age.as_secs_f64());
                }
                None => {
                    self.source_age.remove(&labels);
                }
            }
        }
        let mut reasons = vec![[0; Reason::ALL.len()]; view.names().len()];
        for record in joined.unattributed() {
            reasons[record.source()][record.reason as usize] += 1;
        }
        for ((name, tally), reasons) in view.names().iter().zip(joined.tally()).zip(&reasons) {
            for (priority, &incidents) in Priority::ALL.into_iter().zip(tally) {
                let labels =
                    IncidentLabels { r#type: Arc::clone(name), priority: priority.as_str() };
                self.incidents.get_or_create_owned(&labels).set(count(incidents));
            }
            for (reason, &records) in Reason::ALL.into_iter().zip(reasons) {
                let labels =
                    UnattributedLabels { source: Arc::clone(name), reason: reason.as_str() };
                self.unattributed.get_or_create_owned(&labels).set(count(records));
            }
        }
        self.employees.set(count(joined.employee_count()));
        self.snapshot_age.set(snapshot.age(now).unwrap_or_default().as_secs_f64());
    }
}
