//! Divides batches that the receiver has refused, or does not answer.

use crate::store::HistoryRow;

/// Numbers that no batch crosses: the ends of the parts of a batch that was divided, the next one
/// last. Each part that is refused again is divided again, until the record at fault stands alone.
#[derive(Debug, Default)]
pub(super) struct Boundaries(Vec<i64>);

impl Boundaries {
    /// The number through which the next batch goes at most.
    pub(super) fn next(&self) -> Option<i64> {
        self.0.last().copied()
    }

    /// Divides a batch of at least two records.
    pub(super) fn split(&mut self, rows: &[HistoryRow]) {
        if let [.., last] = rows {
            self.end_at(last.number);
            self.0.push(rows[rows.len() / 2 - 1].number);
        }
    }

    /// Lets the next batch end here.
    pub(super) fn end_at(&mut self, number: i64) {
        if self.next() != Some(number) {
            self.0.push(number);
        }
    }

    /// Removes those that were reached: no record up to this number is still to be sent.
    pub(super) fn pass(&mut self, number: i64) {
        while self.next().is_some_and(|next| next <= number) {
            self.0.pop();
        }
    }
}
