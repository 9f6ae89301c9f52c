//! What changed between two views: which records each source added and dropped.
//!
//! Records need not have ids, so they are identified by their bytes (in a mapped source, by those
//! of their envelopes), and batches are compared as multisets: a record that occurs twice in a
//! batch and once in the previous one was added once. A changed record counts as one dropped and
//! one added.
//!
//! A source is known by its name. Its first batch has nothing to be compared with, nor has the
//! first under another definition: the same records may be read differently then.
//!
//! A source whose batch has not changed costs nothing. Otherwise the n records of the batch are
//! hashed and sorted, in O(n log n). Between views, only eight bytes per record are kept, not the
//! bodies.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::xxh3_64;

use crate::decode::Incidents;
use crate::snapshot::View;

/// A hash of a record's bytes, which identifies it.
pub type RecordHash = u64;

/// What changed in one source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceDelta {
    /// The index of the source in the view.
    pub source: usize,
    /// Whether it is the source's first batch, or the first under its present definition, so that
    /// all its records are added.
    pub is_first: bool,
    /// The indices of the records that were added, ascending, in the view's batch.
    pub added: Vec<usize>,
    /// The records that were dropped, ascending by hash.
    pub dropped: Vec<RecordHash>,
}

/// The records that each source had in the last view that was compared, by the source's name. A
/// source that has had no data has none.
#[derive(Clone, Debug, Default)]
pub struct Baseline(BTreeMap<Arc<str>, SourceBaseline>);

#[derive(Clone, Debug)]
struct SourceBaseline {
    /// Weak, so that no superseded body is kept in memory.
    batch: Weak<Incidents>,
    /// The definition under which it was fetched.
    revision: u64,
    /// Sorted.
    records: Vec<RecordHash>,
}

impl Baseline {
    /// Whether the view has another batch than the baseline, or lacks one of its sources.
    #[must_use]
    pub fn differs_from(&self, view: &View) -> bool {
        let is_changed = |(_, name, batch, revision): (usize, &Arc<str>, &Arc<Incidents>, u64)| {
            self.0.get(name).is_none_or(|before| !before.is_of(batch, revision))
        };
        batches(view).any(is_changed) || self.0.keys().any(|name| !view.names().contains(name))
    }

    /// Compares the view with the baseline, and makes it the new baseline. The result has only the
    /// sources that have changed. A source without data in this view keeps its baseline, so that
    /// when its data returns, only new records are added; one that the view lacks is forgotten.
    pub fn advance(&mut self, view: &View) -> Vec<SourceDelta> {
        self.0.retain(|name, _| view.names().contains(name));
        let mut deltas = Vec::new();
        for (source, name, batch, revision) in batches(view) {
            let before = self.0.get(name).filter(|before| before.revision == revision);
            if before.is_some_and(|before| before.is_of(batch, revision)) {
                continue;
            }
            let hashes = sorted_hashes(batch);
            let is_first = before.is_none();
            let before = before.map_or(&[][..], |before| &before.records);
            let (added, dropped) = difference(before, &hashes);
            if is_first || !added.is_empty() || !dropped.is_empty() {
                deltas.push(SourceDelta { source, is_first, added, dropped });
            }
            let records = hashes.into_iter().map(|(hash, _)| hash).collect();
            let batch = Arc::downgrade(batch);
            self.0.insert(Arc::clone(name), SourceBaseline { batch, revision, records });
        }
        deltas
    }
}

/// The index, name, batch and revision of each source that has a batch.
fn batches(view: &View) -> impl Iterator<Item = (usize, &Arc<str>, &Arc<Incidents>, u64)> {
    let sources = view.names().iter().zip(view.batches()).zip(view.revisions()).enumerate();
    sources.filter_map(|(source, ((name, batch), revision))| {
        Some((source, name, batch.as_ref()?, *revision))
    })
}

impl SourceBaseline {
    fn is_of(&self, batch: &Arc<Incidents>, revision: u64) -> bool {
        self.revision == revision && Weak::as_ptr(&self.batch) == Arc::as_ptr(batch)
    }
}

/// The hash and index of each record, in ascending order.
fn sorted_hashes(batch: &Incidents) -> Vec<(RecordHash, usize)> {
    let hashes = batch.records().iter().map(|record| xxh3_64(batch.bytes(record)));
    let mut hashes: Vec<_> = hashes.zip(0..).collect();
    hashes.sort_unstable();
    hashes
}

/// The indices of the records that only `after` has, and the hashes that only `before` has. Inputs
/// and results are sorted.
fn difference(
    before: &[RecordHash],
    after: &[(RecordHash, usize)],
) -> (Vec<usize>, Vec<RecordHash>) {
    let (mut added, mut dropped) = (Vec::new(), Vec::new());
    let mut before = before.iter().copied().peekable();
    for &(hash, index) in after {
        while let Some(smaller) = before.next_if(|&before| before < hash) {
            dropped.push(smaller);
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
        let names: Vec<String> =
            (0..batches.len()).map(|index| format!("source-{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        view_of(&names, batches)
    }

    fn view_of(names: &[&str], batches: &[Option<Arc<Incidents>>]) -> View {
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        View::new(1, names, batches.into(), join(&[], batches))
    }

    /// The one delta between two batches.
    fn delta(before: &[u8], after: &[u8]) -> Option<SourceDelta> {
        let mut baseline = Baseline::default();
        baseline.advance(&view(&[Some(batch(before))]));
        baseline.advance(&view(&[Some(batch(after))])).pop()
    }

    /// The multiset difference of `all` and `others`.
    fn difference_of_multisets(all: &[u8], others: &[u8]) -> Vec<u8> {
        let mut others = others.to_vec();
        let is_only_in_all = |record: &u8| match others.iter().position(|other| other == record) {
            Some(index) => {
                others.swap_remove(index);
                false
            }
            None => true,
        };
        let mut difference: Vec<u8> = all.iter().copied().filter(is_only_in_all).collect();
        difference.sort_unstable();
        difference
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
            prop_assert_eq!(added, difference_of_multisets(&after, &before));
            let mut expected: Vec<u64> = difference_of_multisets(&before, &after)
                .into_iter()
                .map(|record| xxh3_64(record.to_string().as_bytes()))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(dropped, expected);
        }
    }

    #[test]
    fn the_order_of_records_does_not_matter() {
        assert_eq!(delta(&[1, 2, 3], &[3, 1, 2]), None);
        assert_eq!(delta(&[1, 2], &[3, 1, 2, 2]).unwrap().added, [0, 3]);
        let changed = delta(&[1, 2], &[1, 3]).unwrap();
        assert_eq!((changed.is_first, changed.added.len(), changed.dropped.len()), (false, 1, 1));
    }

    #[test]
    fn a_source_without_data_keeps_its_baseline() {
        let mut baseline = Baseline::default();
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
    fn sources_are_known_by_their_names() {
        let mut baseline = Baseline::default();
        let (one, other) = (Some(batch(&[1])), Some(batch(&[2])));
        baseline.advance(&view_of(&["a", "b"], &[one.clone(), other.clone()]));
        let swapped = view_of(&["b", "a"], &[other.clone(), one.clone()]);
        assert!(!baseline.differs_from(&swapped));
        assert_eq!(baseline.advance(&swapped), []);

        let added = view_of(&["c", "b", "a"], &[Some(batch(&[7])), other.clone(), one.clone()]);
        let deltas = baseline.advance(&added);
        assert_eq!((deltas.len(), deltas[0].source, deltas[0].is_first), (1, 0, true));

        let dropped = view_of(&["b"], std::slice::from_ref(&other));
        assert!(baseline.differs_from(&dropped));
        assert_eq!(baseline.advance(&dropped), []);
        assert!(!baseline.differs_from(&dropped));
        let deltas = baseline.advance(&view_of(&["b", "a"], &[other, one]));
        assert!(deltas[0].is_first, "a source that returns is a new one");
    }

    #[test]
    fn batches_of_different_definitions_are_not_compared() {
        let mut baseline = Baseline::default();
        let of = |revision: u64, records: Option<&[u8]>| {
            view(&[records.map(batch)]).with_revisions([revision].into())
        };
        baseline.advance(&of(1, Some(&[1, 2])));
        let changed = baseline.advance(&of(2, Some(&[1, 3])));
        assert_eq!((changed[0].is_first, &changed[0].added[..]), (true, &[0, 1][..]));
        assert!(!baseline.advance(&of(2, Some(&[1, 3, 4])))[0].is_first);
        assert_eq!(baseline.advance(&of(3, None)), []);
        assert!(baseline.advance(&of(3, Some(&[1, 3, 4])))[0].is_first);
    }

    #[test]
    fn superseded_batches_are_not_kept_in_memory() {
        let mut baseline = Baseline::default();
        let first = batch(&[1]);
        baseline.advance(&view(&[Some(Arc::clone(&first))]));
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
