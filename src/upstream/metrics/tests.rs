use super::*;
use crate::metrics;

#[test]
fn every_series_of_a_source_starts_at_zero() {
    let mut registry = metrics::registry();
    let families = UpstreamMetrics::register(&mut registry);
    families.source(&"denial".into()).activate();
    let page = metrics::encode(&registry);
    for outcome in Outcome::ALL {
        let labels = format!("{{source=\"denial\",outcome=\"{outcome}\"}}");
        let series = format!("incident_gateway_upstream_requests_total{labels} 0\n");
        assert!(page.contains(&series), "{series} in {page}");
    }
    for series in [
        "upstream_request_duration_seconds_count{source=\"denial\"} 0\n",
        "upstream_retries_total{source=\"denial\"} 0\n",
        "circuit_state{source=\"denial\"} 0\n",
    ] {
        assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
    }
}

#[test]
fn series_are_removed_with_what_they_describe() {
    let mut registry = metrics::registry();
    let families = UpstreamMetrics::register(&mut registry);
    let unused = families.source(&"unused".into());
    let sources = ["denial", "misuse", "other"].map(|name| families.source(&name.into()));
    sources.iter().for_each(SourceMetrics::activate);
    sources[1].record_call(Outcome::Ok, Duration::from_secs(1));
    families.concurrency("default").set(2, 3);
    families.concurrency("okta").set(0, 8);
    let set = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    families.retain(&Configured {
        called: set(&["misuse", "unused"]),
        files: set(&["other"]),
        upstreams: set(&["okta"]),
    });
    // What is still used by somebody appears no more.
    sources[0].record_retry();
    let page = metrics::encode(&registry);
    for gone in ["denial", "unused", "\"default\"", "circuit_state{source=\"other\"}"] {
        assert!(!page.contains(gone), "{gone} in {page}");
    }
    for kept in [
        "upstream_requests_total{source=\"misuse\",outcome=\"ok\"} 1\n",
        "upstream_requests_total{source=\"other\",outcome=\"ok\"} 0\n",
        "circuit_state{source=\"misuse\"} 0\n",
        "upstream_concurrency_limit{upstream=\"okta\"} 8\n",
    ] {
        assert!(page.contains(&format!("incident_gateway_{kept}")), "{kept} in {page}");
    }
    unused.activate();
    families.source(&"denial".into()).activate();
    let page = metrics::encode(&registry);
    assert!(page.contains("source=\"unused\"") && page.contains("source=\"denial\""));
}

#[test]
fn a_refusal_by_the_breaker_counts_without_a_duration() {
    let mut registry = metrics::registry();
    let source = UpstreamMetrics::register(&mut registry).source(&"denial".into());
    source.record_not_made(Outcome::CircuitOpen);
    source.record_call(Outcome::Status, Duration::from_secs(2));
    let page = metrics::encode(&registry);
    for series in [
        "upstream_requests_total{source=\"denial\",outcome=\"circuit_open\"} 1\n",
        "upstream_requests_total{source=\"denial\",outcome=\"status\"} 1\n",
        "upstream_request_duration_seconds_count{source=\"denial\"} 1\n",
        "upstream_request_duration_seconds_sum{source=\"denial\"} 2.0\n",
    ] {
        assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
    }
}

#[test]
fn the_concurrency_of_upstreams_is_told_apart_by_name() {
    let mut registry = metrics::registry();
    let families = UpstreamMetrics::register(&mut registry);
    families.concurrency("default").set(2, 3);
    families.concurrency("other").set(0, 8);
    let page = metrics::encode(&registry);
    for series in [
        "upstream_in_flight{upstream=\"default\"} 2\n",
        "upstream_concurrency_limit{upstream=\"default\"} 3\n",
        "upstream_concurrency_limit{upstream=\"other\"} 8\n",
    ] {
        assert!(page.contains(&format!("incident_gateway_{series}")), "{series} in {page}");
    }
}
