//! The task that turns successive snapshots into events, and what its clients share.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::event::{self, Reset};
use super::ring::{MAX_BURST_BYTES, MAX_BURST_EVENTS, Ring};
use super::streams::{StreamPermit, StreamRefused, Streams};
use crate::background::spawn_cpu_bound;
use crate::delta::{Baseline, SourceDelta};
use crate::render::Filter;
use crate::snapshot::{Freshness, Snapshot, View};

/// How often the states of the sources are compared apart from publications: data becomes stale
/// without one.
const STATES_INTERVAL: Duration = Duration::from_secs(1);

/// The largest event; a refresh that adds a larger one is sent as one `reset`.
const MAX_EVENT_BYTES: usize = 256 << 10;

/// The events and the subscriptions to them. Events are made whether or not anybody is subscribed,
/// so that clients can resume for as long as the ring reaches back.
pub(in crate::http) struct Feed {
    streams: Arc<Streams>,
    /// Tells this process's event ids from those of every other process.
    generation: u64,
    ring: Mutex<Ring>,
    /// Notified when there are new events.
    changed: watch::Sender<()>,
}

/// What a client reads from.
pub(super) struct Subscription {
    pub(super) permit: StreamPermit,
    pub(super) changed: watch::Receiver<()>,
    pub(super) generation: u64,
    /// The number of the event after which the client goes on.
    pub(super) number: u64,
    /// Why the client must read the documents again first.
    pub(super) reset: Option<Reset>,
}

impl Feed {
    /// Starts the task that makes events of `snapshots`; it ends with their sender. At most
    /// `max_streams` clients read at once.
    pub(in crate::http) fn start(
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        max_streams: usize,
    ) -> Arc<Self> {
        let feed = Arc::new(Self {
            streams: Streams::new(max_streams),
            generation: fastrand::u64(..),
            ring: Mutex::new(Ring::new()),
            changed: watch::Sender::new(()),
        });
        let last_seen = LastSeen::new(&snapshots.borrow_and_update(), Instant::now());
        tokio::spawn(Arc::clone(&feed).run(snapshots, last_seen));
        feed
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Every change of the ring is whole before anything can panic.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subscription from the event with the id `last` on, or from the newest.
    pub(super) fn subscribe(
        &self,
        last: Option<&str>,
        peer: Option<IpAddr>,
    ) -> Result<Subscription, StreamRefused> {
        let permit = self.streams.permit(peer)?;
        let changed = self.changed.subscribe();
        let ring = self.ring();
        let newest = ring.newest();
        let (number, reset) = match last.map(event::read_id) {
            None => (newest, None),
            Some(Some((generation, number))) if generation == self.generation => {
                if ring.reaches_back_to(number) {
                    (number, None)
                } else {
                    (newest, Some(Reset::Gone))
                }
            }
            Some(_) => (newest, Some(Reset::Unknown)),
        };
        Ok(Subscription { permit, changed, generation: self.generation, number, reset })
    }

    /// Events after `number`, about `bytes` of them, and the number of the last; `None` when some
    /// are gone.
    pub(super) fn after(&self, number: u64, bytes: usize) -> Option<(Vec<u8>, u64)> {
        self.ring().after(number, bytes)
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
                // It panicked and would do so again, so that this view becomes the baseline.
                Err(_) => {
                    last_seen.records = Baseline::new(last_seen.records.sources());
                    Err(Reset::Lost)
                }
            };
            self.publish(events.unwrap_or_else(|reset| vec![reset.event()]));
        }
    }

    fn publish(&self, events: Vec<Bytes>) {
        if events.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for event in events {
            ring.push(|number| event::with_id(self.generation, number, &event));
        }
        drop(ring);
        self.changed.send_replace(());
    }
}

/// What was known when the last events were made.
struct LastSeen {
    records: Baseline,
    /// The state of each source, identities first.
    states: Vec<Freshness>,
}

impl LastSeen {
    fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let states = snapshot.sources.iter().map(|source| snapshot.freshness(source, now));
        let mut records = Baseline::new(snapshot.view.names().len());
        records.advance(&snapshot.view);
        Self { records, states: states.collect() }
    }

    fn state_events(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Bytes> {
        let mut events = Vec::new();
        for (source, last) in snapshot.sources.iter().zip(&mut self.states) {
            let state = snapshot.freshness(source, now);
            if std::mem::replace(last, state) != state {
                events.push(event::source(source, state, snapshot.completeness(now)));
            }
        }
        events
    }
}

/// The events of all records that were added, in the order of the sources, then upstream order. A
/// source's first batch has none.
fn incident_events(view: &View, deltas: &[SourceDelta]) -> Result<Vec<Bytes>, Reset> {
    let deltas = deltas.iter().filter(|delta| !delta.is_first);
    let added: HashSet<(usize, usize)> =
        deltas.flat_map(|delta| delta.added.iter().map(|&record| (delta.source, record))).collect();
    if added.len() > MAX_BURST_EVENTS {
        return Err(Reset::TooMany);
    }
    // The joined view knows an employee's records by where they stand in the body.
    let mut by_start: HashMap<(usize, u32), usize> = HashMap::with_capacity(added.len());
    for &(source, record) in &added {
        if let Some(batch) = &view.batches()[source] {
            by_start.insert((source, batch.records()[record].members_span().start), record);
        }
    }
    let mut events = Vec::with_capacity(added.len());
    let mut bytes = 0;
    let mut push = |source: usize, record: usize, event: Bytes| {
        bytes += event.len();
        let is_too_large = event.len() > MAX_EVENT_BYTES || bytes > MAX_BURST_BYTES;
        events.push(((source, record), event));
        if is_too_large { Err(Reset::TooMany) } else { Ok(()) }
    };
    if !added.is_empty() {
        for employee in view.index().employees() {
            for (priority, incident) in Filter::default().incidents(&employee) {
                let source = incident.source();
                if let Some(record) = by_start.get(&(source, incident.members_span().start)) {
                    let event = event::incident(view, employee.id, priority, incident);
                    push(source, *record, event)?;
                }
            }
        }
        for item in view.index().unattributed() {
            if added.contains(&(item.source(), item.record())) {
                push(item.source(), item.record(), event::unattributed(view, *item))?;
            }
        }
    }
    events.sort_by_key(|(place, _)| *place);
    Ok(events.into_iter().map(|(_, event)| event).collect())
}
