//! Going through the records of all sources by and large in the order of time.

use crate::decode::{Incidents, Record};

/// How many records a slice of time has, about: so few that two of the same list are seldom in one.
const PER_SLICE: usize = 128;

/// Calls `each` with the source, the index and the record, for all records: one slice of time after
/// the other, in each the sources one after the other, in each its records in upstream order. A
/// record that comes late in its source's list comes late here too.
///
/// Lists that are filled in this order are very nearly sorted, and sorting them costs little.
pub(super) fn for_each<'a>(
    sources: &[Option<&'a Incidents>],
    mut each: impl FnMut(usize, usize, &'a Record),
) {
    let mut batches: Vec<_> =
        (0..).zip(sources).filter_map(|(source, batch)| Some((source, 0, (*batch)?))).collect();
    let records: usize = batches.iter().map(|(.., batch)| batch.records().len()).sum();
    let slices = records / PER_SLICE + 1;
    let earliest =
        batches.iter().map(|(.., batch)| batch.times().earliest).fold(f64::INFINITY, f64::min);
    let latest =
        batches.iter().map(|(.., batch)| batch.times().latest).fold(f64::NEG_INFINITY, f64::max);
    for slice in 1..=slices {
        let end = if slice < slices {
            earliest + (latest - earliest) * (slice as f64 / slices as f64)
        } else {
            f64::INFINITY
        };
        for (source, next, batch) in &mut batches {
            for record in &batch.records()[*next..] {
                if record.timestamp() >= end {
                    break;
                }
                each(*source, *next, record);
                *next += 1;
            }
        }
    }
}
