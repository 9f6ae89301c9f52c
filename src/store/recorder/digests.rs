//! Keyed digests, by which records are compared with what is stored.

use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_secret};

use crate::decode::Priority;
use crate::join::Reason;

const SECRET_BYTES: usize = 192;

/// Makes digests of records. Their key is random, so that nobody can prepare records whose digests
/// are equal.
#[derive(Debug)]
pub(super) struct Digests {
    secret: [u8; SECRET_BYTES],
}

impl Digests {
    pub(super) fn new() -> Self {
        let mut secret = [0; SECRET_BYTES];
        fastrand::fill(&mut secret);
        Self { secret }
    }

    /// Of a record's bytes, priority and time.
    pub(super) fn content(
        &self,
        bytes: &[u8],
        priority: Option<Priority>,
        timestamp: Option<f64>,
    ) -> u128 {
        // Different values are added to the digest of equal bytes, so that the sums differ.
        let priority = priority.map_or(0, |priority| priority as u128 + 1);
        let timestamp = timestamp.map_or(0, |timestamp| u128::from(timestamp.to_bits()) + 1);
        xxh3_128_with_secret(bytes, &self.secret).wrapping_add(timestamp << 8 | priority)
    }

    /// Of the attribution to an employee.
    pub(super) fn employee(&self, id: &str) -> u64 {
        xxh3_64_with_secret(id.as_bytes(), &self.secret) | 1
    }

    /// Of a record without an employee. It is even, those of employees are odd.
    pub(super) fn reason(reason: Option<Reason>) -> u64 {
        reason.map_or(0, |reason| (reason as u64 + 1) << 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_records_have_different_digests() {
        let digests = Digests::new();
        let priorities = [None, Some(Priority::Low), Some(Priority::Critical)];
        let times = [None, Some(0.0), Some(1.0), Some(1.5), Some(-1.0)];
        let mut contents = HashSet::new();
        for bytes in [&b""[..], b"{}", b"{ }"] {
            for priority in priorities {
                contents.extend(times.map(|time| digests.content(bytes, priority, time)));
            }
        }
        assert_eq!(contents.len(), 3 * priorities.len() * times.len());
        let mut attributions: HashSet<u64> =
            Reason::ALL.map(|reason| Digests::reason(Some(reason))).into();
        attributions.insert(Digests::reason(None));
        attributions.extend(["", "7", "unknown_ip"].map(|id| digests.employee(id)));
        assert_eq!(attributions.len(), Reason::ALL.len() + 4);
    }

    #[test]
    fn digests_of_processes_differ() {
        let [one, other] = [(); 2].map(|()| Digests::new().content(b"{}", None, None));
        assert_ne!(one, other);
    }
}
