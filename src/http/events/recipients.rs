//! The employees whom a burst of records concerns that is sent as a single `reset`.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// The most memory that a set takes.
pub(super) const MAX_RECIPIENTS_BYTES: usize = 2 << 20;

/// The most employees in a set.
const MAX_RECIPIENTS: usize = MAX_RECIPIENTS_BYTES / size_of::<u64>();

/// A set of employees by keyed hashes of their ids, so that one takes eight bytes whatever the
/// length of its id. An upstream does not know the keys, so it cannot choose ids that collide.
#[derive(Clone, Debug)]
pub(super) struct Recipients {
    keys: RandomState,
    /// Ascending.
    hashes: Arc<[u64]>,
}

impl Recipients {
    /// The set of these employees; `None` if they are too many to remember.
    pub(super) fn new<'a>(ids: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let keys = RandomState::new();
        let ids = ids.into_iter().take(MAX_RECIPIENTS + 1);
        let mut hashes: Vec<u64> = ids.map(|id| keys.hash_one(id)).collect();
        if hashes.len() > MAX_RECIPIENTS {
            return None;
        }
        hashes.sort_unstable();
        Some(Self { keys, hashes: hashes.into() })
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.hashes.binary_search(&self.keys.hash_one(id)).is_ok()
    }

    /// The memory that the hashes take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_given_employees_in_bounded_memory() {
        let recipients = Recipients::new(["9", "10", "", "7"]).unwrap();
        let is_in = ["9", "10", "", "7", "77", "1", "8"].map(|id| recipients.contains(id));
        assert_eq!(is_in, [true, true, true, true, false, false, false]);
        assert_eq!(recipients.bytes(), 4 * 8);
        let most = Recipients::new(std::iter::repeat_n("7", MAX_RECIPIENTS)).unwrap();
        assert_eq!(most.bytes(), MAX_RECIPIENTS_BYTES);
        assert!(Recipients::new(std::iter::repeat_n("7", MAX_RECIPIENTS + 1)).is_none());
    }
}
