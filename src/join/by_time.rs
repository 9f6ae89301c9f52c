//! An index of employees by the time of their incidents, so that a query for a short period does
//! not go through all incidents.

use super::Joined;

/// How many incidents a bucket has, about.
const PER_BUCKET: usize = 32;

/// How many incidents are looked at to see over what time most of them lie.
const SAMPLED: usize = 1024;

/// Going through one employee after another costs less than looking up and sorting more than this
/// part of them.
const SHARE: usize = 4;

/// The employees, by the time of their incidents.
#[derive(Debug, Default)]
pub(super) struct TimeIndex {
    /// Where the first bucket begins, but that it has all that is earlier too, as the last has all
    /// that is later.
    begin: f64,
    /// How many buckets a second has.
    per_second: f64,
    /// Where each bucket ends in `ranks`.
    ends: Vec<u32>,
    /// Of each incident, its employee's place in the document.
    ranks: Vec<u32>,
}

impl TimeIndex {
    pub(super) fn new(joined: &Joined) -> Self {
        let placed = &joined.placed;
        let mut sample: Vec<f64> = placed
            .iter()
            .step_by(placed.len() / SAMPLED + 1)
            .map(|placed| placed.timestamp)
            .collect();
        sample.sort_unstable_by(f64::total_cmp);
        // A few times that are far off, 0 say, must not have all others share a bucket.
        let spared = sample.len() / 64;
        let (earliest, latest) = match sample.get(spared..sample.len() - spared) {
            Some([only]) => (*only, *only),
            Some([earliest, .., latest]) => (*earliest, *latest),
            _ => (0.0, 0.0),
        };
        let margin = (latest - earliest) / 8.0;
        let buckets = placed.len() / PER_BUCKET + 1;
        let per_second = buckets as f64 / (latest - earliest + 2.0 * margin);
        let mut times = Self {
            begin: earliest - margin,
            per_second: if per_second.is_finite() { per_second } else { 0.0 },
            ends: vec![0; buckets],
            ranks: vec![0; placed.len()],
        };
        for placed in placed {
            let bucket = times.bucket(placed.timestamp);
            times.ends[bucket] += 1;
        }
        let mut begin = 0;
        for end in &mut times.ends {
            begin += std::mem::replace(end, begin);
        }
        // What is now where a bucket begins moves on to where it ends.
        for (rank, employee) in (0..).zip(joined.employees()) {
            for placed in employee.groups.into_iter().flatten() {
                let bucket = times.bucket(placed.timestamp);
                times.ranks[times.ends[bucket] as usize] = rank;
                times.ends[bucket] += 1;
            }
        }
        times
    }

    /// A time is never in an earlier bucket than an earlier time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times off all buckets come into the first or the last"
    )]
    fn bucket(&self, time: f64) -> usize {
        (((time - self.begin) * self.per_second) as usize).min(self.ends.len() - 1)
    }

    /// The places, in order, of all employees with incidents from `since` on and before `until`,
    /// and of some others; none when it is as well to go through all.
    pub(super) fn ranks(
        &self,
        since: Option<f64>,
        until: Option<f64>,
        employees: usize,
    ) -> Option<Vec<usize>> {
        let first = since.map_or(0, |since| self.bucket(since));
        let last = until.map_or(self.ends.len() - 1, |until| self.bucket(until));
        let begin = first.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let ranks = self.ranks.get(begin..self.ends[last] as usize).unwrap_or(&[]);
        if ranks.len() > employees / SHARE {
            return None;
        }
        let mut ranks: Vec<usize> = ranks.iter().map(|rank| *rank as usize).collect();
        ranks.sort_unstable();
        ranks.dedup();
        Some(ranks)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use bytes::Bytes;

    use super::super::join;
    use super::*;
    use crate::decode::{Incidents, SourceFields};

    const MONTH: f64 = 2_600_000.0;

    /// So many records of a month, about 25 an employee, and some from other times.
    fn joined(records: usize, others: &[f64]) -> Joined {
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
        join(None, &[Some(&incidents)])
    }

    /// Whose incidents lie in the time, found by a look at every one.
    fn exact(joined: &Joined, since: Option<f64>, until: Option<f64>) -> Vec<usize> {
        let lies = |time: f64| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        };
        let has = |rank: &usize| {
            joined.employee_at(*rank).groups.concat().iter().any(|placed| lies(placed.timestamp))
        };
        (0..joined.employee_count()).filter(has).collect()
    }

    #[test]
    fn nobody_is_missed() {
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
            let joined = joined(records, others);
            let mut found = 0;
            for _ in 0..300 {
                let mut time = || match rng.u8(..8) {
                    0 => None,
                    1 => Some(strange[rng.usize(..strange.len())]),
                    _ => Some(1e9 - MONTH / 8.0 + rng.f64() * MONTH * 1.25),
                };
                let (since, other) = (time(), time());
                for until in [other, since.map(|since| since + 60.0), since] {
                    let exact = exact(&joined, since, until);
                    let Some(ranks) = joined.ranks_between(since, until) else { continue };
                    found += 1;
                    assert!(ranks.is_sorted_by(|one, next| one < next));
                    assert!(
                        exact.iter().all(|rank| ranks.binary_search(rank).is_ok()),
                        "{since:?} to {until:?}"
                    );
                }
            }
            assert!(found > 300 || joined.employee_count() < 100, "{found} of 900 were answered");
        }
    }

    #[test]
    fn a_short_time_has_few() {
        for others in [&[][..], &[0.0, 1e12, -1e300]] {
            let joined = joined(20_000, others);
            for since in [1e9 + 1.0, 1e9 + MONTH / 2.0, 1e9 + MONTH - 3600.0] {
                let ranks = joined.ranks_between(Some(since), Some(since + 3600.0)).unwrap();
                assert!(
                    (1..=4 * PER_BUCKET).contains(&ranks.len()),
                    "{} after {since}",
                    ranks.len()
                );
            }
            assert_eq!(joined.ranks_between(Some(1e9), None), None, "all");
        }
    }
}
