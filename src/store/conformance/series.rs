//! Random series of operations.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::forward_steps::{DueQuestion, due_question};
use super::generate::{Question, SOURCES, Step, question};
use super::model::{Model, Row, now};
use super::queries::{assert_row, check_history, check_summary, is_near};
use super::{Subject, forwards};
use crate::sources::Fingerprint;
use crate::store::{
    Epoch, ForwardClaim, HistoryFilter, HistoryQuery, KeptUp, Lease, SourceReport, SourceWrite,
    Store, StoreError, StoredRecord, Version,
};

const SERIES: usize = 48;
const QUESTIONS: usize = 24;

/// How often a failing series is made simpler.
const MAX_SIMPLIFICATIONS: usize = 60;

/// How many questions for the records that are due are asked after each step.
const DUE_QUESTIONS: usize = 4;

type Case = (Vec<Step>, Vec<Question>, Vec<DueQuestion>);

/// Applies random series. One that fails is made simpler before it is reported.
pub(super) async fn run(make: &impl AsyncFn() -> Subject, steps: impl Strategy<Value = Vec<Step>>) {
    let mut runner = TestRunner::default();
    let strategy = (steps, vec(question(), QUESTIONS), vec(due_question(), DUE_QUESTIONS));
    for _ in 0..SERIES {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        if passes(make, &tree.current()).await {
            continue;
        }
        for _ in 0..MAX_SIMPLIFICATIONS {
            let is_changed = if passes(make, &tree.current()).await {
                tree.complicate()
            } else {
                tree.simplify()
            };
            if !is_changed {
                break;
            }
        }
        while passes(make, &tree.current()).await && tree.complicate() {}
        let case = tree.current();
        eprintln!("{case:#?}");
        apply(&make().await, &case).await;
        panic!("a series failed, but not when it was repeated");
    }
}

async fn passes(make: &impl AsyncFn() -> Subject, case: &Case) -> bool {
    let subject = make().await;
    AssertUnwindSafe(apply(&subject, case)).catch_unwind().await.is_ok()
}

async fn apply(subject: &Subject, (steps, questions, due_questions): &Case) {
    let mut series = Series::new(&*subject.store).await;
    for step in steps {
        series.apply(step).await;
        series.check().await;
        forwards::check(subject, &series.model, due_questions).await;
    }
    for question in questions {
        check_history(series.store, &series.model, question).await;
        check_summary(series.store, &series.model, &question.filter).await;
    }
}

/// The store and its model.
struct Series<'a> {
    store: &'a dyn Store,
    epoch: Epoch,
    model: Model,
    /// Whether records were deleted on request since the last write.
    must_be_forgotten: bool,
}

/// The lease, which nobody else wants.
pub(super) async fn acquire(store: &dyn Store) -> Epoch {
    match store.acquire_or_renew(&KeptUp::default()).await.unwrap() {
        Lease::Held { epoch, .. } => epoch,
        Lease::Other { .. } => panic!("nobody else has the lease"),
    }
}

/// Deletes what has expired until there is none left; returns how many records and dead letters.
pub(super) async fn expire(
    store: &dyn Store,
    epoch: Epoch,
    keep: Duration,
    claims: &[ForwardClaim],
) -> u64 {
    let mut deleted = 0;
    loop {
        match store.delete_expired(epoch, keep, claims).await.unwrap() {
            0 => return deleted,
            some => deleted += some,
        }
    }
}

/// The fingerprint of a definition.
pub(super) fn fingerprint(definition: u8) -> Fingerprint {
    Fingerprint([definition; 32])
}

impl<'a> Series<'a> {
    async fn new(store: &'a dyn Store) -> Self {
        let epoch = acquire(store).await;
        Self { store, epoch, model: Model::default(), must_be_forgotten: false }
    }

    async fn apply(&mut self, step: &Step) {
        match step {
            Step::Records { source, age, definition, records } => {
                let source = SOURCES[*source];
                let records: Vec<_> = records.iter().map(|it| it.record(source)).collect();
                let (of, age) = (fingerprint(*definition), Duration::from_secs(*age));
                self.write(|model| model.write(source, of, age, &records)).await;
            }
            Step::Same { source, age } => {
                let name = SOURCES[*source];
                // The first write of a source has content.
                let Some(head) = self.model.heads.get(name) else { return };
                let fingerprint = head.fingerprint;
                let age = Some(Duration::from_secs(*age));
                let report = SourceReport { pages: 7, ..SourceReport::default() };
                let name = name.to_owned();
                let write =
                    SourceWrite { name, fingerprint, based_on: None, age, report, content: None };
                self.write(|_| write.clone()).await;
            }
            Step::Failure { source, definition } => {
                let name = SOURCES[*source].to_owned();
                let report = SourceReport {
                    consecutive_failures: 3,
                    last_error: Some(("timeout".to_owned(), "it took too long".to_owned())),
                    ..SourceReport::default()
                };
                let (fingerprint, content) = (fingerprint(*definition), None);
                let write =
                    SourceWrite { name, fingerprint, based_on: None, age: None, report, content };
                self.write(|_| write.clone()).await;
            }
            Step::Retain(names) => {
                let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
                self.store.retain_sources(self.epoch, &names).await.unwrap();
                self.model.retain(&names);
            }
            Step::Forget(employee_id) => {
                let deleted = self.store.forget(employee_id).await.unwrap();
                assert_eq!(deleted, self.model.forget(employee_id));
                self.must_be_forgotten |= deleted > 0;
            }
            Step::Expire { keep, claims } => {
                let claims = forwards::claims(&self.model, claims);
                let keep = Duration::from_secs(*keep);
                let deleted = expire(self.store, self.epoch, keep, &claims).await;
                assert_eq!(deleted, self.model.expire(keep, &claims));
            }
            Step::Begin(begun) => {
                forwards::begin(self.store, self.epoch, &mut self.model, begun).await;
            }
            Step::Advance(step) => {
                forwards::advance(self.store, self.epoch, &mut self.model, step).await;
            }
        }
    }

    async fn write(&mut self, write: impl Fn(&Model) -> SourceWrite) {
        let time = now();
        let first = write(&self.model);
        let (written, applied) = match self.store.write(self.epoch, first.clone()).await {
            Ok(written) => {
                let is_known = self.model.last_success.contains_key(&first.name);
                let must_fail = self.must_be_forgotten && is_known && first.age.is_some();
                assert!(!must_fail, "the process must notice that records were deleted");
                (written, first)
            }
            Err(StoreError::Forgotten) => {
                assert!(self.must_be_forgotten, "nothing was deleted");
                self.must_be_forgotten = false;
                for source in SOURCES {
                    self.store.sequence(source).await.unwrap();
                }
                let again = write(&self.model);
                (self.store.write(self.epoch, again.clone()).await.unwrap(), again)
            }
            Err(error) => panic!("{error:?}"),
        };
        self.model.apply(&applied, written, time);
    }

    /// Compares everything that is stored with the model, and learns the numbers.
    async fn check(&mut self) {
        assert_eq!(self.store.count().await.unwrap(), self.model.rows.len() as u64);
        self.check_heads().await;
        for source in SOURCES {
            self.check_restored(source).await;
        }
        self.check_numbers().await;
    }

    async fn check_heads(&self) {
        let mut heads = self.store.heads().await.unwrap().sources;
        heads.sort_by(|left, right| left.name.cmp(&right.name));
        let names: Vec<_> = heads.iter().map(|head| &head.name).collect();
        assert_eq!(names, self.model.heads.keys().collect::<Vec<_>>());
        for (head, expected) in heads.iter().zip(self.model.heads.values()) {
            assert_eq!(head.fingerprint, expected.fingerprint);
            assert_eq!(head.revision, expected.revision);
            assert_eq!(head.report, expected.report);
            let fetched_at = head.fetched_at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert!(is_near(fetched_at.as_secs_f64(), expected.fetched_at));
            assert!(is_near(head.age.as_secs_f64(), now() - expected.fetched_at));
        }
    }

    /// Reads the records of a source as a restart does.
    async fn check_restored(&self, source: &str) {
        let sequence = self.store.sequence(source).await.unwrap();
        let versions: BTreeSet<_> = sequence.iter().copied().collect();
        // In an order of their own, with a version that was never used.
        let mut asked: Vec<_> = versions.into_iter().rev().collect();
        asked.push(Version(i64::MAX));
        let records = self.store.records(&asked).await.unwrap();
        let stored: Vec<_> = sequence
            .iter()
            .filter_map(|version| records.iter().find(|record| record.version == *version))
            .collect();
        let expected = self.model.listed(source);
        let expected: Vec<_> = expected.into_iter().map(stored_record).collect();
        assert_eq!(stored, expected);
    }

    /// Numbers are unique, stay with their records, and grow.
    async fn check_numbers(&mut self) {
        let filter = HistoryFilter::default();
        let query = HistoryQuery { filter, after: None, limit: 1_000, max_bytes: 1 << 20 };
        let shown = self.store.history(query).await.unwrap().rows;
        assert_eq!(shown.len(), self.model.rows.len());
        let numbers: BTreeSet<_> = shown.iter().map(|row| row.number).collect();
        assert_eq!(numbers.len(), shown.len());
        let before = self.model.greatest_number;
        for row in &shown {
            let model = self.model.rows.get_mut(&row.id).expect("it is stored");
            assert!(model.number.is_some() || row.number > before, "a new number is the greatest");
            let number = *model.number.get_or_insert(row.number);
            model.first_number.get_or_insert(number);
            self.model.greatest_number = self.model.greatest_number.max(number);
            let model = self.model.rows[&row.id].clone();
            assert_row(row, &self.model.history_row(&model));
        }
    }
}

fn stored_record(row: &Row) -> StoredRecord<'_> {
    StoredRecord {
        version: row.version,
        id: row.record.id,
        bytes: &row.record.bytes,
        employee_id: row.record.employee_id.as_deref(),
        priority: row.record.priority,
        timestamp: row.record.timestamp,
        reason: row.record.reason,
    }
}
