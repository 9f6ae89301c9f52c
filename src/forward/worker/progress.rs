//! What of a forward is done, and what of that is stored.

use std::collections::BTreeMap;

use crate::store::{Advance, DeadLetter, ForwardReport, StoredForward};

/// How many numbers that a forward does not select it passes before its position is stored.
const MAX_PASSED_NUMBERS: i64 = 10_000;

/// What of a forward is done. Advances are stored one after another. While one is being stored, at
/// most one more is ready.
#[derive(Debug)]
pub(super) struct Progress {
    /// What is stored.
    pub(super) stored: StoredForward,
    /// The last trouble. It is stored with the next advance, or alone.
    pub(super) report: ForwardReport,
    storing: Option<Advance>,
    ready: Option<Advance>,
    /// Records behind those that are not done yet, and why a receiver has refused them, if it has.
    done: BTreeMap<i64, Option<DeadLetter>>,
    /// How many records were done and stored.
    total: u64,
}

impl Progress {
    pub(super) fn new(stored: StoredForward) -> Self {
        Self {
            report: stored.report.clone(),
            stored,
            storing: None,
            ready: None,
            done: BTreeMap::new(),
            total: 0,
        }
    }

    /// The number up to which all records are done, stored or not.
    pub(super) fn position(&self) -> i64 {
        let newest = self.ready.as_ref().or(self.storing.as_ref());
        newest.map_or(self.stored.position, |advance| advance.to)
    }

    /// Notes that a record is done, before those before it are.
    pub(super) fn finish(&mut self, number: i64, dead_letter: Option<DeadLetter>) {
        self.done.insert(number, dead_letter);
    }

    /// Whether the record is done.
    pub(super) fn is_done(&self, number: i64) -> bool {
        self.done.contains_key(&number)
    }

    /// The records that are done before others before them are, in order. They are counted with
    /// those, even if they are deleted meanwhile.
    pub(super) fn done(&self) -> impl DoubleEndedIterator<Item = i64> {
        self.done.keys().copied()
    }

    /// All records up to this number are done: so many were sent, beside those that were noted.
    pub(super) fn advance(&mut self, to: i64, sent: usize) {
        let behind = self.done.split_off(&(to + 1));
        let done = std::mem::replace(&mut self.done, behind);
        let records = sent + done.len();
        let dead_letters: Vec<DeadLetter> = done.into_values().flatten().collect();
        let from = self.position();
        if from == to && records == 0 {
            return;
        }
        debug_assert!(self.ready.is_none() && from <= to, "nothing is sent while one is ready");
        self.ready = Some(Advance {
            name: self.stored.name.clone(),
            from,
            to,
            sent: (records - dead_letters.len()) as u64,
            dead_letters,
            report: ForwardReport::default(),
        });
    }

    /// Nothing up to this number waits, and no request is under way: stores what was noted as done,
    /// and a position that many records have been passed by.
    pub(super) fn pass(&mut self, number: i64) {
        let is_any_done = self.done.first_key_value().is_some_and(|(first, _)| *first <= number);
        if is_any_done || number - self.position() >= MAX_PASSED_NUMBERS {
            self.advance(number, 0);
        }
    }

    /// The next advance to be stored, if none is being stored.
    pub(super) fn store_next(&mut self) -> Option<Advance> {
        if self.storing.is_some() {
            return None;
        }
        let position = self.stored.position;
        let report = || Advance {
            name: self.stored.name.clone(),
            from: position,
            to: position,
            ..Advance::default()
        };
        let is_new = self.report != self.stored.report;
        let next = self.ready.take().or_else(|| is_new.then(report));
        self.storing = next.map(|next| Advance { report: self.report.clone(), ..next });
        self.storing.clone()
    }

    /// Notes that the advance is stored; returns it.
    pub(super) fn note_stored(&mut self) -> Advance {
        let advance = self.storing.take().expect("it was being stored");
        self.stored.position = advance.to;
        self.stored.report = advance.report.clone();
        self.stored.sent += advance.sent;
        self.stored.dead_letters += advance.dead_letters.len() as u64;
        self.total += records(&advance);
        advance
    }

    /// Whether an advance is ready that waits for the one before. Nothing is sent meanwhile.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether everything that is done is stored.
    pub(super) fn is_stored(&self) -> bool {
        self.ready.is_none() && self.storing.is_none()
    }

    /// Whether records are done behind some that are not.
    pub(super) fn has_gaps(&self) -> bool {
        !self.done.is_empty()
    }

    /// How many records are done, but not stored.
    pub(super) fn unstored(&self) -> u64 {
        let advances = self.ready.iter().chain(&self.storing);
        self.done.len() as u64 + advances.map(records).sum::<u64>()
    }

    /// How many records were done and stored in this term.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

/// How many records an advance is about.
pub(super) fn records(advance: &Advance) -> u64 {
    advance.sent + advance.dead_letters.len() as u64
}
