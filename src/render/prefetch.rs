//! Bringing records near the processor before they are written.
//!
//! The places of an employee's records in the bodies follow no order that a processor could
//! foresee; without this, writing each would wait for memory.

use crate::fetch::fetch;
use crate::join::Placed;
use crate::snapshot::View;

/// How many records are on their way.
const COUNT: usize = 32;

/// How many bytes come at once.
const LINE: usize = 64;

/// How many such lines of a record are asked for, beside its last: the processor foresees the
/// others of a longer one.
const LINES: usize = 4;

/// The records that will be written soon.
pub(super) struct Prefetch<'a> {
    view: &'a View,
    rest: std::slice::Iter<'a, Placed>,
}

impl<'a> Prefetch<'a> {
    /// Of the records that will be written, in that order; none where it cannot be foreseen, or is
    /// too little to be worth it.
    pub(super) fn of(view: &'a View, records: &'a [Placed]) -> Self {
        let mut prefetch = Self { view, rest: records.iter() };
        for _ in 0..COUNT {
            prefetch.step();
        }
        prefetch
    }

    /// To be called for each record that is written.
    #[inline]
    pub(super) fn step(&mut self) {
        let Some(tail) = self.rest.next().map(|placed| self.view.tail(placed)) else { return };
        tail.iter().step_by(LINE).take(LINES).chain(tail.last()).for_each(fetch);
    }
}
