//! Merges the records of an incremental fetch into those from before.

use hashbrown::{HashMap, HashSet};

use super::incidents::Incidents;
use super::mapped::{MappedRecords, seconds};
use super::offset;
use super::record::{IDENTITY, IdentityValue};
use super::record_ids::RecordIds;

impl Incidents {
    /// The records of `previous` and then those of `newer`, which must both come from the decoder
    /// of a source with `incremental`. Records of `previous` whose id comes again in `newer` are
    /// left out, and so are records whose time is before `earliest_micros`; those without a valid
    /// time stay. A record without an id comes again if its envelope does, byte for byte: otherwise
    /// each fetch would add those within the overlap once more.
    ///
    /// [`Self::unmapped`] counts the records that stay; [`Self::duplicates`] is that of `newer`.
    ///
    /// `None` if the envelopes of all records, or their ids, are larger than 4 GiB together.
    #[must_use]
    pub fn merged(previous: &Self, newer: Self, earliest_micros: i64) -> Option<Self> {
        let kept = kept_records(previous, &newer, seconds(earliest_micros));
        let mut merged = MappedRecords::default();
        let batches = [previous, &newer];
        let size = |(batch, kept): (&&Self, &Vec<usize>)| -> usize {
            kept.iter().map(|record| batch.bytes(&batch.records[*record]).len()).sum()
        };
        merged.body.reserve_exact(batches.iter().zip(&kept).map(size).sum());
        merged.records.reserve_exact(kept.iter().map(Vec::len).sum());
        for (batch, kept) in batches.into_iter().zip(&kept) {
            merged.append(batch, kept);
        }
        let duplicates = newer.duplicates;
        drop(newer);
        merged.check_size().ok()?;
        let mut incidents = merged.finish(true);
        incidents.duplicates = duplicates;
        Some(incidents)
    }
}

/// The records of each batch that stay.
fn kept_records(previous: &Incidents, newer: &Incidents, earliest: f64) -> [Vec<usize>; 2] {
    let newer_ids: HashSet<&[u8]> = match &newer.ids {
        Some(ids) => (0..newer.records.len()).filter_map(|record| ids.key(record)).collect(),
        None => HashSet::new(),
    };
    // How often each envelope without an id comes again.
    let mut newer_envelopes: HashMap<&[u8], usize> = HashMap::new();
    for (index, record) in newer.records.iter().enumerate() {
        if newer.ids.as_ref().is_none_or(|ids| ids.key(index).is_none()) {
            *newer_envelopes.entry(newer.bytes(record)).or_default() += 1;
        }
    }
    let mut is_replaced =
        |record: usize| match previous.ids.as_ref().and_then(|ids| ids.key(record)) {
            Some(id) => newer_ids.contains(id),
            None => match newer_envelopes.get_mut(previous.bytes(&previous.records[record])) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    true
                }
                _ => false,
            },
        };
    let is_recent = |batch: &Incidents, record: usize| {
        let timestamp = batch.records[record].timestamp;
        timestamp.is_nan() || timestamp >= earliest
    };
    let previous_records = 0..previous.records.len();
    [
        previous_records
            .filter(|record| is_recent(previous, *record) && !is_replaced(*record))
            .collect(),
        (0..newer.records.len()).filter(|record| is_recent(newer, *record)).collect(),
    ]
}

impl MappedRecords {
    /// Appends records of a batch.
    fn append(&mut self, batch: &Incidents, kept: &[usize]) {
        let no_ids = RecordIds::default();
        let ids = batch.ids.as_ref().unwrap_or(&no_ids);
        let mut lists: Vec<Option<u32>> = Vec::new();
        for &index in kept {
            let mut record = batch.records[index];
            record.start = offset(self.body.len());
            self.body.extend_from_slice(batch.bytes(&batch.records[index]));
            if let Some(text) = batch.unmapped_values.get(record.unmapped) {
                record.unmapped = self.unmapped.note_text(text);
            }
            if record.flags & IDENTITY != 0
                && let Some(IdentityValue::Keys(list)) = record.identity()
            {
                if list >= lists.len() {
                    lists.resize(list + 1, None);
                }
                record.identity = *lists[list].get_or_insert_with(|| {
                    let keys = batch.key_list(list).iter();
                    let keys: Vec<u32> =
                        keys.map(|key| self.keys.key(batch.keys[*key as usize].clone())).collect();
                    self.keys.list(&keys)
                });
            }
            self.ids.push(ids.key(index));
            self.records.push(record);
        }
    }
}
