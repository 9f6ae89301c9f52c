//! The lease: which of the processes that share a store refreshes and writes.

use tokio::time::Instant;

use super::KeptUp;

/// The number of a lease. Each change of the holder increments it, so that a former holder's writes
/// can be told from those of the present one (a fencing token).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// Who holds the lease.
#[derive(Clone, Debug)]
pub enum Lease {
    /// This process.
    Held {
        /// The number of the lease.
        epoch: Epoch,
        /// Until when this process may rely on it, by its own clock.
        until: Instant,
    },
    /// Another process.
    Other {
        /// What that process refreshes.
        kept_up: KeptUp,
    },
}
