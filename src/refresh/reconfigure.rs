//! Changes the sources of a running refresh, after a reload of the configuration.
//!
//! A source is known by its name. An identity table has only the name of its position, so a table
//! is first looked for by its definition.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::CallInFlight;
use super::fetcher::Fetcher;
use super::settings::{Settings, SourceSettings};
use super::source_state::SourceState;
use super::{Interval, Refresh};
use crate::cache::Cache;
use crate::identity::TableSlot;
use crate::sources::{PerSource, SourceId};

/// What a running refresh is to fetch from now on, how, and where its views are rendered.
pub struct Reconfiguration {
    /// Fetches the sources of `settings`.
    pub fetcher: Arc<dyn Fetcher>,
    /// The cache that requests use from now on.
    pub cache: Arc<Cache>,
    /// The new settings.
    pub settings: Settings,
}

/// Reconfigures a refresh. Clones are handles of the same refresh.
#[derive(Clone, Default)]
pub struct RefreshHandle(Arc<watch::Sender<Option<Reconfiguration>>>);

impl RefreshHandle {
    /// Requests a reconfiguration, in place of one that has not been applied yet.
    pub fn reconfigure(&self, reconfiguration: Reconfiguration) {
        self.0.send_replace(Some(reconfiguration));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Reconfiguration>> {
        self.0.subscribe()
    }

    /// Takes the newest, if it was not taken yet.
    pub(super) fn take(&self) -> Option<Reconfiguration> {
        let mut newest = None;
        self.0.send_if_modified(|reconfiguration| {
            newest = reconfiguration.take();
            false
        });
        newest
    }
}

/// What a source was before a reconfiguration.
#[derive(Clone, Copy, Debug)]
struct Previous {
    source: SourceId,
    /// Whether it has the same definition.
    is_unchanged: bool,
}

impl Refresh {
    /// Adopts other sources. Those that are new or changed are due at once, and calls of those that
    /// are changed or gone are cancelled. There must be no publication under way.
    pub(super) async fn reconfigure(&mut self, reconfiguration: Reconfiguration) {
        debug_assert!(self.publication.is_none());
        let Reconfiguration { fetcher, cache, settings } = reconfiguration;
        self.fetcher = fetcher;
        let tables_before = self.table_slots();
        let previous = previous(&self.sources, &settings.sources);
        self.log_changes(&settings.sources, &previous);
        let periods = self.replace_sources(&settings, &previous);
        self.keep_calls(&previous, &periods);
        self.take_heads_of_outdated();
        self.fetcher.activate();
        let names = settings.sources.incidents().iter().map(|source| Arc::clone(&source.name));
        let names: Arc<[Arc<str>]> = names.collect();
        let is_view_current = self.names == names
            && self.fields == settings.fields
            && are_same(&tables_before, &self.table_slots());
        (self.names, self.fields) = (names, settings.fields);
        if is_view_current {
            self.publish_statuses();
        } else {
            // A view that is due already is one of other sources now.
            self.unpublished.clear();
            self.reconfigured_at.get_or_insert_with(Instant::now);
        }
        self.adopt_cache(cache).await;
    }

    /// Returns the period of each unchanged source that has another interval.
    fn replace_sources(
        &mut self,
        settings: &Settings,
        previous: &PerSource<Option<Previous>>,
    ) -> PerSource<Option<Duration>> {
        let now = Instant::now();
        let snapshot = Arc::clone(&self.snapshots.borrow());
        self.had_data |= snapshot.has_had_data();
        let has_new_ttl = self.ttl != settings.ttl;
        let old_schedule = self.schedule.clone();
        self.ttl = settings.ttl;
        self.max_store_wait = settings.max_store_wait;
        self.schedule.set_ttl(settings.ttl);
        if has_new_ttl {
            self.round.period = self.schedule.period(Interval::Ttl);
        }
        let round_period = self.round.period;
        let old_sources = std::mem::replace(&mut self.sources, PerSource::new([], []));
        let mut old = old_sources.map_into(Some);
        let mut periods = settings.sources.map(|_, _| None);
        let mut states = settings.sources.map(|id, source| {
            let Some(Previous { source: before, is_unchanged }) = previous[id] else {
                self.last_revision += 1;
                return SourceState::new(source, self.last_revision, now);
            };
            let mut state = old[before].take().expect("each source is matched at most once");
            state.update_statuses(source);
            if !is_unchanged {
                self.last_revision += 1;
                state.redefine(source, self.last_revision, now);
            } else if old_schedule.length(state.interval) == self.schedule.length(source.interval) {
                state.interval = source.interval;
            } else {
                let period = match source.interval {
                    Interval::Ttl => round_period,
                    interval @ Interval::Every(_) => self.schedule.period(interval),
                };
                periods[id] = Some(period);
                state.reschedule(&mut self.schedule, source.interval, period, now);
            }
            state
        });
        let has_data = states.incidents().iter().any(|state| state.batch().is_some());
        let is_awaited = snapshot.is_loading() || !has_data;
        for (id, state) in states.ids().zip(&mut states) {
            if previous[id].is_none() {
                state.set_awaited(is_awaited);
            }
        }
        self.sources = states;
        periods
    }

    /// Cancels the calls of sources that are changed or gone. The next call after one that goes on
    /// is due by the new period of its source, if it has one.
    fn keep_calls(
        &mut self,
        previous: &PerSource<Option<Previous>>,
        periods: &PerSource<Option<Duration>>,
    ) {
        let kept = |mut in_flight: CallInFlight| {
            let was = in_flight.call.source;
            let is_of = |now: &Option<Previous>| {
                now.is_some_and(|now| now.is_unchanged && now.source == was)
            };
            let source = previous.ids().find(|id| is_of(&previous[*id]))?;
            in_flight.call.source = source;
            if let Some(period) = periods[source] {
                in_flight.call.period = period;
            }
            Some(in_flight)
        };
        let calls = std::mem::take(&mut self.calls);
        let calls: FuturesUnordered<CallInFlight> = calls.into_iter().filter_map(kept).collect();
        self.round.calls = calls.iter().filter(|in_flight| in_flight.call.is_in_round).count();
        self.calls = calls;
    }

    async fn adopt_cache(&mut self, cache: Arc<Cache>) {
        if Arc::ptr_eq(&self.cache, &cache) {
            return;
        }
        let replaced = std::mem::replace(&mut self.cache, cache);
        // Nobody will retire views in it, so it keeps none.
        replaced.retire_before(u64::MAX).await;
        let published = self.snapshots.borrow().view.id();
        self.cache.retire_before(published).await;
    }

    fn log_changes(
        &self,
        settings: &PerSource<SourceSettings>,
        previous: &PerSource<Option<Previous>>,
    ) {
        let of = |is_in: &dyn Fn(&Option<Previous>) -> bool| -> Vec<&str> {
            let entries = previous.entries().filter(|(_, previous)| is_in(previous));
            entries.map(|(id, _)| &*settings[id].name).collect()
        };
        let added = of(&|previous| previous.is_none());
        let changed = of(&|previous| previous.is_some_and(|previous| !previous.is_unchanged));
        let is_kept =
            |source: SourceId| previous.iter().flatten().any(|previous| previous.source == source);
        let dropped = self.sources.entries().filter(|(id, _)| !is_kept(*id));
        let dropped: Vec<&str> = dropped.map(|(_, state)| &*state.newest().name).collect();
        tracing::info!(
            added = added.join(" "),
            changed = changed.join(" "),
            dropped = dropped.join(" "),
            "sources reconfigured"
        );
    }
}

/// What each source was before; `None` for a new one.
fn previous(
    before: &PerSource<SourceState>,
    after: &PerSource<SourceSettings>,
) -> PerSource<Option<Previous>> {
    let mut taken = before.map(|_, _| false);
    let mut found = after.map(|_, _| None);
    // First all that are unchanged, so that none of them is taken for a change of another.
    for is_unchanged in [true, false] {
        for (id, settings) in after.entries() {
            if found[id].is_some() {
                continue;
            }
            let mut candidates: Vec<(SourceId, &SourceState)> = before
                .entries()
                .filter(|(source, _)| is_table(*source) == is_table(id) && !taken[*source])
                .collect();
            // Of two equal tables each keeps its own data.
            candidates.sort_by_key(|(source, _)| *source != id);
            let is_previous = |state: &SourceState| {
                let has_name = state.newest().name == settings.name;
                if is_unchanged {
                    (has_name || is_table(id)) && *state.definition() == settings.definition
                } else {
                    has_name
                }
            };
            let previous = candidates.into_iter().find(|(_, state)| is_previous(state));
            if let Some((source, _)) = previous {
                taken[source] = true;
                found[id] = Some(Previous { source, is_unchanged });
            }
        }
    }
    found
}

fn is_table(source: SourceId) -> bool {
    matches!(source, SourceId::Table(_))
}

/// Whether identities are resolved alike.
fn are_same(before: &[TableSlot], after: &[TableSlot]) -> bool {
    let is_same = |(one, other): (&TableSlot, &TableSlot)| {
        let is_same_table = match (&one.table, &other.table) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        one.kinds == other.kinds && is_same_table
    };
    before.len() == after.len() && before.iter().zip(after).all(is_same)
}
