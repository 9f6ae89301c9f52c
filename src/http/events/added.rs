//! Which records a source's new batch has that its last known one had not.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::decode::Incidents;

/// The indices of the records of `after` that are not in `before`, as multisets: a record that
/// comes twice and came once before is new once. Records are the same when their bytes are.
///
/// Costs nothing beyond comparing bytes for the records with which both begin or end; usually a
/// source only appends.
pub(super) fn added(before: &Incidents, after: &Incidents) -> BTreeSet<usize> {
    let bytes = |batch: &'_ Incidents, index: usize| xxh3_64(batch.bytes(&batch.records()[index]));
    let same = |old: usize, new: usize| {
        before.bytes(&before.records()[old]) == after.bytes(&after.records()[new])
    };
    let (old, new) = (before.records().len(), after.records().len());
    let shorter = old.min(new);
    let prefix = (0..shorter).take_while(|&index| same(index, index)).count();
    let suffix =
        (0..shorter - prefix).take_while(|&index| same(old - 1 - index, new - 1 - index)).count();
    let hashes = |batch: &Incidents, end: usize| {
        let mut hashes: Vec<(u64, usize)> =
            (prefix..end).map(|index| (bytes(batch, index), index)).collect();
        hashes.sort_unstable();
        hashes
    };
    let mut known = hashes(before, old - suffix).into_iter().map(|(hash, _)| hash).peekable();
    let mut added = BTreeSet::new();
    for (hash, index) in hashes(after, new - suffix) {
        while known.next_if(|&known| known < hash).is_some() {}
        if known.next_if_eq(&hash).is_none() {
            added.insert(index);
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::decode::SourceFields;

    fn batch(records: &[u8]) -> Incidents {
        let records: Vec<String> = records.iter().map(u8::to_string).collect();
        let body = format!("{{\"results\":[{}]}}", records.join(","));
        Incidents::decode(Bytes::from(body), &SourceFields::new(&[])).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_the_difference_of_multisets(
            before in prop::collection::vec(0..6_u8, 0..20),
            after in prop::collection::vec(0..6_u8, 0..20),
        ) {
            let mut rest = before.clone();
            let mut expected: Vec<u8> = after.iter().copied().filter(|record| {
                rest.iter().position(|known| known == record).map(|place| rest.swap_remove(place)).is_none()
            }).collect();
            let mut given: Vec<u8> = added(&batch(&before), &batch(&after)).into_iter().map(|index| after[index]).collect();
            expected.sort_unstable();
            given.sort_unstable();
            prop_assert_eq!(given, expected);
        }
    }

    #[test]
    fn what_is_appended_or_put_before_is_new() {
        assert_eq!(added(&batch(&[1, 2]), &batch(&[1, 2, 2, 3])), BTreeSet::from([2, 3]));
        assert_eq!(added(&batch(&[1, 2]), &batch(&[3, 1, 2])), BTreeSet::from([0]));
        assert_eq!(added(&batch(&[1, 2]), &batch(&[2, 1])), BTreeSet::new());
    }
}
