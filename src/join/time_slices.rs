//! Visits the records of all sources in nearly chronological order.

use std::sync::Arc;

use crate::decode::{Incidents, Record};

/// The average number of records in a slice of time: so few that two incidents of the same group
/// are seldom in one slice.
const RECORDS_PER_SLICE: usize = 128;

/// Calls `visit` once for each record, with the index of its source, its index there, and the
/// record. Visits one slice of time after another, within a slice one source after another, and the
/// records of a source in upstream order.
///
/// If each source's records are sorted by time, as they usually are, groups that are filled in this
/// order are nearly sorted, and sorting them costs little. A record that is out of order in its
/// source is visited out of order too.
pub(super) fn for_each_by_time_slice<'a>(
    sources: &'a [Option<Arc<Incidents>>],
    mut visit: impl FnMut(usize, usize, &'a Record),
) {
    let mut batches: Vec<(usize, usize, &Incidents)> = Vec::with_capacity(sources.len());
    for (source, batch) in sources.iter().enumerate() {
        batches.extend(batch.as_deref().map(|batch| (source, 0, batch)));
    }
    let records: usize = batches.iter().map(|(.., batch)| batch.records().len()).sum();
    let slices = records / RECORDS_PER_SLICE + 1;
    let ranges = || batches.iter().map(|(.., batch)| batch.timestamps());
    let earliest = ranges().map(|range| range.earliest).fold(f64::INFINITY, f64::min);
    let latest = ranges().map(|range| range.latest).fold(f64::NEG_INFINITY, f64::max);
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
                visit(*source, *next, record);
                *next += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::decode::SourceFields;

    #[expect(clippy::unnecessary_wraps, reason = "a source's data as the join takes it")]
    fn batch(timestamps: &[&str]) -> Option<Arc<Incidents>> {
        let records: Vec<String> =
            timestamps.iter().map(|time| format!("{{\"timestamp\":{time}}}")).collect();
        let body = format!("{{\"results\":[{}]}}", records.join(","));
        let batch = Incidents::decode(Bytes::from(body), &SourceFields::new(&[])).unwrap();
        Some(Arc::new(batch))
    }

    fn visited(sources: &[Option<Arc<Incidents>>]) -> Vec<(usize, usize)> {
        let mut visited = Vec::new();
        for_each_by_time_slice(sources, |source, record, _| visited.push((source, record)));
        visited
    }

    #[test]
    fn every_record_is_visited_once_also_without_a_valid_time() {
        let sources =
            [batch(&["1e308", "null", "-1e308", "5"]), None, batch(&[]), batch(&["\"x\"", "null"])];
        let mut visited = visited(&sources);
        visited.sort_unstable();
        assert_eq!(visited, [(0, 0), (0, 1), (0, 2), (0, 3), (3, 0), (3, 1)]);
    }

    #[test]
    fn sorted_sources_are_merged_by_slices_of_time() {
        let times: Vec<String> = (0..20_000).map(|second| second.to_string()).collect();
        let times: Vec<&str> = times.iter().map(String::as_str).collect();
        let (early, late) = times.split_at(10_000);
        let sources = [batch(late), batch(early)];
        let visited = visited(&sources);
        assert_eq!(visited.len(), 20_000);
        assert!(visited[..9_000].iter().all(|(source, _)| *source == 1));
        assert!(visited[11_000..].iter().all(|(source, _)| *source == 0));
    }
}
