//! Random series of refreshes, and an oracle for their differences.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A record: its name, content, and attribution unless identities are unavailable.
type Record = (u8, u8, Option<u8>);

/// A refresh under a definition, by which names become ids.
type Refresh = (u8, Vec<Record>);

const NAMES: u8 = 8;

/// A content and an attribution for each name.
type Values = [(u8, Option<u8>); 8];

/// Whether one name stands there with two contents. Decoding never yields such records.
fn is_ambiguous(records: &[Record]) -> bool {
    let mut contents = BTreeMap::new();
    records.iter().any(|(name, content, attribution)| {
        *contents.entry(*name).or_insert((content, attribution)) != (content, attribution)
    })
}

/// Compares each refresh with what the ones before have left, and checks the differences.
fn check(refreshes: &[Refresh]) -> Result<(), TestCaseError> {
    let content = |record: Record| u128::from(record.0) << 64 | u128::from(record.1);
    let mut stored: Vec<StoredEntry> = Vec::new();
    let mut next = Version(1);
    let mut last_definition = 0;
    for (definition, records) in refreshes {
        let id = |record: Record| StableId([(record.0 + definition) % NAMES; 16]);
        let are_ids_comparable = last_definition == *definition;
        last_definition = *definition;
        let digests = |index: usize| RecordDigests {
            content: content(records[index]),
            attribution: records[index].2.map_or(0, u64::from),
            keeps_attribution: records[index].2.is_none(),
        };
        let id_at = |index: usize| id(records[index]);
        let difference = compare(&stored, records.len(), are_ids_comparable, digests, id_at);
        let before: BTreeMap<StableId, StoredEntry> =
            stored.iter().map(|entry| (entry.id, *entry)).collect();
        // What must be stored of each id: the last record with it.
        let mut expected = BTreeMap::new();
        for record in records {
            let kept = before.get(&id(*record)).map_or(0, |before| before.attribution);
            let attribution = record.2.map_or(kept, u64::from);
            expected.insert(id(*record), (content(*record), attribution));
        }
        let is_changed = |(id, now): (&StableId, &(u128, u64))| {
            let before = before.get(id).map(|before| (before.content, before.attribution));
            (before != Some(*now)).then_some(*id)
        };
        let changed: Vec<StableId> = expected.iter().filter_map(is_changed).collect();
        let mut upserts: Vec<StableId> = difference.upserts.iter().map(|(_, id)| *id).collect();
        for (index, id) in &difference.upserts {
            prop_assert_eq!(id_at(*index), *id);
            prop_assert_eq!((digests(*index).content, *id), (expected[id].0, *id));
        }
        upserts.sort_unstable();
        prop_assert!(upserts.windows(2).all(|pair| pair[0] < pair[1]), "each id once");
        prop_assert!(changed.iter().all(|id| upserts.contains(id)));
        if !is_ambiguous(records) {
            prop_assert_eq!(&changed, &upserts, "only what has changed");
        }
        let gone = before.values().filter(|entry| !expected.contains_key(&entry.id));
        let mut gone: Vec<Version> = gone.map(|entry| entry.version).collect();
        gone.sort_unstable();
        prop_assert_eq!(&gone, &difference.left);
        let is_same_order =
            records.iter().map(|record| id(*record)).eq(stored.iter().map(|entry| entry.id));
        prop_assert_eq!(difference.is_empty(), upserts.is_empty() && is_same_order);
        let sequence = difference.sequence();
        let count = i64::try_from(upserts.len()).unwrap();
        stored = difference.into_entries(next);
        for ((entry, item), record) in stored.iter().zip(&sequence).zip(records) {
            prop_assert_eq!(entry.id, id(*record));
            prop_assert_eq!((entry.content, entry.attribution), expected[&entry.id]);
            let version = match item {
                SequenceItem::Stored(version) => {
                    prop_assert_eq!(before[&entry.id].version, *version);
                    *version
                }
                SequenceItem::Upsert(index) => Version(next.0 + i64::try_from(*index).unwrap()),
            };
            prop_assert_eq!(version, entry.version);
        }
        prop_assert_eq!((stored.len(), sequence.len()), (records.len(), records.len()));
        next = Version(next.0 + count);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_difference_is_what_an_oracle_says(
        refreshes in prop::collection::vec(
            (
                0..2_u8,
                prop::collection::vec(
                    (0..NAMES, 0..3_u8, prop::option::weighted(0.8, 1..4_u8)),
                    0..12,
                ),
            ),
            1..6,
        ),
    ) {
        check(&refreshes)?;
    }

    #[test]
    fn unambiguous_records_are_written_only_if_they_have_changed(
        refreshes in prop::collection::vec(
            (
                0..2_u8,
                prop::collection::vec(0..NAMES, 0..12),
                prop::array::uniform8((0..3_u8, prop::option::weighted(0.8, 1..4_u8))),
            ),
            1..6,
        ),
    ) {
        let refresh = |(definition, names, values): (u8, Vec<u8>, Values)| {
            let record = |name: u8| {
                let (content, attribution) = values[usize::from(name)];
                (name, content, attribution)
            };
            (definition, names.into_iter().map(record).collect())
        };
        let refreshes: Vec<Refresh> = refreshes.into_iter().map(refresh).collect();
        check(&refreshes)?;
    }
}

#[test]
fn a_window_that_slides_needs_few_comparisons() {
    let entry = |number: u8| StoredEntry {
        id: StableId([number; 16]),
        content: number.into(),
        attribution: 0,
        version: Version(number.into()),
    };
    let stored: Vec<StoredEntry> = (0..100).map(entry).collect();
    let digests = |index: usize| RecordDigests {
        content: index as u128 + 10,
        attribution: 0,
        keeps_attribution: false,
    };
    let asked = std::cell::Cell::new(0);
    let id = |index: usize| {
        asked.set(asked.get() + 1);
        StableId([u8::try_from(index + 10).unwrap(); 16])
    };
    let difference = compare(&stored, 100, true, digests, id);
    assert_eq!(difference.upserts.len(), 10);
    assert_eq!(difference.left, (0..10).map(Version).collect::<Vec<_>>());
    assert_eq!(asked.get(), 10, "ids are computed of new records only");
}
