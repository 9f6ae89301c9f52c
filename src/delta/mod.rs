//! What changed between two views: which records each source added and dropped.
//!
//! Records are told apart by their bytes, as multisets: a record that stands twice in a batch and
//! stood once in the batch before was added once. A record that changed is one that was dropped and
//! one that was added, since the sources' records have no ids of their own.
//!
//! Where a source's batch is the same as before, nothing is looked at. Else it takes time in the
//! order of n log n for its n records (a hash of each, sorted), and eight bytes a record between
//! views; the bodies of the earlier view are not needed, and not kept.

use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::xxh3_64;

use crate::decode::Incidents;
use crate::snapshot::View;

/// A hash of a record's bytes, by which it is known again.
pub type RecordHash = u64;

/// What changed in one source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceDelta {
    /// The index of the source.
    pub source: usize,
    /// Whether it is the source's first batch; all its records are added then.
    pub is_first: bool,
    /// The indices of the records that were added, ascending, in the view's batch.
    pub added: Vec<usize>,
    /// The records that were dropped, ascending by hash.
    pub dropped: Vec<RecordHash>,
}

/// The records that each source had when it was last looked at.
#[derive(Clone, Debug)]
pub struct Baseline(Vec<Option<Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    /// Weak, so that no superseded body is kept.
    batch: Weak<Incidents>,
    /// Sorted.
    records: Vec<RecordHash>,
}

impl Baseline {
    /// That of so many sources, none of which has had data.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        Self(vec![None; sources])
    }

    /// How many sources there are.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.0.len()
    }

    /// Whether a source of this view has another batch than was last seen.
    #[must_use]
    pub fn differs_from(&self, view: &View) -> bool {
        self.0.iter().zip(view.batches()).any(|(seen, batch)| match (seen, batch) {
            (Some(seen), Some(batch)) => !seen.is_of(batch),
            (None, Some(_)) => true,
            (_, None) => false,
        })
    }

    /// What each source has in this view that it had not before, and the other way round; from now
    /// on this view is what comes before. Sources without a change are left out. One without data
    /// keeps what it last had, so that its return adds only what is new.
    pub fn advance(&mut self, view: &View) -> Vec<SourceDelta> {
        let mut deltas = Vec::new();
        for (source, (seen, batch)) in self.0.iter_mut().zip(view.batches()).enumerate() {
            let Some(batch) = batch else { continue };
            if seen.as_ref().is_some_and(|seen| seen.is_of(batch)) {
                continue;
            }
            let hashes = sorted_hashes(batch);
            let is_first = seen.is_none();
            let before = seen.as_ref().map_or(&[][..], |seen| &seen.records);
            let (added, dropped) = difference(before, &hashes);
            if is_first || !added.is_empty() || !dropped.is_empty() {
                deltas.push(SourceDelta { source, is_first, added, dropped });
            }
            let records = hashes.into_iter().map(|(hash, _)| hash).collect();
            *seen = Some(Seen { batch: Arc::downgrade(batch), records });
        }
        deltas
    }
}

impl Seen {
    fn is_of(&self, batch: &Arc<Incidents>) -> bool {
        Weak::as_ptr(&self.batch) == Arc::as_ptr(batch)
    }
}

/// Each record's hash and index, ascending.
fn sorted_hashes(batch: &Incidents) -> Vec<(RecordHash, usize)> {
    let hashes = batch.records().iter().map(|record| xxh3_64(batch.bytes(record)));
    let mut hashes: Vec<_> = hashes.zip(0..).collect();
    hashes.sort_unstable();
    hashes
}

/// The indices in `after` that `before` has not, and what only `before` has. Both are sorted.
fn difference(
    before: &[RecordHash],
    after: &[(RecordHash, usize)],
) -> (Vec<usize>, Vec<RecordHash>) {
    let (mut added, mut dropped) = (Vec::new(), Vec::new());
    let mut before = before.iter().copied().peekable();
    for &(hash, index) in after {
        while let Some(gone) = before.next_if(|&known| known < hash) {
            dropped.push(gone);
        }
        if before.next_if_eq(&hash).is_none() {
            added.push(index);
        }
    }
    dropped.extend(before);
    added.sort_unstable();
    (added, dropped)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::decode::SourceFields;
    use crate::join::join;

    fn batch(records: &[u8]) -> Arc<Incidents> {
        let records: Vec<String> = records.iter().map(u8::to_string).collect();
        let body = format!("{{\"results\":[{}]}}", records.join(","));
        Arc::new(Incidents::decode(Bytes::from(body), &SourceFields::new(&[])).unwrap())
    }

    fn view(batches: &[Option<Arc<Incidents>>]) -> View {
        let names = batches.iter().map(|_| Arc::from("source")).collect();
        View::new(1, names, batches.into(), join(None, batches))
    }

    /// The one delta between two batches.
    fn delta(before: &[u8], after: &[u8]) -> Option<SourceDelta> {
        let mut baseline = Baseline::new(1);
        baseline.advance(&view(&[Some(batch(before))]));
        baseline.advance(&view(&[Some(batch(after))])).pop()
    }

    /// What `all` has beyond `others`, as multisets.
    fn beyond(all: &[u8], others: &[u8]) -> Vec<u8> {
        let mut others = others.to_vec();
        let is_beyond = |record: &u8| match others.iter().position(|other| other == record) {
            Some(place) => {
                others.swap_remove(place);
                false
            }
            None => true,
        };
        let mut beyond: Vec<u8> = all.iter().copied().filter(is_beyond).collect();
        beyond.sort_unstable();
        beyond
    }

    proptest! {
        #[test]
        fn a_delta_is_the_difference_of_multisets(
            before in prop::collection::vec(0..6_u8, 0..20),
            after in prop::collection::vec(0..6_u8, 0..20),
        ) {
            let (added, dropped) =
                delta(&before, &after).map_or_else(Default::default, |delta| (delta.added, delta.dropped));
            let mut added: Vec<u8> = added.into_iter().map(|index| after[index]).collect();
            added.sort_unstable();
            prop_assert_eq!(added, beyond(&after, &before));
            let mut expected: Vec<u64> = beyond(&before, &after)
                .into_iter()
                .map(|record| xxh3_64(record.to_string().as_bytes()))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(dropped, expected);
        }
    }

    #[test]
    fn moved_records_are_no_change() {
        assert_eq!(delta(&[1, 2, 3], &[3, 1, 2]), None);
        assert_eq!(delta(&[1, 2], &[3, 1, 2, 2]).unwrap().added, [0, 3]);
        let changed = delta(&[1, 2], &[1, 3]).unwrap();
        assert_eq!((changed.is_first, changed.added.len(), changed.dropped.len()), (false, 1, 1));
    }

    #[test]
    fn a_source_without_data_keeps_what_it_last_had() {
        let mut baseline = Baseline::new(2);
        let other = batch(&[9]);
        let first = baseline.advance(&view(&[Some(batch(&[1])), None]));
        let expected =
            SourceDelta { source: 0, is_first: true, added: vec![0], dropped: Vec::new() };
        assert_eq!(first, [expected]);
        assert!(baseline.advance(&view(&[None, Some(Arc::clone(&other))]))[0].is_first);
        let back = view(&[Some(batch(&[1, 2])), Some(other)]);
        assert!(baseline.differs_from(&back));
        let returned = baseline.advance(&back);
        let expected =
            SourceDelta { source: 0, is_first: false, added: vec![1], dropped: Vec::new() };
        assert_eq!(returned, [expected]);
        assert!(!baseline.differs_from(&back));
        assert_eq!(baseline.advance(&back), []);
    }

    #[test]
    fn no_superseded_batch_is_kept() {
        let mut baseline = Baseline::new(1);
        let first = batch(&[1]);
        baseline.advance(&view(&[Some(Arc::clone(&first))]));
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
