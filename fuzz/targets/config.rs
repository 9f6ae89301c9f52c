//! Reading a configuration file: a configuration, or a report; never a panic.
#![no_main]

use incident_gateway::config::from_yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match from_yaml("fuzz.yaml", text) {
        Ok(config) => {
            assert!(!config.sources.is_empty());
            assert!(config.cache.ttl <= config.cache.stale_for);
            assert!(config.upstream.base_url.password().is_none());
            assert!(
                from_yaml("printed.yaml", &config.to_yaml()).is_ok(),
                "what `check` prints is a configuration"
            );
        }
        Err(errors) => assert!(errors.to_string().contains("fuzz.yaml")),
    }
});
