//! An index of employees by the time of their incidents, so that a query for a short period does
//! not go through all incidents.

use super::IncidentRef;

/// About how many incidents a bucket holds.
const INCIDENTS_PER_BUCKET: usize = 32;

/// How many incidents are sampled to find the period in which most of them lie.
const SAMPLES: usize = 1024;

/// From every so many samples one at each end is taken for an outlier.
const SAMPLES_PER_OUTLIER: usize = 64;

/// When the incidents of a period are more than this part of the employees, going through all
/// employees costs less than to collect and sort those of the period.
const MAX_SHARE_OF_EMPLOYEES: usize = 4;

/// Buckets of time, each with the ranks of the employees of its incidents.
#[derive(Debug)]
pub(super) struct TimeIndex {
    /// The begin of the first bucket. That bucket also holds all earlier incidents, and the last
    /// bucket all later ones.
    begin: f64,
    buckets_per_second: f64,
    /// Where each bucket ends in `ranks`.
    bucket_ends: Vec<u32>,
    /// The rank of each incident's employee, bucket after bucket.
    ranks: Vec<u32>,
}

impl TimeIndex {
    /// Indexes the incidents of employees in the order of their ranks, four groups each.
    pub(super) fn new(incidents: &[IncidentRef], group_ends: &[u32]) -> Self {
        let (earliest, latest) = usual_period(incidents);
        let margin = (latest - earliest) / 8.0;
        let buckets = incidents.len() / INCIDENTS_PER_BUCKET + 1;
        let buckets_per_second = buckets as f64 / (latest - earliest + 2.0 * margin);
        let mut index = Self {
            begin: earliest - margin,
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
        // Each size becomes the begin of its bucket, which the next loop advances to its end.
        let mut begin = 0;
        for end in &mut index.bucket_ends {
            begin += std::mem::replace(end, begin);
        }
        let mut begin = 0;
        for (rank, ends) in (0..).zip(group_ends.chunks_exact(4)) {
            for incident in &incidents[begin..ends[3] as usize] {
                let bucket = index.bucket(incident.timestamp);
                index.ranks[index.bucket_ends[bucket] as usize] = rank;
                index.bucket_ends[bucket] += 1;
            }
            begin = ends[3] as usize;
        }
        index
    }

    /// The bucket of a time. Of two times the later one is never in the earlier bucket.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times outside all buckets go to the first or the last"
    )]
    fn bucket(&self, time: f64) -> usize {
        let bucket = ((time - self.begin) * self.buckets_per_second) as usize;
        bucket.min(self.bucket_ends.len() - 1)
    }

    /// The ranks, ascending, of all employees with incidents from `since` on and before `until`,
    /// and of some others whose incidents share a bucket with those; `None` when it is as well to
    /// go through all `employees`.
    pub(super) fn ranks(
        &self,
        since: Option<f64>,
        until: Option<f64>,
        employees: usize,
    ) -> Option<Vec<usize>> {
        let first = since.map_or(0, |since| self.bucket(since));
        let last = until.map_or(self.bucket_ends.len() - 1, |until| self.bucket(until));
        let begin = first.checked_sub(1).map_or(0, |before| self.bucket_ends[before]) as usize;
        let ranks = self.ranks.get(begin..self.bucket_ends[last] as usize).unwrap_or(&[]);
        if ranks.len() > employees / MAX_SHARE_OF_EMPLOYEES {
            return None;
        }
        let mut ranks: Vec<usize> = ranks.iter().map(|rank| *rank as usize).collect();
        ranks.sort_unstable();
        ranks.dedup();
        Some(ranks)
    }
}

/// The period of nearly all incidents. Outliers are left out: one timestamp of 0 must not put all
/// others into one bucket.
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

    /// So many records of a month, about 25 an employee, and some from other times.
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
        join(None, &[Some(Arc::new(incidents))])
    }

    /// Whose incidents lie in the time, found by a look at every one.
    fn exact(index: &IncidentIndex, since: Option<f64>, until: Option<f64>) -> Vec<usize> {
        let lies = |time: f64| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        };
        let has = |rank: &usize| {
            index.employee_at(*rank).groups.concat().iter().any(|incident| lies(incident.timestamp))
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
