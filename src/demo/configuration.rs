//! The sources of the demo.

use crate::config::{self, Config};

/// The identity tables and sources of the demo, in the form of a configuration file.
pub const SOURCES_YAML: &str = include_str!("sources.yaml");

/// Gives a configuration the demo's identity tables and sources, unless it names its own.
///
/// # Panics
///
/// Never: the text is part of the program, and tests load it.
pub fn configure(config: &mut Config) {
    let default = Config::default();
    if config.sources == default.sources && config.identities == default.identities {
        let demo = config::from_yaml("sources.yaml", SOURCES_YAML)
            .expect("the text is a valid configuration");
        config.sources = demo.sources;
        config.identities = demo.identities;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::demo::Endpoint;

    #[test]
    fn the_demo_has_the_default_sources_and_two_mapped_ones() {
        let mut config = Config::default();
        configure(&mut config);
        let (default, names) = (Config::default(), |sources: &[Source]| -> Vec<String> {
            sources.iter().map(|source| source.name.clone()).collect()
        });
        assert_eq!(config.sources[..7], default.sources);
        assert_eq!(
            names(&config.sources[7..]),
            [Endpoint::Signin, Endpoint::Mail].map(Endpoint::name)
        );
        assert!(config.sources[7..].iter().all(Source::is_mapped));
        assert_eq!(config.identities[..1], default.identities);
        assert_eq!(config.identities.len(), 2);
    }

    #[test]
    fn own_sources_are_kept() {
        let own = "sources: [{ name: misuse, path: /incidents/misuse/, identity: employee_id }]";
        let mut config = config::from_yaml("own", own).unwrap();
        configure(&mut config);
        assert_eq!(config.sources.len(), 1);
        assert_eq!(config.identities, Config::default().identities);
    }
}
