//! Compares requests with texts in which `{since}` and `{now}` stand for times that only the
//! request itself tells exactly.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

/// How far a time may be from the expected one, because the test and the gateway ask the clock at
/// different moments.
const TOLERANCE_SECONDS: i64 = 300;

/// The times that a request should name.
pub struct ExpectedTimes {
    since: Timestamp,
    now: Timestamp,
}

impl ExpectedTimes {
    pub fn new(window: Duration) -> Self {
        let now = Timestamp::now();
        Self { since: now - window, now }
    }

    /// Whether `text` is the time that a template (`since` or `now`, with its format) stands for.
    fn is_time(&self, template: &str, text: &str) -> bool {
        let (name, format) = template.split_once(':').unwrap_or((template, ""));
        let expected = if name == "since" { self.since } else { self.now };
        let time = match format {
            "" if text.ends_with('Z') && text.len() == "2026-01-01T00:00:00Z".len() => {
                text.parse().ok()
            }
            "" => None,
            "unix" => text.parse().ok().and_then(|s| Timestamp::from_second(s).ok()),
            "unix_ms" => text.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            format => BrokenDownTime::parse(format, text)
                .and_then(|time| time.to_datetime())
                .and_then(|time| TimeZone::UTC.to_timestamp(time))
                .ok(),
        };
        time.is_some_and(|time| {
            (time.as_second() - expected.as_second()).abs() <= TOLERANCE_SECONDS
        })
    }
}

/// The text before a template, the template without its braces, and the text after it.
fn split(expected: &str) -> Option<(&str, &str, &str)> {
    let start = expected.find("{since").or_else(|| expected.find("{now"))?;
    let end = start + expected[start..].find('}')?;
    Some((&expected[..start], &expected[start + 1..end], &expected[end + 1..]))
}

pub fn is_expected_text(expected: &str, text: &str, times: &ExpectedTimes) -> bool {
    match split(expected) {
        // In JSON a text that is nothing but such a template becomes a number, so a query alone may
        // have it as text.
        Some((before, template, after)) => text
            .strip_prefix(before)
            .and_then(|text| text.strip_suffix(after))
            .is_some_and(|time| times.is_time(template, time)),
        None => text == expected,
    }
}

pub fn is_expected_number(
    expected: &str,
    number: &serde_json::Number,
    times: &ExpectedTimes,
) -> bool {
    matches!(split(expected), Some(("", template, "")) if template.contains(":unix")
        && times.is_time(template, &number.to_string()))
}
