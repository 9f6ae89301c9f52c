//! The settings of a refresh, and of each source in it.

use std::sync::Arc;
use std::time::Duration;

use super::Interval;
use crate::clock::WallClock;
use crate::config::{self, Config, Origin};
use crate::identity::KeyKinds;
use crate::snapshot::{Policy, SourceStatus};
use crate::sources::{Definition, PerSource, definitions, names, upstream_settings};

/// What a refresh fetches. A reload may change it.
pub struct Settings {
    /// The settings of each source.
    pub sources: PerSource<SourceSettings>,
    /// The fields that the incident records are known to have.
    pub fields: Arc<[Arc<str>]>,
    /// How old data may be before it is refreshed, where a source says nothing else (`cache.ttl`).
    pub ttl: Duration,
    /// How long sources are not called because the store may have their data
    /// (`response_budget`).
    pub max_store_wait: Duration,
}

/// How a refresh runs, from its start to its end.
pub struct RunOptions {
    /// Seeds the jitter and the trace ids.
    pub seed: u64,
    /// Whether sources are fetched again.
    pub repeat: Repeat,
    /// The wall clock that dates attempts and data.
    pub clock: WallClock,
}

/// Whether sources are fetched again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeat {
    /// Each whenever it is due, until the refresh is dropped.
    Always,
    /// Each is fetched once; then the refresh ends.
    Never,
}

/// The settings of one source.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Its name.
    pub name: Arc<str>,
    /// The name of its upstream; `None` for files.
    pub upstream: Option<Arc<str>>,
    /// The ages at which its data is refreshed and changes its state.
    pub policy: Policy,
    /// How often it is asked.
    pub interval: Interval,
    /// What determines its data. When this changes, its data is no longer what it should be.
    pub definition: Definition,
    /// By what it can be looked up, if it is a table.
    pub key_kinds: KeyKinds,
}

impl Settings {
    /// The settings of each configured source.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            sources: SourceSettings::all(config),
            fields: config.known_fields(),
            ttl: config.cache.ttl,
            max_store_wait: config.response_budget,
        }
    }
}

impl SourceSettings {
    /// The settings of each configured source.
    #[must_use]
    pub fn all(config: &Config) -> PerSource<Self> {
        let tables =
            config.identities.iter().map(|table| (&table.origin, table.every, KeyKinds::of(table)));
        let incidents =
            config.sources.iter().map(|source| (&source.origin, source.every, KeyKinds::default()));
        let (names, definitions) = (names(config), definitions(config));
        PerSource::new(tables, incidents).map(|id, &(origin, every, key_kinds)| {
            let (upstream, policy, interval) = Self::schedule(config, origin, every);
            let (name, definition) = (Arc::clone(&names[id]), definitions[id].clone());
            Self { name, upstream, policy, interval, definition, key_kinds }
        })
    }

    /// The name of the source's upstream, its policy and its interval.
    fn schedule(
        config: &Config,
        origin: &Origin,
        every: Option<Duration>,
    ) -> (Option<Arc<str>>, Policy, Interval) {
        let (upstream, timeout, has_pages) = match origin {
            Origin::Http(http) => {
                let timeout = upstream_settings(config, &http.upstream).timeout;
                (Some(http.upstream.as_str().into()), timeout, http.next.is_some())
            }
            Origin::File(_) => (None, config.upstream.timeout, false),
        };
        let config::Cache { ttl, stale_for, .. } = config.cache;
        let (policy, interval) = match every {
            // A list of many pages must not hold up the rounds of the other sources.
            None if !has_pages => (Policy::of_ttl(ttl, timeout, stale_for), Interval::Ttl),
            _ => {
                let every = every.unwrap_or(ttl);
                (Policy::of_every(every, timeout, stale_for), Interval::Every(every))
            }
        };
        (upstream, policy, interval)
    }

    /// The status of the source before it is called.
    #[must_use]
    pub fn first_status(&self) -> SourceStatus {
        SourceStatus {
            upstream: self.upstream.clone(),
            ..SourceStatus::new(Arc::clone(&self.name), self.policy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NamedUpstream, Source};
    use crate::request::NextPage;
    use crate::sources::SourceId;

    #[test]
    fn sources_with_an_interval_or_pages_have_times_of_their_own() {
        let seconds = Duration::from_secs;
        let mut config = Config::default();
        let mut settings = config.upstream.clone();
        settings.timeout = seconds(60);
        config.upstreams.push(NamedUpstream { name: "okta".to_owned(), settings });
        let mut source = |index: usize, change: &dyn Fn(&mut Source)| {
            change(&mut config.sources[index]);
        };
        source(1, &|source| source.every = Some(seconds(300)));
        source(2, &|source| {
            let Origin::Http(http) = &mut source.origin else { return };
            http.upstream = "okta".to_owned();
            http.next = Some(NextPage::Link);
        });
        source(3, &|source| source.origin = Origin::File("/data/*.csv".to_owned()));
        let all = SourceSettings::all(&config);
        let of = |index| &all[SourceId::Incidents(index)];
        let stale_for = config.cache.stale_for;
        assert_eq!(of(0).policy, Policy::of_ttl(seconds(30), seconds(10), stale_for));
        assert_eq!(of(1).policy, Policy::of_every(seconds(300), seconds(10), stale_for));
        assert_eq!(of(2).policy, Policy::of_every(seconds(30), seconds(60), stale_for));
        assert_eq!(of(3).policy, of(0).policy);
        let intervals = [0, 1, 2, 3].map(|index| of(index).interval);
        let (five_minutes, ttl) = (Interval::Every(seconds(300)), Interval::Every(seconds(30)));
        assert_eq!(intervals, [Interval::Ttl, five_minutes, ttl, Interval::Ttl]);
        assert_eq!(of(2).first_status().upstream.as_deref(), Some("okta"));
        assert_eq!(of(3).first_status().upstream, None);
        assert_eq!(&*all[SourceId::Table(0)].name, "identities");
    }
}
