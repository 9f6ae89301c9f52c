//! The registry of metrics. It contains only `build_info` itself; each module registers its own
//! metrics (`upstream/metrics.rs`, `refresh/metrics.rs`, `snapshot/metrics.rs`, `http/metrics.rs`).

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::registry::Registry;

/// The content type of [`encode`].
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry that prefixes every name with `incident_gateway_` and holds `build_info`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("incident_gateway");
    let build_info = Family::<[(&str, &str); 2], Gauge>::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", crate::REVISION)];
    build_info.get_or_create_owned(&labels).set(1);
    registry.register(
        "build_info",
        "The version and source revision of the running binary",
        build_info,
    );
    registry
}

/// All registered metrics as `OpenMetrics` text.
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut page = String::with_capacity(16 << 10);
    text::encode(&mut page, registry).expect("writing to a string does not fail");
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_has_the_build_and_ends_as_openmetrics_requires() {
        let page = super::encode(&super::registry());
        let version = env!("CARGO_PKG_VERSION");
        assert!(page.contains(&format!("incident_gateway_build_info{{version=\"{version}\"")));
        assert!(page.ends_with("# EOF\n"));
    }
}
