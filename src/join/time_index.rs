//! An index of employees by the times of their incidents, so that a query for a short period need
//! not scan all incidents.

use super::{GROUPS_PER_EMPLOYEE, IncidentRef};

/// The average number of incidents in a bucket.
const INCIDENTS_PER_BUCKET: usize = 32;

/// How many incidents are sampled to find the period in which most of them are.
const SAMPLES: usize = 1024;

/// One in this many samples counts as an outlier at each end of the period.
const SAMPLES_PER_OUTLIER: usize = 64;

/// The index is used only if the period has at most one incident for this many employees. With
/// more, a scan of all employees costs less than collecting and sorting those of the period.
const MIN_EMPLOYEES_PER_INCIDENT: usize = 4;

/// Buckets of time, each with the ranks of the employees that have incidents in it.
#[derive(Debug)]
pub(super) struct TimeIndex {
    /// The start of the first bucket, in seconds since the epoch. That bucket also holds all
    /// earlier incidents, and the last bucket all later ones.
    start: f64,
    buckets_per_second: f64,
    /// The end of each bucket in `ranks`.
    bucket_ends: Vec<u32>,
    /// The rank of each incident's employee, sorted by bucket.
    ranks: Vec<u32>,
}

impl TimeIndex {
    /// Indexes incidents, which are in the order of their employees' ranks. `group_ends` has the
    /// ends of the groups of each employee.
    pub(super) fn new(incidents: &[IncidentRef], group_ends: &[u32]) -> Self {
        let (earliest, latest) = usual_period(incidents);
        let margin = (latest - earliest) / 8.0;
        let buckets = incidents.len() / INCIDENTS_PER_BUCKET + 1;
        let buckets_per_second = buckets as f64 / (latest - earliest + 2.0 * margin);
        let mut index = Self {
            start: earliest - margin,
            buckets_per_second: if buckets_per_second.is_finite() {
                buckets_per_second
            } else {
                0.0
            },
            bucket_ends: vec![0; buckets],
            ranks: vec![0; incidents.len()],
        };
        for incident in incidents {
            let bucket = index.bucket(incident.timestamp);
            index.bucket_ends[bucket] += 1;
        }
        // Turns each bucket's size into its start, which the next loop advances to its end.
        let mut start = 0;
        for end in &mut index.bucket_ends {
            start += std::mem::replace(end, start);
        }
        let mut start = 0;
        for (rank, ends) in (0..).zip(group_ends.chunks_exact(GROUPS_PER_EMPLOYEE)) {
            let end = ends[GROUPS_PER_EMPLOYEE - 1] as usize;
            for incident in &incidents[start..end] {
                let bucket = index.bucket(incident.timestamp);
                index.ranks[index.bucket_ends[bucket] as usize] = rank;
                index.bucket_ends[bucket] += 1;
            }
            start = end;
        }
        index
    }

    /// The bucket of a time. It never decreases as the time increases.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times outside all buckets go to the first or the last"
    )]
    fn bucket(&self, time: f64) -> usize {
        let bucket = ((time - self.start) * self.buckets_per_second) as usize;
        bucket.min(self.bucket_ends.len() - 1)
    }

    /// The ranks, ascending, of all employees with incidents from `since` (inclusive) to `until`
    /// (exclusive), and of some others with incidents in the same buckets. `None` if a scan of all
    /// `employees` is as fast.
    pub(super) fn ranks(
        &self,
        since: Option<f64>,
        until: Option<f64>,
        employees: usize,
    ) -> Option<Vec<usize>> {
        let first = since.map_or(0, |since| self.bucket(since));
        let last = until.map_or(self.bucket_ends.len() - 1, |until| self.bucket(until));
        let start = first.checked_sub(1).map_or(0, |before| self.bucket_ends[before]) as usize;
        let ranks = self.ranks.get(start..self.bucket_ends[last] as usize).unwrap_or(&[]);
        if ranks.len() > employees / MIN_EMPLOYEES_PER_INCIDENT {
            return None;
        }
        let mut ranks: Vec<usize> = ranks.iter().map(|rank| *rank as usize).collect();
        ranks.sort_unstable();
        ranks.dedup();
        Some(ranks)
    }
}

/// The period of nearly all incidents. Outliers are left out, so that one timestamp of 0 does not
/// put all others into one bucket.
fn usual_period(incidents: &[IncidentRef]) -> (f64, f64) {
    let step = incidents.len() / SAMPLES + 1;
    let mut sample: Vec<f64> =
        incidents.iter().step_by(step).map(|incident| incident.timestamp).collect();
    sample.sort_unstable_by(f64::total_cmp);
    let outliers = sample.len() / SAMPLES_PER_OUTLIER;
    match sample.get(outliers..sample.len() - outliers) {
        Some([only]) => (*only, *only),
        Some([earliest, .., latest]) => (*earliest, *latest),
        _ => (0.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::{IncidentIndex, join};
    use super::*;
    use crate::decode::{Incidents, SourceFields};

    const MONTH: f64 = 2_600_000.0;

    /// An index of `records` random records in a month, about 25 for each employee, and of records
    /// at the times `others`.
    fn index(records: usize, others: &[f64]) -> IncidentIndex {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut body = String::from("{\"results\":[");
        let times = (0..records).map(|_| 1e9 + rng.f64() * MONTH).collect::<Vec<_>>();
        for (index, time) in times.iter().chain(others).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let employee = 1000 + rng.usize(..=records / 25);
            write!(
                body,
                "{comma}{{\"priority\":\"low\",\"id\":{employee},\"timestamp\":{time:?}}}"
            )
            .unwrap();
        }
        body.push_str("]}");
        let incidents =
            Incidents::decode(Bytes::from(body), &SourceFields::new(&["id".to_owned()])).unwrap();
        join(&[], &[Some(Arc::new(incidents))])
    }

    /// The ranks of the employees with incidents in a period, found by a full scan.
    fn exact(index: &IncidentIndex, since: Option<f64>, until: Option<f64>) -> Vec<usize> {
        let is_within = |time: f64| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        };
        let has = |rank: &usize| {
            index
                .employee_at(*rank)
                .groups
                .concat()
                .iter()
                .any(|incident| is_within(incident.timestamp))
        };
        (0..index.employee_count()).filter(has).collect()
    }

    #[test]
    fn no_employee_of_a_period_is_missed() {
        let strange = [0.0, -1e300, 1e300, 1e9, 1e9 + MONTH, f64::MAX, f64::MIN];
        let mut rng = fastrand::Rng::with_seed(8);
        for (records, others) in [
            (0, &[][..]),
            (0, &[5.0]),
            (0, &[5.0, 5.0]),
            (0, &strange),
            (20_000, &[]),
            (20_000, &strange),
        ] {
            let index = index(records, others);
            let mut found = 0;
            for _ in 0..300 {
                let mut time = || match rng.u8(..8) {
                    0 => None,
                    1 => Some(strange[rng.usize(..strange.len())]),
                    _ => Some(1e9 - MONTH / 8.0 + rng.f64() * MONTH * 1.25),
                };
                let (since, other) = (time(), time());
                for until in [other, since.map(|since| since + 60.0), since] {
                    let exact = exact(&index, since, until);
                    let Some(ranks) = index.ranks_between(since, until) else { continue };
                    found += 1;
                    assert!(ranks.is_sorted_by(|one, next| one < next));
                    assert!(
                        exact.iter().all(|rank| ranks.binary_search(rank).is_ok()),
                        "{since:?} to {until:?}"
                    );
                }
            }
            assert!(found > 300 || index.employee_count() < 100, "{found} of 900 were answered");
        }
    }

    #[test]
    fn a_short_period_has_few_ranks() {
        for others in [&[][..], &[0.0, 1e12, -1e300]] {
            let index = index(20_000, others);
            for since in [1e9 + 1.0, 1e9 + MONTH / 2.0, 1e9 + MONTH - 3600.0] {
                let ranks = index.ranks_between(Some(since), Some(since + 3600.0)).unwrap();
                assert!(
                    (1..=4 * INCIDENTS_PER_BUCKET).contains(&ranks.len()),
                    "{} after {since}",
                    ranks.len()
                );
            }
            assert_eq!(index.ranks_between(Some(1e9), None), None, "all");
        }
    }
}
