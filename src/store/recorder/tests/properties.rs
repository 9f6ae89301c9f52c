//! Random series of snapshots and faults, and an oracle for what is stored after each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::{Content, SourceWrite, Store as _, StoreError, Upsert};

/// What happens before a snapshot is published.
#[derive(Clone, Debug)]
enum Event {
    /// A source has other records: id, version and address of each.
    Records(SourceId, Vec<(u8, u8, u8)>),
    /// The table has other employees.
    Table(Vec<u8>),
    /// The table is missing, and its refresh fails.
    NoTable,
    /// Refreshes of the source fail.
    Fails(SourceId),
    /// The store fails until it was tried again.
    StoreFails(StoreError),
    /// The store writes, but its answer is lost.
    AnswerIsLost,
    /// An employee is forgotten.
    Forget(u8),
    /// The lease is lost and regained.
    NewTerm,
    /// Nothing but the time of the refresh changes.
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    let source = || prop_oneof![Just(PLAIN), Just(MAPPED)];
    let records = || prop::collection::vec((0..12_u8, 0..2_u8, 0..4_u8), 0..14);
    prop_oneof![
        8 => (source(), records()).prop_map(|(source, records)| Event::Records(source, records)),
        2 => prop::collection::vec(0..3_u8, 4).prop_map(Event::Table),
        1 => Just(Event::NoTable),
        1 => source().prop_map(Event::Fails),
        1 => Just(Event::StoreFails(StoreError::Unavailable("full".to_owned()))),
        1 => Just(Event::StoreFails(StoreError::Overloaded)),
        1 => Just(Event::AnswerIsLost),
        1 => (1..3_u8).prop_map(Event::Forget),
        1 => Just(Event::NewTerm),
        1 => Just(Event::Nothing),
    ]
}

/// What must be stored of a record: its bytes, employee, priority, time and reason.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    bytes: Vec<u8>,
    employee: Option<String>,
    priority: Option<Priority>,
    timestamp: Option<f64>,
    reason: Option<Reason>,
}

impl Row {
    fn stored(record: &Upsert) -> Self {
        Self {
            bytes: record.bytes.to_vec(),
            employee: record.employee_id.as_deref().map(str::to_owned),
            priority: record.priority,
            timestamp: record.timestamp,
            reason: record.reason,
        }
    }

    fn with_attribution_of(self, other: &Self) -> Self {
        Self { employee: other.employee.clone(), reason: other.reason, ..self }
    }
}

/// What a record is known by: its source, and its id or bytes.
type Key = (usize, Vec<u8>);

#[derive(Default)]
struct Oracle {
    /// Every record that must be stored.
    rows: BTreeMap<Key, Row>,
    /// The current records of each source, in upstream order.
    current: [Vec<Key>; 2],
    /// The records as the recorder knows them. While identities are unavailable, it does not know
    /// the attribution of a record that returns.
    known: BTreeMap<Key, Row>,
}

impl Oracle {
    /// Takes over the view of a refresh; returns how many records must be written, and how many
    /// leave.
    fn refresh(&mut self, source: usize, world: &World) -> (usize, usize) {
        let snapshot = world.snapshots.borrow();
        let view = &snapshot.view;
        let Some(batch) = &view.batches()[source] else { return (0, 0) };
        let mut now = Vec::new();
        let mut changed = BTreeSet::new();
        for (index, record) in batch.records().iter().enumerate() {
            let key = batch.id_key(index).unwrap_or_else(|| batch.raw(record)).to_vec();
            let key = (source, key);
            let mut employees = view.index().employees();
            let employee = employees.find(|employee| {
                employee.groups.into_iter().flatten().any(|incident| {
                    incident.source() == source && incident.members_span() == record.members_span()
                })
            });
            let mut unattributed = view.index().unattributed().iter();
            let reason = unattributed
                .find(|item| item.source() == source && item.record() == index)
                .map(|item| item.reason);
            let row = Row {
                bytes: batch.bytes(record).to_vec(),
                employee: employee.map(|employee| employee.id.to_owned()),
                priority: record.priority(),
                timestamp: Some(record.timestamp()).filter(|time| !time.is_nan()),
                reason,
            };
            let keeps = reason == Some(Reason::IdentitiesUnavailable);
            let with_old = |rows: &BTreeMap<Key, Row>| match rows.get(&key) {
                Some(before) if keeps => row.clone().with_attribution_of(before),
                _ => row.clone(),
            };
            let (known, stored) = (with_old(&self.known), with_old(&self.rows));
            if self.known.get(&key) != Some(&known) {
                changed.insert(key.clone());
            }
            self.known.insert(key.clone(), known);
            self.rows.insert(key.clone(), stored);
            now.push(key);
        }
        let mut left = std::mem::replace(&mut self.current[source], now);
        left.sort_unstable();
        left.dedup();
        left.retain(|key| !self.current[source].contains(key));
        for key in &left {
            self.known.remove(key);
        }
        (changed.len(), left.len())
    }

    /// What is stored of a source was read again.
    fn read_again(&mut self, source: usize) {
        let rows = &self.rows;
        let keys = self.current[source].iter();
        self.known.retain(|(of, _), _| *of != source);
        self.known.extend(keys.filter_map(|key| Some((key.clone(), rows.get(key)?.clone()))));
    }

    /// All that is stored was read again.
    fn read_all_again(&mut self) {
        (0..2).for_each(|source| self.read_again(source));
    }

    fn forget(&mut self, employee: &str) {
        self.rows.retain(|_, row| row.employee.as_deref() != Some(employee));
        let rows = &self.rows;
        self.current.iter_mut().for_each(|keys| keys.retain(|key| rows.contains_key(key)));
    }
}

/// How many records were written, and how many left, in the writes from `first` on.
fn written(world: &World, first: usize) -> (usize, usize) {
    let memory = world.store.memory();
    let changes = memory.writes[first..].iter().filter_map(|write| match &write.content {
        Some(Content::Records(changes)) => Some((changes.upserts.len(), changes.left.len())),
        _ => None,
    });
    changes.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

fn check(world: &World, oracle: &Oracle) -> Result<(), TestCaseError> {
    let memory = world.store.memory();
    for (source, name) in ["plain", "mapped"].into_iter().enumerate() {
        let stored: Vec<Row> =
            memory.current(name).iter().map(|row| Row::stored(&row.record)).collect();
        let expected: Vec<Row> =
            oracle.current[source].iter().map(|key| oracle.rows[key].clone()).collect();
        prop_assert_eq!(stored, expected, "the last good data of {}", name);
        let mut keys = oracle.current[source].clone();
        keys.sort_unstable();
        keys.dedup();
        let rows = memory.records.values().filter(|row| row.source == name);
        prop_assert_eq!(rows.filter(|row| row.last_seen.is_none()).count(), keys.len());
    }
    let mut stored: Vec<Vec<u8>> =
        memory.records.values().map(|row| Row::stored(&row.record).bytes).collect();
    let mut expected: Vec<Vec<u8>> = oracle.rows.values().map(|row| row.bytes.clone()).collect();
    stored.sort_unstable();
    expected.sort_unstable();
    prop_assert_eq!(stored, expected, "the history");
    let table = memory.sources.get("table").and_then(|source| source.table.clone());
    if let Some(now) = &world.table {
        prop_assert_eq!(table, Some(now.to_bytes()));
    }
    Ok(())
}

async fn follow(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    let mut oracle = Oracle::default();
    world.table = Some(table(&[1, 2, 0, 1]));
    let mut last_sent = [None, None];
    for event in events {
        let first = world.store.memory().writes.len();
        let mut failing = None;
        let mut is_exact = true;
        world.settle().await;
        match event.clone() {
            Event::Records(source, records) => {
                let lines =
                    records.iter().map(|(id, version, address)| record(*id, *version, *address));
                let lines: Vec<String> = lines.collect();
                let index = usize::from(source == MAPPED);
                if last_sent[index].as_ref() != Some(&lines) {
                    world.batches[index] =
                        if source == MAPPED { Some(mapped(&lines)) } else { Some(plain(&lines)) };
                }
                last_sent[index] = Some(lines);
            }
            Event::Table(employees) => world.table = Some(table(&employees)),
            Event::NoTable => world.table = None,
            Event::Fails(source) => failing = Some(source),
            Event::StoreFails(error) => world.store.fail(Some(error)),
            Event::AnswerIsLost => world.store.lose_answers(true),
            Event::Forget(employee) => {
                let name = format!("e{employee}");
                world.store.forget(&name).await.unwrap();
                oracle.forget(&name);
                oracle.read_all_again();
            }
            Event::NewTerm => {
                let epoch = world.store.memory().epoch + 1;
                world.store.memory().epoch = epoch;
                world.lead(epoch);
                oracle.read_all_again();
            }
            Event::Nothing => {}
        }
        world.succeed_all();
        if let Some(source) = failing {
            world.statuses[source].consecutive_failures = 1;
        }
        world.publish();
        world.settle().await;
        match &event {
            Event::StoreFails(_) => {
                prop_assert!(world.store.memory().writes.len() == first);
                world.store.fail(None);
                sleep(MINUTE).await;
            }
            Event::AnswerIsLost => {
                world.store.lose_answers(false);
                sleep(MINUTE).await;
                // A content that was written is read again, and may be written again.
                is_exact = false;
            }
            _ => {}
        }
        let expected = [0, 1].map(|source| oracle.refresh(source, &world));
        if is_exact {
            let expected = (expected[0].0 + expected[1].0, expected[0].1 + expected[1].1);
            prop_assert_eq!(written(&world, first), expected, "the difference");
        } else {
            let is_of =
                |name: &str, write: &SourceWrite| write.name == name && write.content.is_some();
            for (source, name) in ["plain", "mapped"].into_iter().enumerate() {
                let memory = world.store.memory();
                if memory.writes[first..].iter().any(|write| is_of(name, write)) {
                    oracle.read_again(source);
                }
            }
        }
        check(&world, &oracle)?;
        let calls = world.calls();
        sleep(MINUTE).await;
        prop_assert_eq!(world.calls(), calls, "nothing is left to be done");
    }
    prop_assert!(!world.task.is_finished());
    Ok(())
}

proptest! {
    #[test]
    fn after_each_snapshot_the_store_has_what_the_oracle_says(
        events in prop::collection::vec(event(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(follow(events))?;
    }
}
