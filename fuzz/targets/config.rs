//! Reading a configuration file: a configuration, or a report; never a panic.
#![no_main]

use incident_gateway::config::{DEFAULT_UPSTREAM, Origin, from_yaml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match from_yaml("fuzz.yaml", text) {
        Ok(config) => {
            assert!(!config.sources.is_empty());
            assert!(config.cache.ttl <= config.cache.stale_for);
            assert!(config.upstream.base_url.password().is_none());
            for source in &config.sources {
                let Origin::Http(http) = &source.origin else {
                    assert!(source.is_mapped() && source.incremental.is_none());
                    continue;
                };
                assert!(
                    http.upstream == DEFAULT_UPSTREAM
                        || config.upstreams.iter().any(|upstream| upstream.name == http.upstream)
                );
                let needs_since = http.window.is_some() || source.incremental.is_some();
                assert!(!needs_since || http.request.uses_since());
            }
            assert!(
                from_yaml("printed.yaml", &config.to_yaml()).is_ok(),
                "what `check` prints is a configuration"
            );
        }
        Err(errors) => assert!(errors.to_string().contains("fuzz.yaml")),
    }
});
