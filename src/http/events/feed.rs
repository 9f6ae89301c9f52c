//! The feed: a task that turns successive snapshots into events, and the state that it shares with
//! its clients.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::burst::incident_events;
use super::event::{self, Event, Reset};
use super::reader::{IdSecrets, Reader};
use super::ring::Ring;
use super::streams::{StreamPermit, StreamRefused, Streams};
use crate::background::spawn_cpu_bound;
use crate::delta::Baseline;
use crate::http::visibility::Visibility;
use crate::snapshot::{Freshness, Snapshot};
use crate::sources::SourceId;

/// How often the states of the sources are compared in addition to each publication: data becomes
/// stale without one.
const STATES_INTERVAL: Duration = Duration::from_secs(1);

/// The recent events and the streams that read them. Events are made even if no stream is open, so
/// that clients can resume as long as the ring still has their position.
pub(in crate::http) struct Feed {
    streams: Arc<Streams>,
    secrets: IdSecrets,
    /// Its ids are written for this reader, who sees everything.
    ring_reader: Reader,
    ring: Mutex<Ring>,
    /// Notified when there are new events.
    changed: watch::Sender<()>,
}

/// A client's access to the feed.
pub(super) struct Subscription {
    pub(super) permit: StreamPermit,
    pub(super) changed: watch::Receiver<()>,
    pub(super) reader: Reader,
    /// The number of the event after which the client starts.
    pub(super) number: u64,
    /// Why the client must reload the documents first, if it must.
    pub(super) reset: Option<Reset>,
}

impl Feed {
    /// Starts the task that makes events from `snapshots`; it ends when their sender is dropped. At
    /// most `max_streams` clients can subscribe at once. `generation` must be greater than those of
    /// earlier processes; event ids begin with it.
    pub(in crate::http) fn start(
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        max_streams: usize,
        generation: u64,
    ) -> Arc<Self> {
        let secrets = IdSecrets::new(generation);
        let feed = Arc::new(Self {
            streams: Streams::new(max_streams),
            ring_reader: secrets.reader(&Visibility::Everything),
            secrets,
            ring: Mutex::new(Ring::new()),
            changed: watch::Sender::new(()),
        });
        let last_seen = LastSeen::new(&snapshots.borrow_and_update(), Instant::now());
        tokio::spawn(Arc::clone(&feed).run(snapshots, last_seen));
        feed
    }

    /// Changes how many clients can be subscribed at once. Those that are stay, even if they are
    /// more.
    pub(in crate::http) fn set_max_streams(&self, max_streams: usize) {
        self.streams.set_max(max_streams);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // No change can be interrupted half-way by a panic.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes a client at `peer`, who may see `visibility`, to the events after the one with
    /// the id `last_id`, or after the newest.
    pub(super) fn subscribe(
        &self,
        visibility: &Visibility,
        last_id: Option<&str>,
        peer: Option<IpAddr>,
    ) -> Result<Subscription, StreamRefused> {
        let permit = self.streams.permit(peer)?;
        let changed = self.changed.subscribe();
        let ring = self.ring();
        let newest = ring.newest();
        let reader = self.secrets.reader(visibility);
        let (number, reset) = match last_id.map(|id| reader.parse_id(id)) {
            None => (newest, None),
            Some(Some(number)) if ring.reaches_back_to(number) => (number, None),
            Some(Some(_)) => (newest, Some(Reset::Gone)),
            Some(None) => (newest, Some(Reset::Unknown)),
        };
        Ok(Subscription { permit, changed, reader, number, reset })
    }

    /// See [`Ring::after`].
    pub(super) fn after(
        &self,
        number: u64,
        target_bytes: usize,
        reader: &Reader,
    ) -> Option<(Vec<u8>, u64)> {
        self.ring().after(number, target_bytes, reader)
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.ring().newest()
    }

    async fn run(
        self: Arc<Self>,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut last_seen: LastSeen,
    ) {
        let mut states = interval(STATES_INTERVAL);
        states.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                _ = states.tick() => {}
            }
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.publish(last_seen.state_events(&snapshot, Instant::now()));
            if !last_seen.records.differs_from(&snapshot.view) {
                continue;
            }
            let (view, mut records) = (Arc::clone(&snapshot.view), last_seen.records.clone());
            drop(snapshot);
            let made = spawn_cpu_bound(move || {
                let events = incident_events(&view, &records.advance(&view));
                (records, events)
            });
            let events = match made.await {
                Ok((records, events)) => {
                    last_seen.records = records;
                    events
                }
                // It panicked, and would panic again. With an empty baseline, the next comparison
                // makes no events and takes the batches of its view as the new baseline.
                Err(_) => {
                    last_seen.records = Baseline::default();
                    vec![Reset::Lost.event()]
                }
            };
            self.publish(events);
        }
    }

    fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for event in events {
            ring.push(event, |number| self.ring_reader.id(number));
        }
        drop(ring);
        self.changed.send_replace(());
    }
}

/// The state of the data when the last events were made.
struct LastSeen {
    records: Baseline,
    /// The state of each source, by its name.
    states: BTreeMap<Arc<str>, SourceSeen>,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct SourceSeen {
    state: Freshness,
    /// The definition under which its data was fetched; always the same for identity tables.
    revision: u64,
}

impl LastSeen {
    fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let mut records = Baseline::default();
        records.advance(&snapshot.view);
        Self { records, states: seen(snapshot, now) }
    }

    /// The events for sources whose state has changed, whose data was replaced by that of another
    /// definition, and which a reload has added or dropped. One that is dropped has no data.
    fn state_events(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Event> {
        let completeness = snapshot.completeness(now);
        let states = seen(snapshot, now);
        let before = std::mem::replace(&mut self.states, states);
        let dropped = before.keys().filter(|name| !self.states.contains_key(*name));
        let dropped =
            dropped.map(|name| event::source(name, Freshness::Missing, None, completeness));
        let changed = snapshot.sources.iter().filter_map(|source| {
            let seen = self.states[&source.name];
            (before.get(&source.name) != Some(&seen)).then(|| {
                let error = source.last_error.as_ref().map(|error| error.kind);
                event::source(&source.name, seen.state, error, completeness)
            })
        });
        dropped.chain(changed).collect()
    }
}

fn seen(snapshot: &Snapshot, now: Instant) -> BTreeMap<Arc<str>, SourceSeen> {
    let seen = snapshot.sources.entries().map(|(id, source)| {
        let revision = match id {
            SourceId::Table(_) => None,
            SourceId::Incidents(index) => snapshot.view.revisions().get(index).copied(),
        };
        let revision = revision.unwrap_or_default();
        (Arc::clone(&source.name), SourceSeen { state: source.freshness(now), revision })
    });
    seen.collect()
}

#[cfg(test)]
mod tests;
