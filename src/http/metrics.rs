//! The metrics of requests to the public listener.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::freshness::CacheResult;

/// From the time of a cached response (tens of microseconds) to just beyond the default response
/// budget, around which the bounds are dense.
const REQUEST_BUCKETS_SECONDS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 1.5, 1.9, 2.5];

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
struct ResultLabels {
    result: &'static str,
}

/// The families of the public listener.
#[derive(Debug)]
pub(super) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Indexed by [`CacheResult`].
    cache_requests: [Counter; CacheResult::ALL.len()],
}

impl HttpMetrics {
    /// Registers the families, once for each registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration: fn() -> Histogram = || Histogram::new(REQUEST_BUCKETS_SECONDS);
        let cache_requests = Family::<ResultLabels, Counter>::default();
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(duration),
            cache_requests: CacheResult::ALL.map(|result| {
                cache_requests.get_or_create_owned(&ResultLabels { result: result.as_str() })
            }),
        };
        registry.register(
            "http_requests",
            "Requests to the public listener",
            metrics.requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's headers to its response's headers",
            metrics.duration.clone(),
        );
        registry.register(
            "cache_requests",
            "Requests for incidents by cache result",
            cache_requests,
        );
        metrics
    }

    /// Counts a response.
    pub(super) fn record_request(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        duration: Duration,
    ) {
        self.requests.get_or_create_owned(&RequestLabels { route, method, status }).inc();
        self.duration.get_or_create_owned(&RouteLabels { route }).observe(duration.as_secs_f64());
    }

    /// Counts a request for incidents.
    pub(super) fn record_cache(&self, result: CacheResult) {
        self.cache_requests[result as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn requests_count_by_route_method_and_status() {
        let mut registry = metrics::registry();
        let http = HttpMetrics::register(&mut registry);
        http.record_request("/incidents", "GET", 200, Duration::from_millis(2));
        http.record_request("/incidents", "GET", 304, Duration::from_millis(1));
        let page = metrics::encode(&registry);
        for series in [
            "http_requests_total{route=\"/incidents\",method=\"GET\",status=\"200\"} 1\n",
            "http_requests_total{route=\"/incidents\",method=\"GET\",status=\"304\"} 1\n",
            "http_request_duration_seconds_count{route=\"/incidents\"} 2\n",
        ] {
            assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
        }
    }

    #[test]
    fn every_cache_result_has_a_series_from_the_start() {
        let mut registry = metrics::registry();
        HttpMetrics::register(&mut registry).record_cache(CacheResult::Collapsed);
        let page = metrics::encode(&registry);
        for (result, count) in [("hit", 0), ("stale", 0), ("miss", 0), ("collapsed", 1)] {
            let series =
                format!("incident_gateway_cache_requests_total{{result=\"{result}\"}} {count}\n");
            assert!(page.contains(&series), "{series} in {page}");
        }
    }
}
