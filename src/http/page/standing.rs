//! How true the page is: the completeness in words, and each source's state.

use tokio::time::Instant;

use super::shown::{count, span};
use crate::snapshot::{Completeness, Freshness, Snapshot};

/// The state of the data at one moment.
pub(super) struct Standing {
    /// `complete`, `stale`, `partial`, or `none` when there is nothing to show.
    pub(super) state: &'static str,
    /// One sentence.
    pub(super) sentence: String,
    pub(super) sources: Vec<Source>,
}

/// A source's line.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) state: &'static str,
    /// Such as `12 s`; empty without data.
    pub(super) age: String,
    pub(super) age_seconds: u64,
    pub(super) records: String,
    /// Why the last attempt failed.
    pub(super) error: String,
}

impl Standing {
    pub(super) fn of(snapshot: &Snapshot, now: Instant) -> Self {
        let completeness = snapshot.completeness(now);
        let named = |state: Freshness| {
            let sources =
                snapshot.sources.iter().filter(|source| snapshot.freshness(source, now) == state);
            sources.map(|source| &*source.name).collect::<Vec<_>>().join(", ")
        };
        let sentence = match completeness {
            _ if !snapshot.has_data() => "No data yet: no source has answered.".to_owned(),
            Completeness::Complete => "Every source is fresh.".to_owned(),
            Completeness::Stale => {
                format!(
                    "Not up to date: {} could not be refreshed, and older data stands in.",
                    named(Freshness::Stale)
                )
            }
            Completeness::Partial => {
                format!(
                    "Not the whole picture: there is no data from {}.",
                    named(Freshness::Missing)
                )
            }
        };
        let sources = snapshot.sources.iter().map(|source| {
            let age = source.age(now);
            Source {
                name: source.name.to_string(),
                state: snapshot.freshness(source, now).as_str(),
                age: age.map_or_else(String::new, |age| span(age.as_secs_f64())),
                age_seconds: age.unwrap_or_default().as_secs(),
                records: count(source.records),
                error: source
                    .last_error
                    .as_ref()
                    .map_or_else(String::new, |error| error.kind.as_str().replace('_', " ")),
            }
        });
        let state = if snapshot.has_data() { completeness.as_str() } else { "none" };
        Self { state, sentence, sources: sources.collect() }
    }
}
