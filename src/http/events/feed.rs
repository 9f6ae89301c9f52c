//! The task that turns successive snapshots into events, and what its clients share.
//!
//! It runs from the first client's coming until a while after the last one's going, so that a
//! gateway whose events nobody reads spends nothing on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::added::added;
use super::event::{self, Reset};
use super::ring::{MAX_BURST_BYTES, MAX_BURST_EVENTS, Ring};
use crate::decode::Incidents;
use crate::snapshot::{Freshness, Snapshot, View};

/// The most clients at once.
pub(super) const MAX_CLIENTS: usize = 256;

/// For how long events are kept, and new ones made, after the last client has gone: it may come
/// back for them.
const KEPT_FOR: Duration = Duration::from_mins(5);

/// How often the states of sources are looked at beside each publication: data grows stale by
/// itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Events, and who reads them.
pub(in crate::http) struct Feed {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    places: Arc<Semaphore>,
    state: Mutex<State>,
    /// Changes when there are new events.
    news: watch::Sender<()>,
}

struct State {
    running: bool,
    /// Tells this run of the task from every other, of this process or another.
    generation: u64,
    ring: Ring,
}

/// Where a client begins to read.
pub(super) struct Seat {
    pub(super) place: OwnedSemaphorePermit,
    pub(super) news: watch::Receiver<()>,
    pub(super) generation: u64,
    pub(super) number: u64,
    /// Why the client must read the whole again first.
    pub(super) reset: Option<Reset>,
}

impl Feed {
    pub(in crate::http) fn new(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        let state = State { running: false, generation: fastrand::u64(..), ring: Ring::new() };
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        Self { snapshots, places, state: Mutex::new(state), news: watch::Sender::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to read from: after the event of that id, or after the newest. `None` when all
    /// places are taken.
    pub(super) fn join(self: &Arc<Self>, last: Option<&str>) -> Option<Seat> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let news = self.news.subscribe();
        let mut state = self.state();
        if !state.running {
            state.running = true;
            let mut snapshots = self.snapshots.clone();
            let known = Known::new(&snapshots.borrow_and_update(), Instant::now());
            tokio::spawn(Arc::clone(self).run(snapshots, known));
        }
        let newest = state.ring.newest();
        let wanted = last.map(event::read_id);
        let (number, reset) = match wanted {
            None => (newest, None),
            Some(Some((generation, number))) if generation == state.generation => {
                if state.ring.reaches_back_to(number) {
                    (number, None)
                } else {
                    (newest, Some(Reset::Gone))
                }
            }
            Some(_) => (newest, Some(Reset::Unknown)),
        };
        Some(Seat { place, news, generation: state.generation, number, reset })
    }

    /// Events after `number`, about `bytes` of them, and the number of the last; `None` when some
    /// are gone.
    pub(super) fn after(&self, number: u64, bytes: usize) -> Option<(Vec<u8>, u64)> {
        self.state().ring.after(number, bytes)
    }

    async fn run(self: Arc<Self>, mut snapshots: watch::Receiver<Arc<Snapshot>>, mut known: Known) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_used = Instant::now();
        loop {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                _ = look.tick() => {}
            }
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.tell(known.states_changed(&snapshot, Instant::now()));
            let view = Arc::clone(&snapshot.view);
            let news = known.batches_changed(&view);
            let events = if news.is_empty() {
                Ok(Vec::new())
            } else {
                let events = tokio::task::spawn_blocking(move || incidents(&view, news)).await;
                events.unwrap_or(Err(Reset::Lost))
            };
            self.tell(events.unwrap_or_else(|reset| vec![reset.event()]));
            if self.places.available_permits() < MAX_CLIENTS {
                last_used = Instant::now();
            } else if last_used.elapsed() > KEPT_FOR && self.stop() {
                return;
            }
        }
    }

    fn tell(&self, events: Vec<Bytes>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.state();
        let generation = state.generation;
        for event in events {
            state.ring.push(|number| event::with_id(generation, number, &event));
        }
        drop(state);
        self.news.send_replace(());
    }

    /// Lets go of everything, unless a client has come meanwhile.
    fn stop(&self) -> bool {
        let mut state = self.state();
        if self.places.available_permits() < MAX_CLIENTS {
            return false;
        }
        *state = State { running: false, generation: fastrand::u64(..), ring: Ring::new() };
        true
    }
}

/// What has been told.
struct Known {
    /// The last batch each incident source had.
    batches: Vec<Option<Arc<Incidents>>>,
    /// The state of each source, identities first.
    states: Vec<Freshness>,
}

/// A source's batch that came after another.
struct News {
    source: usize,
    before: Arc<Incidents>,
    after: Arc<Incidents>,
}

impl Known {
    fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let states = snapshot.sources.iter().map(|source| snapshot.freshness(source, now));
        Self { batches: snapshot.view.batches().to_vec(), states: states.collect() }
    }

    fn states_changed(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Bytes> {
        let mut events = Vec::new();
        for (source, known) in snapshot.sources.iter().zip(&mut self.states) {
            let state = snapshot.freshness(source, now);
            if std::mem::replace(known, state) != state {
                events.push(event::source(source, state, snapshot.completeness(now)));
            }
        }
        events
    }

    /// The sources that have another batch than the one last known. A source without any keeps the
    /// last known; one that has its first is known from now on, and all its records with it.
    fn batches_changed(&mut self, view: &View) -> Vec<News> {
        let mut news = Vec::new();
        for (source, (known, batch)) in self.batches.iter_mut().zip(view.batches()).enumerate() {
            let Some(after) = batch else { continue };
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, after)) {
                continue;
            }
            if let Some(before) = known.replace(Arc::clone(after)) {
                news.push(News { source, before, after: Arc::clone(after) });
            }
        }
        news
    }
}

/// The events of all records that the new batches add, in the order of the sources, then upstream
/// order.
fn incidents(view: &View, news: Vec<News>) -> Result<Vec<Bytes>, Reset> {
    // Records by the place of their tails, which is how the view knows them too.
    let mut new: HashMap<(usize, usize), usize> = HashMap::new();
    for News { source, before, after } in news {
        let records = added(&before, &after);
        if new.len() + records.len() > MAX_BURST_EVENTS {
            return Err(Reset::TooMany);
        }
        let place = |index: usize| after.records()[index].tail().of(after.body()).as_ptr().addr();
        new.extend(records.into_iter().map(|index| ((source, place(index)), index)));
    }
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut events = Vec::with_capacity(new.len());
    let mut bytes = 0;
    let mut note = |source: usize, tail: &[u8], make: &dyn Fn() -> Bytes| {
        if let Some(index) = new.get(&(source, tail.as_ptr().addr())) {
            let event = make();
            bytes += event.len();
            events.push(((source, *index), event));
        }
        if bytes > MAX_BURST_BYTES { Err(Reset::TooMany) } else { Ok(()) }
    };
    for employee in view.joined().employees() {
        for (priority, placed) in crate::render::Filter::default().incidents(&employee) {
            note(placed.source(), view.tail(placed), &|| {
                event::incident(view, employee.id, priority, placed)
            })?;
        }
    }
    for item in view.joined().unattributed() {
        let (_, record) = view.unattributed(item);
        note(item.source(), &record[1..], &|| event::unattributed(view, *item))?;
    }
    events.sort_by_key(|(place, _)| *place);
    Ok(events.into_iter().map(|(_, event)| event).collect())
}
