//! Whatever happens, no record is lost or counted twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::faults::delete_expired;
use super::target::{Answer, Outlet, Target};
use super::{Process, add, forward, stored};
use crate::config::{Batch, Forward, Rate, Selection};
use crate::store::testing::MemoryStore;
use crate::store::{DueRange, KeptUp, Role, Store as _, StoreError};

const EMPLOYEES: [&str; 3] = ["10001", "10002", "10003"];

/// What happened to the records, by their numbers.
#[derive(Debug, Default)]
struct History {
    /// Those that the forward was to send.
    selected: BTreeSet<i64>,
    /// Those that were forgotten or got another number, and were perhaps sent before.
    gone: BTreeSet<i64>,
    /// Those that were gone or deleted when they were done, but not stored as that.
    done: BTreeSet<i64>,
    /// Those that were deleted before they were done.
    expired: BTreeSet<i64>,
    /// Dead letters that were deleted.
    deleted_letters: Vec<i64>,
}

struct World {
    random: fastrand::Rng,
    store: Arc<MemoryStore>,
    target: Arc<Target>,
    forward: Forward,
    history: History,
    leader: Process,
    /// A process that follows, or does not know that it is the leader no more.
    other: Option<Process>,
    forgets: bool,
}

impl World {
    async fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (store, target) = (MemoryStore::new(), Target::new());
        let max_wait = Duration::from_millis([0, 0, 500, 8000][random.usize(..4)]);
        let max_bytes = [1 << 20, 100][random.usize(..2)];
        let batch = Batch { max_records: random.usize(1..12), max_bytes, max_wait };
        let rate = random.bool().then_some(Rate { requests: 5, per: Duration::from_secs(1) });
        let select = Selection { unattributed: random.bool(), ..Selection::default() };
        let forward = Forward { select, batch, rate, ..forward("siem") };
        target.delay(Duration::from_millis(random.u64(0..1500)));
        let answer = if random.bool() { answer_for_batch } else { answer_for_items };
        target.randomize(Some((random.fork(), answer)));
        let leader = Process::leader(&store, forward.clone(), &target).await;
        let (history, forgets) = (History::default(), random.bool());
        Self { random, store, target, forward, history, leader, other: None, forgets }
    }

    fn outlets(&self) -> Vec<Arc<Outlet>> {
        vec![Outlet::new(self.forward.clone(), &self.target)]
    }

    async fn step(&mut self) {
        match self.random.u32(..20) {
            0..=6 => self.add_records(),
            7 => self.attribute().await,
            8..=9 => self.expire().await,
            10 if self.forgets => self.forget().await,
            11 => self.leader = self.start().await,
            12 => {
                let next = self.start().await;
                let former = std::mem::replace(&mut self.leader, next);
                if self.random.bool() {
                    former.set_role(Role::Follower { kept_up: KeptUp::default() });
                }
                self.other = Some(former);
            }
            13 => {
                let failure = StoreError::Unavailable("the disk is full".to_owned());
                self.store.fail(Some(failure));
            }
            14 => self.store.lose_answers(true),
            15 => self.store.hang(true),
            _ => self.heal(),
        }
        sleep(Duration::from_millis(self.random.u64(0..4000))).await;
        self.check_counts();
    }

    fn heal(&self) {
        self.store.fail(None);
        self.store.lose_answers(false);
        self.store.hang(false);
    }

    async fn start(&mut self) -> Process {
        self.heal();
        let process = Process::start(&self.store, self.outlets());
        process.lead(&self.store).await;
        // What is done and not stored is not known any more.
        let position = stored(&self.store, "siem").position;
        let unknown = self.history.done.split_off(&(position + 1));
        self.history.gone.extend(unknown);
        process
    }

    fn add_records(&mut self) {
        for _ in 0..self.random.usize(..15) {
            let employee_id = EMPLOYEES.get(self.random.usize(..4)).copied();
            let number = add(&self.store, 1, employee_id)[0];
            if employee_id.is_some() || self.forward.select.unattributed {
                self.history.selected.insert(number);
            }
            if self.random.u32(..20) == 0 {
                self.target.poison([number]);
            }
        }
        self.leader.note_write();
    }

    /// A record gets its employee, and with it a new number.
    async fn attribute(&mut self) {
        self.heal();
        let (position, done) = self.done().await;
        let now = self.store.now();
        let mut memory = self.store.memory();
        let mut rows: Vec<_> = memory.records.values().cloned().collect();
        rows.retain(|row| row.record.employee_id.is_none());
        // Rather one that waits for others.
        let waiting = rows.iter().position(|row| done.contains(&row.number));
        let found = waiting.or_else(|| (!rows.is_empty()).then(|| self.random.usize(..rows.len())));
        let Some(mut row) = found.map(|found| rows.swap_remove(found)) else { return };
        row.record.employee_id = Some(EMPLOYEES[0].into());
        memory.upsert("denial", row.record, now);
        let new = memory.last_number;
        drop(memory);
        self.note_gone(position, &done, [row.number]);
        self.history.selected.insert(new);
        self.leader.note_write();
    }

    /// The position, and the records behind it that are done.
    async fn done(&self) -> (i64, BTreeSet<i64>) {
        let deletion = self.leader.handle.claims().deleting().await;
        let done = deletion.claims[0].done.iter().copied();
        (stored(&self.store, "siem").position, done.collect())
    }

    fn note_gone(
        &mut self,
        position: i64,
        done: &BTreeSet<i64>,
        gone: impl IntoIterator<Item = i64>,
    ) {
        for number in gone {
            if number > position && self.history.selected.contains(&number) {
                let History { done: is_done, gone, .. } = &mut self.history;
                if done.contains(&number) {
                    is_done.insert(number)
                } else {
                    gone.insert(number)
                };
            }
        }
    }

    fn numbers(&self) -> BTreeSet<i64> {
        self.store.memory().records.values().map(|row| row.number).collect()
    }

    fn letters(&self) -> Vec<i64> {
        self.store.memory().dead_letters.iter().map(|(_, letter, _)| letter.number).collect()
    }

    fn note_deleted_letters(&mut self, before: &[i64]) {
        let after = self.letters();
        let deleted = before.iter().filter(|number| !after.contains(number));
        self.history.deleted_letters.extend(deleted);
    }

    async fn expire(&mut self) {
        self.heal();
        for row in self.store.memory().records.values_mut() {
            if self.random.u32(..8) == 0 {
                row.last_seen = Some(std::time::SystemTime::UNIX_EPOCH);
            }
        }
        let (before, letters) = (self.numbers(), self.letters());
        let (position, done) = self.done().await;
        delete_expired(&self.store, &self.leader).await;
        let after = self.numbers();
        for number in before.difference(&after).filter(|number| **number > position) {
            if done.contains(number) {
                self.history.done.insert(*number);
            } else if self.history.selected.contains(number) {
                self.history.expired.insert(*number);
            }
        }
        self.note_deleted_letters(&letters);
    }

    async fn forget(&mut self) {
        self.heal();
        let (before, letters) = (self.numbers(), self.letters());
        let employee_id = EMPLOYEES[self.random.usize(..3)];
        let (position, done) = self.done().await;
        self.store.forget(employee_id).await.unwrap();
        let after = self.numbers();
        self.note_gone(position, &done, before.difference(&after).copied());
        self.note_deleted_letters(&letters);
    }

    /// Each record is sent, a dead letter, or due, or is gone and was perhaps sent.
    fn check_counts(&self) {
        let stored = stored(&self.store, "siem");
        let range = DueRange {
            after: stored.position,
            start: None,
            selection: self.forward.select.clone(),
        };
        let due = self.store.memory().all_due(&range).len() as u64;
        let counted = stored.sent + stored.dead_letters + due;
        let selected = self.history.selected.len() as u64;
        let History { gone, done, .. } = &self.history;
        let uncounted = gone.len() + done.range(stored.position + 1..).count();
        assert!(
            counted <= selected && selected <= counted + uncounted as u64,
            "{stored:?} {due} {selected} {uncounted}"
        );
    }

    async fn check(mut self) {
        self.other = None;
        self.heal();
        if self.random.bool() {
            self.leader = self.start().await;
        }
        self.target.randomize(None);
        // A store that was slow is read seldom.
        sleep(Duration::from_mins(10)).await;
        let status = self.leader.idle().await;
        self.check_counts();
        let stored = stored(&self.store, "siem");
        let done = self.history.done.last().copied().unwrap_or_default();
        assert!(stored.position >= done, "{stored:?} {done}");
        assert_eq!((status.sent, status.dead_letters), (stored.sent, stored.dead_letters));
        let (taken, poison) = (self.target.taken(), self.target.poisoned());
        let mut letters = self.letters();
        letters.extend(&self.history.deleted_letters);
        letters.sort_unstable();
        assert!(letters.windows(2).all(|pair| pair[0] < pair[1]), "{letters:?}");
        assert!(letters.iter().all(|number| poison.contains(number)));
        let taken_once: BTreeSet<i64> = taken.iter().copied().collect();
        assert!(taken_once.is_disjoint(&poison) && taken_once.is_subset(&self.history.selected));
        for number in &self.history.selected {
            let is_gone =
                self.history.gone.contains(number) || self.history.expired.contains(number);
            let has_arrived = if poison.contains(number) {
                letters.contains(number)
            } else {
                taken_once.contains(number)
            };
            assert!(
                has_arrived || is_gone,
                "record {number} was lost: {stored:?} {:?} {:?} {letters:?} {:?}",
                self.target.batches(),
                poison,
                self.history,
            );
        }
        if !self.forgets {
            let dead_letters = letters.len() + self.history.expired.len();
            assert_eq!(stored.dead_letters, dead_letters as u64);
        }
        // Records are first sent in their order, and single items are the only ones that are
        // accepted in another order.
        let batches = self.target.batches().concat();
        assert!(is_ascending(&first_occurrences(&batches)), "{batches:?}");
    }
}

fn first_occurrences(numbers: &[i64]) -> Vec<i64> {
    let mut seen = BTreeSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

fn is_ascending(numbers: &[i64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn answer_for_batch(random: &mut fastrand::Rng, _: &[i64]) -> Answer {
    match random.u32(..16) {
        0 => Answer::Lost,
        1 => Answer::Failed(None),
        2 => Answer::Failed(Some(random.u64(..20))),
        3 => Answer::TooLarge(random.usize(1..5)),
        4 => Answer::Hang,
        5 => Answer::Overwhelmed(random.usize(1..5)),
        _ => Answer::Honest,
    }
}

fn answer_for_items(random: &mut fastrand::Rng, numbers: &[i64]) -> Answer {
    match random.u32(..10) {
        0 => answer_for_batch(random, numbers),
        1 => Answer::WrongItems(random.usize(1..20)),
        2..=4 => {
            let mut status = |number: &i64| (*number, [201, 201, 429, 503][random.usize(..4)]);
            Answer::Items(numbers.iter().map(&mut status).collect())
        }
        _ => Answer::Items(Vec::new()),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_everything_is_counted_once() {
    for seed in 0..200 {
        let mut world = World::new(seed).await;
        for _ in 0..world.random.usize(20..80) {
            world.step().await;
        }
        world.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn first_deliveries_are_in_order() {
    for seed in 0..50 {
        let mut world = World::new(seed).await;
        world.target.randomize(Some((fastrand::Rng::with_seed(seed), answer_for_batch)));
        for _ in 0..40 {
            world.step().await;
        }
        let target = Arc::clone(&world.target);
        world.check().await;
        assert!(is_ascending(&first_occurrences(&target.taken())));
    }
}
