//! The times of records.

use std::time::{SystemTime, UNIX_EPOCH};

/// Times are in ticks of 100 ns since the epoch, which gives timestamps of up to 17 digits.
pub(super) const TICKS_PER_SECOND: u64 = 10_000_000;

/// A time in ticks of 100 ns since the epoch.
pub(super) fn ticks(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs() * TICKS_PER_SECOND + u64::from(since_epoch.subsec_nanos()) / 100
}
