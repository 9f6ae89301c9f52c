//! What a source is, apart from its name and its schedule.

use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::PerSource;
use crate::config::{self, Config, DEFAULT_UPSTREAM, Origin, Source, Table};

/// What determines the data of a source: its settings but for its name and `every`, and those of
/// its upstream. Data that was fetched under another definition may be other records, or the same
/// ones mapped differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition(Arc<Parts>);

/// A digest of what a source is asked and how its answer is read: its address, query and mapping,
/// but not credentials, intervals and timeouts. Unlike a [`Definition`] it can be stored: data with
/// the same fingerprint can be used by another process, or after a restart.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Increased when data that was decoded by an earlier release must not be used any more, or
    /// when `written` changes for an unchanged configuration.
    const FORMAT: u8 = 1;

    /// `written` is what is asked and how it is read, as it would be configured. It has no
    /// credentials: those are settings of the upstream, of which only the base URL counts.
    fn new(kind: &str, base_url: &str, written: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&[Self::FORMAT]);
        for part in [kind, base_url, written] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Debug, PartialEq)]
struct Parts {
    settings: Settings,
    calls: Calls,
    fingerprint: Fingerprint,
}

#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each source")]
enum Settings {
    Table(Table),
    Incidents(Source),
}

impl Settings {
    fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::Incidents(_) => "incidents",
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Table(table) => config::written_table(table),
            Self::Incidents(source) => config::written_source(source),
        }
    }
}

/// The settings that are shared with other sources.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each source")]
enum Calls {
    Http(config::Upstream),
    /// Files are bounded by `max_body` of the default upstream.
    Files {
        max_body: u64,
    },
}

impl Definition {
    fn new(config: &Config, settings: Settings, origin: &Origin) -> Self {
        let calls = match origin {
            Origin::Http(http) => Calls::Http(upstream_settings(config, &http.upstream).clone()),
            Origin::File(_) => Calls::Files { max_body: config.upstream.max_body },
        };
        let base_url = match &calls {
            Calls::Http(upstream) => Some(&upstream.base_url),
            Calls::Files { .. } => None,
        };
        let base_url = base_url.map_or("", reqwest::Url::as_str);
        let fingerprint = Fingerprint::new(settings.kind(), base_url, &settings.written());
        Self(Arc::new(Parts { settings, calls, fingerprint }))
    }

    /// A digest of what is asked and how it is read.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    fn table(config: &Config, table: &Table) -> Self {
        let settings = Settings::Table(Table { every: None, ..table.clone() });
        Self::new(config, settings, &table.origin)
    }

    fn incidents(config: &Config, source: &Source) -> Self {
        let settings =
            Settings::Incidents(Source { name: String::new(), every: None, ..source.clone() });
        Self::new(config, settings, &source.origin)
    }
}

/// The definition of each source.
#[must_use]
pub fn definitions(config: &Config) -> PerSource<Definition> {
    let tables = config.identities.iter().map(|table| Definition::table(config, table));
    let incidents = config.sources.iter().map(|source| Definition::incidents(config, source));
    PerSource::new(tables, incidents)
}

/// The settings of the upstream of this name, which the configuration has.
#[must_use]
pub fn upstream_settings<'a>(config: &'a Config, name: &str) -> &'a config::Upstream {
    let named = config.upstreams.iter().find(|named| named.name == name);
    debug_assert!(named.is_some() || name == DEFAULT_UPSTREAM, "validated");
    named.map_or(&config.upstream, |named| &named.settings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::NamedUpstream;
    use crate::request::Template;
    use crate::sources::SourceId;

    /// Which sources have another definition after the change.
    fn changed(change: impl FnOnce(&mut Config)) -> Vec<SourceId> {
        let mut config = Config::default();
        let settings = config.upstream.clone();
        config.upstreams.push(NamedUpstream { name: "okta".to_owned(), settings });
        let Origin::Http(http) = &mut config.sources[1].origin else { unreachable!() };
        http.upstream = "okta".to_owned();
        config.sources[2].origin = Origin::File("/data/*.csv".to_owned());
        let before = definitions(&config);
        change(&mut config);
        let after = definitions(&config);
        after.ids().filter(|id| after[*id] != before[*id]).collect()
    }

    #[test]
    fn a_schedule_is_no_part_of_a_definition() {
        let changed = changed(|config| {
            config.cache.ttl = Duration::from_secs(7);
            config.cache.stale_for = Duration::from_secs(70);
            config.sources[0].every = Some(Duration::from_secs(8));
            config.identities[0].every = Some(Duration::from_secs(9));
        });
        assert_eq!(changed, []);
    }

    #[test]
    fn a_definition_has_the_settings_of_its_own_upstream_alone() {
        let incidents = SourceId::Incidents;
        assert_eq!(changed(|config| config.upstreams[0].settings.retries = 0), [incidents(1)]);
        let default = changed(|config| config.upstream.retries = 0);
        assert_eq!(default.len(), 1 + 5, "the table, and all but the sources of okta and files");
        assert!(!default.contains(&incidents(1)) && !default.contains(&incidents(2)));
        let all = changed(|config| config.upstream.max_body = 7);
        assert!(all.contains(&incidents(2)) && !all.contains(&incidents(1)));
    }

    #[test]
    fn a_definition_has_what_is_asked_and_how_it_is_read() {
        let incidents = SourceId::Incidents;
        let path = changed(|config| config.sources[2].origin = Origin::File("/b.csv".to_owned()));
        assert_eq!(path, [incidents(2)]);
        let mapping = changed(|config| config.sources[0].identity = Vec::new());
        assert_eq!(mapping, [incidents(0)]);
        let table = changed(|config| config.identities[0] = Table::addresses("/other/"));
        assert_eq!(table, [SourceId::Table(0)]);
    }

    /// Which sources have another fingerprint after the change.
    fn with_other_fingerprints(change: impl FnOnce(&mut Config)) -> Vec<SourceId> {
        let mut config = Config::default();
        let settings = config.upstream.clone();
        config.upstreams.push(NamedUpstream { name: "okta".to_owned(), settings });
        let Origin::Http(http) = &mut config.sources[1].origin else { unreachable!() };
        http.upstream = "okta".to_owned();
        let before = definitions(&config);
        change(&mut config);
        let after = definitions(&config);
        let is_other = |id: &SourceId| after[*id].fingerprint() != before[*id].fingerprint();
        after.ids().filter(is_other).collect()
    }

    #[test]
    fn a_fingerprint_depends_on_what_is_asked_and_how_it_is_read_alone() {
        let incidents = SourceId::Incidents;
        let changed = with_other_fingerprints(|config| {
            config.cache.ttl = Duration::from_secs(7);
            config.sources[0].every = Some(Duration::from_secs(8));
            config.identities[0].every = Some(Duration::from_secs(9));
            config.sources[0].name = "renamed".to_owned();
            config.upstreams[0].name = "renamed".to_owned();
            let Origin::Http(http) = &mut config.sources[1].origin else { unreachable!() };
            http.upstream = "renamed".to_owned();
            for upstream in [&mut config.upstreams[0].settings, &mut config.upstream] {
                upstream.username = Some("other".to_owned());
                upstream.password = Some("other".to_owned().into());
                upstream.timeout = Duration::from_secs(1);
                upstream.retries = 9;
                upstream.max_body = 7;
                upstream.concurrency = config::Concurrency::Fixed(7);
                upstream.proxy = Some("http://proxy.example".parse().unwrap());
            }
        });
        assert_eq!(changed, []);
        let base = with_other_fingerprints(|config| {
            config.upstreams[0].settings.base_url = "http://other.example/".parse().unwrap();
        });
        assert_eq!(base, [incidents(1)]);
        let query = with_other_fingerprints(|config| {
            let Origin::Http(http) = &mut config.sources[2].origin else { unreachable!() };
            http.request.query = vec![("limit".to_owned(), Template::literal("7"))];
        });
        assert_eq!(query, [incidents(2)]);
        let header = with_other_fingerprints(|config| {
            let Origin::Http(http) = &mut config.sources[2].origin else { unreachable!() };
            let name = http::HeaderName::from_static("x-tenant");
            http.request.headers = vec![(name, Template::literal("7"))];
        });
        assert_eq!(header, [incidents(2)]);
        let mapping = with_other_fingerprints(|config| config.sources[0].identity = Vec::new());
        assert_eq!(mapping, [incidents(0)]);
        let table = with_other_fingerprints(|config| {
            config.identities[0] = Table::addresses("/other/");
        });
        assert_eq!(table, [SourceId::Table(0)]);
    }

    /// Data that was stored by an earlier release stays usable only if fingerprints stay the same.
    #[test]
    fn fingerprints_are_the_same_in_every_process_and_release() {
        let text = r#"
upstream: { base_url: "http://api.example.test" }
identities:
  - { file: people.csv, employee: id, email: mail, ip: [a, b] }
sources:
  - { name: plain, path: /plain/, identity: reporter }
  - { name: mapped, path: /list, query: { since: "{since:unix}", n: [1, 2] }, window: 6h,
      headers: { Accept: application/json }, body: { a: [1, "x", null] },
      incremental: { overlap: 10m, full_every: 12h }, next: { cursor: next, body: /c },
      id: [a, b], priority: { at: p, values: { "1": low }, default: high }, timestamp: at,
      identity: { at: who, as: employee_id }, title: t, url: u, fail_if: [ errors ] }
"#;
        let config = config::from_yaml("test.yaml", text).unwrap();
        let fingerprints: Vec<String> = definitions(&config)
            .iter()
            .map(|definition| format!("{:?}", definition.fingerprint())[..16].to_owned())
            .collect();
        assert_eq!(fingerprints, ["fe8741dd164f6c32", "b304ec7409869aad", "00b07160dd88c016"]);
    }
}
