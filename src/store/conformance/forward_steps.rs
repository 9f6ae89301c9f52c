//! Random operations of forwards, and questions for the records that are due.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::generate::{SOURCES, Step, step};
use crate::config::{ForwardFrom, Selection};
use crate::decode::Priority;
use crate::store::ForwardReport;

/// In the order of their names.
pub(super) const FORWARDS: [&str; 3] = ["a-2", "pager", "siem"];

/// Above most numbers of a series.
const MAX_NUMBER: i64 = 80;

/// What an advance must fail for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mistake {
    Position,
    Epoch,
    /// No forward has the name.
    Name,
}

/// An advance behind the next records.
#[derive(Clone, Debug)]
pub(super) struct AdvanceStep {
    pub(super) forward: usize,
    pub(super) selection: Selection,
    /// The most records; 0 moves nothing.
    pub(super) records: usize,
    /// Each bit says of a record whether it is refused.
    pub(super) refused: u8,
    pub(super) report: ForwardReport,
    pub(super) mistake: Option<Mistake>,
}

/// A forward that is configured. It sends this many numbers.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) forward: usize,
    pub(super) selection: Selection,
    pub(super) numbers: i64,
}

/// A question for the records that are due, walked in such pages.
#[derive(Clone, Debug)]
pub(super) struct DueQuestion {
    pub(super) after: i64,
    pub(super) start: Option<i64>,
    pub(super) selection: Selection,
    pub(super) limit: usize,
    pub(super) max_bytes: usize,
}

/// Steps of all kinds. Few are without a forward.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let forward = || 0..FORWARDS.len();
    let from = || select(&[ForwardFrom::Now, ForwardFrom::Beginning][..]);
    let begin = vec((forward(), from()), 0..3).prop_map(Step::Begin);
    let report = (any::<bool>(), option::of(select(&["", "o'\"\\,{}\n", "ß"][..])));
    let report = report.prop_map(|(is_retrying, last_error)| ForwardReport {
        is_retrying,
        last_error: last_error.map(str::to_owned),
    });
    let mistakes = select(&[Mistake::Position, Mistake::Epoch, Mistake::Name][..]);
    let advance = (
        forward(),
        selection(),
        select(&[0, 1, 2, 5, 100][..]),
        prop_oneof![Just(0), any::<u8>()],
        report,
        option::weighted(0.2, mistakes),
    );
    let advance = advance.prop_map(|(forward, selection, records, refused, report, mistake)| {
        Step::Advance(AdvanceStep { forward, selection, records, refused, report, mistake })
    });
    let claim = (forward(), selection(), prop_oneof![Just(0), 0..MAX_NUMBER]);
    let claim =
        claim.prop_map(|(forward, selection, numbers)| Claim { forward, selection, numbers });
    let claims = vec(claim, 0..4).prop_map(|mut claims| {
        claims.sort_by_key(|claim| claim.forward);
        claims.dedup_by_key(|claim| claim.forward);
        claims
    });
    let keep = prop_oneof![Just(0), (0..10_u64).prop_map(|keep| keep * 100 + 50)];
    let expire = (keep, claims).prop_map(|(keep, claims)| Step::Expire { keep, claims });
    vec(prop_oneof![8 => step(), 3 => begin, 6 => advance, 2 => expire], 1..20)
}

fn selection() -> impl Strategy<Value = Selection> {
    let mut types: Vec<String> = SOURCES.map(str::to_owned).to_vec();
    types.push("nothing".to_owned());
    let most = types.len();
    (
        option::weighted(0.4, subsequence(Priority::ALL.to_vec(), 0..=4)),
        option::weighted(0.4, subsequence(types, 0..=most)),
        any::<bool>(),
    )
        .prop_map(|(priorities, types, unattributed)| Selection {
            priorities,
            types,
            unattributed,
        })
}

pub(super) fn due_question() -> impl Strategy<Value = DueQuestion> {
    (
        0..MAX_NUMBER,
        option::of(0..MAX_NUMBER),
        selection(),
        select(&[1, 2, 3, 7, 1_000][..]),
        select(&[0, 60, 200, 1 << 20][..]),
    )
        .prop_map(|(after, start, selection, limit, max_bytes)| DueQuestion {
            after,
            start,
            selection,
            limit,
            max_bytes,
        })
}
