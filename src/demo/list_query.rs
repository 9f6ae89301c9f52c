//! The query of a list that can be asked for in parts.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ticks::ticks;

/// Which records a request asks for; times are in ticks of 100 ns since the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ListQuery {
    /// Records that arrived at this time or later.
    pub(super) since: Option<u64>,
    /// Records that arrived by this time.
    pub(super) until: Option<u64>,
    /// The number of the first record.
    pub(super) cursor: Option<u64>,
    /// The most records of a page; at least 2.
    pub(super) limit: u64,
}

/// The most records of a page, also where the query has no `limit`.
const MAX_LIMIT: u64 = 1_000;

/// A page of one record would never get past the inclusive cursor.
const MIN_LIMIT: u64 = 2;

impl Default for ListQuery {
    fn default() -> Self {
        Self { since: None, until: None, cursor: None, limit: MAX_LIMIT }
    }
}

/// The error for a value that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BadValue(&'static str);

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {} cannot be read", self.0)
    }
}

impl ListQuery {
    /// Reads a query (RFC 3986); unknown keys are ignored. Times are RFC 3339, or whole
    /// milliseconds since the epoch.
    pub(super) fn parse(query: &str) -> Result<Self, BadValue> {
        let url = reqwest::Url::parse(&format!("http://demo/?{query}"))
            .map_err(|_| BadValue("the query"))?;
        let mut parsed = Self::default();
        for (key, value) in url.query_pairs() {
            match &*key {
                "since" => parsed.since = Some(time(&value).ok_or(BadValue("since"))?),
                "until" => parsed.until = Some(time(&value).ok_or(BadValue("until"))?),
                "cursor" => parsed.cursor = Some(value.parse().map_err(|_| BadValue("cursor"))?),
                "limit" => {
                    let limit: u64 = value.parse().map_err(|_| BadValue("limit"))?;
                    parsed.limit = limit.clamp(MIN_LIMIT, MAX_LIMIT);
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

fn time(text: &str) -> Option<u64> {
    let time = match text.parse() {
        Ok(milliseconds) => jiff::Timestamp::from_millisecond(milliseconds).ok()?,
        Err(_) => text.parse().ok()?,
    };
    Some(ticks(SystemTime::from(time).max(UNIX_EPOCH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_cursors_and_limits_are_read_and_bad_ones_named() {
        let parsed = ListQuery::parse("since=1970-01-01T00%3A00%3A01Z&until=2500&cursor=7&x=y");
        let expected = ListQuery {
            since: Some(10_000_000),
            until: Some(25_000_000),
            cursor: Some(7),
            limit: MAX_LIMIT,
        };
        assert_eq!(parsed, Ok(expected));
        assert_eq!(ListQuery::parse(""), Ok(ListQuery::default()));
        assert_eq!(ListQuery::parse("limit=0").unwrap().limit, MIN_LIMIT);
        assert_eq!(ListQuery::parse("limit=99999").unwrap().limit, MAX_LIMIT);
        for key in ["since", "until", "cursor", "limit"] {
            assert_eq!(ListQuery::parse(&format!("{key}=soon")), Err(BadValue(key)));
        }
    }
}
