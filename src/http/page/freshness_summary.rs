//! How complete and fresh the data of a page is: a sentence, and a row for each source.

use tokio::time::Instant;

use super::display::{count, duration, truncate, visible};
use crate::http::visibility::Visibility;
use crate::snapshot::{Completeness, Freshness, Snapshot, SourceStatus};

/// How complete and fresh the data is at one moment.
pub(super) struct FreshnessSummary {
    /// `complete`, `stale` or `partial`; without any data `waiting` for the first, or `none`.
    pub(super) state: &'static str,
    /// One sentence.
    pub(super) sentence: String,
    /// Whether the sources have numbers of records.
    pub(super) has_counts: bool,
    pub(super) sources: Vec<Source>,
}

/// A source's row.
pub(super) struct Source {
    pub(super) name: String,
    /// `fresh`, `stale` or `missing`; `waiting` until the first attempt has ended.
    pub(super) state: &'static str,
    /// Such as `12 s`; empty without data.
    pub(super) age: String,
    pub(super) age_seconds: u64,
    /// Empty where the caller may not see everything.
    pub(super) records: String,
    /// Why the last attempt failed; empty after a success.
    pub(super) error: String,
    /// When a source that is not fresh is fetched next; empty for a fresh one.
    pub(super) next: String,
    /// What was noticed in its data, as far as it tells of no records that the caller may not see.
    pub(super) notes: Vec<String>,
}

/// The most priority values that a note names, and how much of each.
const MAX_VALUES: usize = 3;
const MAX_VALUE_CHARS: usize = 30;

impl FreshnessSummary {
    pub(super) fn new(snapshot: &Snapshot, now: Instant, visibility: &Visibility) -> Self {
        let has_counts = visibility.is_everything();
        let completeness = snapshot.completeness(now);
        let sentence = match completeness {
            _ if !snapshot.has_data() && snapshot.has_had_data() => {
                "The last data has become too old to be shown.".to_owned()
            }
            _ if !snapshot.has_data() => "No incidents have arrived yet.".to_owned(),
            Completeness::Complete => "Every source is fresh.".to_owned(),
            Completeness::Stale => {
                let names = names(snapshot, Freshness::Stale, now);
                format!("{names} could not be refreshed; older data is shown.")
            }
            Completeness::Partial => {
                let yet = if snapshot.is_loading() { " yet" } else { "" };
                format!("There is no data from {}{yet}.", names(snapshot, Freshness::Missing, now))
            }
        };
        let sources = snapshot.sources.iter().map(|source| {
            let (age, state) = (source.age(now), source.freshness(now));
            let is_first = state == Freshness::Missing && !source.was_attempted;
            let error = source.last_error.as_ref();
            Source {
                name: source.name.to_string(),
                state: if is_first { "waiting" } else { state.as_str() },
                age: age.map_or_else(String::new, |age| duration(age.as_secs_f64())),
                age_seconds: age.unwrap_or_default().as_secs(),
                records: if has_counts { count(source.records) } else { String::new() },
                error: error
                    .map_or_else(String::new, |error| error.kind.as_str().replace('_', " ")),
                next: if state == Freshness::Fresh { String::new() } else { next(source, now) },
                notes: notes(source, has_counts),
            }
        });
        let state = if snapshot.has_data() {
            completeness.as_str()
        } else if snapshot.is_loading() {
            "waiting"
        } else {
            "none"
        };
        Self { state, sentence, has_counts, sources: sources.collect() }
    }
}

/// The names of the sources in a state.
pub(super) fn names(snapshot: &Snapshot, state: Freshness, now: Instant) -> String {
    let sources = snapshot.sources.iter();
    let in_state = sources.filter(|source| source.freshness(now) == state);
    in_state.map(|source| &*source.name).collect::<Vec<_>>().join(", ")
}

fn notes(source: &SourceStatus, has_counts: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if source.truncated {
        notes.push("it has more records than it sends".to_owned());
    }
    if !has_counts {
        return notes;
    }
    if !source.unmapped.is_empty() {
        let values = source.unmapped.iter().take(MAX_VALUES);
        let values: Vec<_> =
            values.map(|(value, _)| truncate(&visible(value), MAX_VALUE_CHARS)).collect();
        let more = if source.unmapped.len() > MAX_VALUES { ", …" } else { "" };
        notes.push(format!("no priority for {}{more}", values.join(", ")));
    }
    if source.conflicts > 0 {
        let keys = if source.conflicts == 1 { "key has" } else { "keys have" };
        notes.push(format!("{} {keys} two employees", count(source.conflicts)));
    }
    notes
}

fn next(source: &SourceStatus, now: Instant) -> String {
    match source.next_attempt.map(|at| at.saturating_duration_since(now).as_secs()) {
        None | Some(0) => "being fetched".to_owned(),
        Some(seconds) => format!("next attempt in {}", duration(seconds as f64)),
    }
}
