//! Random operations and questions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::forward_steps::{AdvanceStep, Claim};
use crate::config::ForwardFrom;
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::{HistoryFilter, StableId, Upsert};

/// Names that need escaping in SQL, JSON or arrays are among them.
pub(super) const SOURCES: [&str; 3] = ["okta", "a,b'\"\\{}", "ß"];
pub(super) const EMPLOYEES: [&str; 4] = ["1", "10", "o'\"\\,{}", "é"];

const TIMES: [f64; 6] = [-7.25, 0.0, 1.5, 1_700_000_000.0, 1_700_000_000.000_001, 4e9];

/// A step of a series.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A refresh has brought these records, as indexes of generated contents.
    Records {
        source: usize,
        age: u64,
        definition: u8,
        records: Vec<Listed>,
    },
    /// A refresh has brought the same as before.
    Same {
        source: usize,
        age: u64,
    },
    /// A refresh has failed.
    Failure {
        source: usize,
        definition: u8,
    },
    /// Only these sources are configured.
    Retain(Vec<&'static str>),
    Forget(&'static str),
    Expire {
        keep: u64,
        claims: Vec<Claim>,
    },
    Begin(Vec<(usize, ForwardFrom)>),
    Advance(AdvanceStep),
}

/// A record that a source lists.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    key: u8,
    variant: u8,
    employee_id: Option<&'static str>,
    priority: Priority,
    timestamp: f64,
    reason: Reason,
}

impl Listed {
    /// The record, as it is written.
    pub(super) fn record(&self, source: &str) -> Upsert {
        let reason = self.employee_id.is_none().then_some(self.reason);
        let has_priority = !matches!(reason, Some(Reason::InvalidPriority | Reason::NotAnObject));
        let has_time = !matches!(reason, Some(Reason::InvalidTimestamp | Reason::NotAnObject));
        let mut bytes = format!("{{\"key\":{},\"variant\":{}}}", self.key, self.variant);
        bytes.push_str(&" ".repeat(usize::from(self.variant) * 50));
        Upsert {
            id: StableId::of_id(source, &[self.key]),
            bytes: bytes.into(),
            employee_id: self.employee_id.map(Box::from),
            priority: has_priority.then_some(self.priority),
            timestamp: has_time.then_some(self.timestamp),
            reason,
        }
    }
}

/// Records of a refresh. Of records with the same key, all are as the first.
fn listed() -> impl Strategy<Value = Vec<Listed>> {
    let record = (
        0..10_u8,
        0..3_u8,
        option::weighted(0.7, select(&EMPLOYEES[..])),
        select(&Priority::ALL[..]),
        select(&TIMES[..]),
        select(&Reason::ALL[..]),
    );
    let record = record.prop_map(|(key, variant, employee_id, priority, timestamp, reason)| {
        Listed { key, variant, employee_id, priority, timestamp, reason }
    });
    vec(record, 0..12).prop_map(|mut records| {
        for index in 0..records.len() {
            let key = records[index].key;
            let first = records.iter().position(|record| record.key == key);
            records[index] = records[first.unwrap_or(index)].clone();
        }
        records
    })
}

/// Steps without forwards.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..12)
}

/// Ages and times to keep are such that a second more or less makes no difference.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let source = || 0..SOURCES.len();
    let age = || (0..10_u64).prop_map(|age| age * 100);
    let records =
        (source(), age(), 0..2_u8, listed()).prop_map(|(source, age, definition, records)| {
            Step::Records { source, age, definition, records }
        });
    let same = (source(), age()).prop_map(|(source, age)| Step::Same { source, age });
    let failure =
        (source(), 0..2_u8).prop_map(|(source, definition)| Step::Failure { source, definition });
    let retain = subsequence(SOURCES.to_vec(), 0..=SOURCES.len()).prop_map(Step::Retain);
    let forget = select(&EMPLOYEES[..]).prop_map(Step::Forget);
    let expire =
        (0..10_u64).prop_map(|keep| Step::Expire { keep: keep * 100 + 50, claims: Vec::new() });
    prop_oneof![
        8 => records,
        2 => same,
        1 => failure,
        1 => retain,
        1 => forget,
        1 => expire,
    ]
}

/// A question: its filter, and of its pages the most records and bytes.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) filter: HistoryFilter,
    pub(super) limit: usize,
    pub(super) max_bytes: usize,
}

pub(super) fn question() -> impl Strategy<Value = Question> {
    let names = |known: &[&str], unknown: &str| {
        let mut names: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        names.push(unknown.to_owned());
        let most = names.len();
        option::weighted(0.5, subsequence(names, 0..=most))
    };
    let between = (-10.0..5e9_f64).boxed();
    let time = || option::weighted(0.3, prop_oneof![select(&TIMES[..]), between.clone()]);
    let priorities = subsequence(Priority::ALL.to_vec(), 0..=4);
    let filter = (
        names(&EMPLOYEES, "nobody"),
        names(&SOURCES, "nothing"),
        option::weighted(0.3, priorities),
        time(),
        time(),
        any::<Option<bool>>(),
    );
    let filter = filter.prop_map(|(employees, types, priorities, since, until, current)| {
        HistoryFilter { employees, types, priorities, since, until, current }
    });
    let limit = select(&[1, 2, 3, 7, 1_000][..]);
    let max_bytes = select(&[0, 60, 200, 1 << 20][..]);
    (filter, limit, max_bytes).prop_map(|(filter, limit, max_bytes)| Question {
        filter,
        limit,
        max_bytes,
    })
}
