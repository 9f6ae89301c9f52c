//! Reads single values from the metrics page.

use incident_gateway::metrics::{self, Registry};

/// The value of a series, written as on the page without the prefix, such as
/// `circuit_state{source="denial"}`.
pub fn value(registry: &Registry, series: &str) -> String {
    let page = metrics::encode(registry);
    let line = page.lines().find_map(|line| {
        line.strip_prefix("incident_gateway_")?.strip_prefix(series)?.strip_prefix(' ')
    });
    line.unwrap_or_else(|| panic!("no series {series} on this page:\n{page}")).to_owned()
}

/// How many calls to a source had this outcome.
pub fn calls(registry: &Registry, source: &str, outcome: &str) -> u64 {
    let series = format!("upstream_requests_total{{source=\"{source}\",outcome=\"{outcome}\"}}");
    value(registry, &series).parse().unwrap()
}
