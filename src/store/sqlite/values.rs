//! Times and other values, as columns have them.

use std::time::{Duration, SystemTime};

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::fault::Fault;
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::StableId;
use crate::store::codes::{priority_of, reason_of};

/// A time in seconds since the epoch.
pub(super) fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The time of a number of seconds since the epoch; the epoch for what no clock shows.
pub(super) fn time(seconds: f64) -> SystemTime {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How many seconds `now` is after `then`; never negative.
pub(super) fn age(now: f64, then: f64) -> Duration {
    Duration::try_from_secs_f64(now - then).unwrap_or_default()
}

/// The priority in a column.
pub(super) fn priority(row: &Row<'_>, column: usize) -> Result<Option<Priority>, Fault> {
    coded(row, column, priority_of, "a priority")
}

/// The reason in a column.
pub(super) fn reason(row: &Row<'_>, column: usize) -> Result<Option<Reason>, Fault> {
    coded(row, column, reason_of, "a reason")
}

fn coded<T>(
    row: &Row<'_>,
    column: usize,
    known: impl Fn(i64) -> Option<T>,
    what: &str,
) -> Result<Option<T>, Fault> {
    let code: Option<i64> = row.get(column)?;
    code.map(|code| known(code).ok_or_else(|| Fault::unreadable(what))).transpose()
}

/// The stable id in a column.
pub(super) fn stable_id(row: &Row<'_>, column: usize) -> Result<StableId, Fault> {
    Ok(StableId(row.get(column)?))
}

/// The text in a column.
pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a str>, Fault> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => value.as_str().map(Some).map_err(|_| Fault::unreadable("a text")),
    }
}

/// The blob in a column.
pub(super) fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], Fault> {
    row.get_ref(column)?.as_blob().map_err(|_| Fault::unreadable("a record"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_never_negative_and_times_always_valid() {
        assert_eq!(age(5.0, 3.0), Duration::from_secs(2));
        assert_eq!(age(3.0, 5.0), Duration::ZERO);
        assert_eq!(time(-1.0), SystemTime::UNIX_EPOCH);
        for hostile in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(time(hostile), SystemTime::UNIX_EPOCH);
            assert_eq!(age(0.0, -hostile.abs()), Duration::ZERO);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        assert_eq!(time(seconds(now)), now);
    }
}
