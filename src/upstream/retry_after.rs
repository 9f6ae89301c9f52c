//! How long an answer asks its client to wait.

use std::time::{Duration, SystemTime};

use headers::{Date, Expires, Header as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// The longest accepted wait; a longer one is reduced to this, so that a mistake of the upstream
/// does not disable its sources for years.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// The header fields that say when a new rate limit window begins, used without `Retry-After`.
const RESETS: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-rate-limit-reset"),
];

/// A number of seconds above this is a time, in seconds since 1970; others are a wait.
const MAX_RELATIVE_SECONDS: f64 = 1e9;

/// The wait that an answer asks for; `None` if it asks for none in a known way, or has another
/// status than 429 and 503.
pub(super) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !is_refusal(status) {
        return None;
    }
    explicit_wait(headers).or_else(|| {
        let mut values = RESETS.into_iter().filter_map(|name| headers.get(name));
        let wait = values.find_map(|value| seconds_or_epoch(value, || now(headers)));
        wait.map(|wait| wait.min(MAX_WAIT))
    })
}

/// The wait that an answer with any status asks for. Only one that refuses a call may do so by the
/// time of the next rate limit window, which others may have as well.
pub(crate) fn retry_after_any(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if is_refusal(status) { retry_after(status, headers) } else { explicit_wait(headers) }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// The wait of `Retry-After`.
fn explicit_wait(headers: &HeaderMap) -> Option<Duration> {
    let wait = seconds_or_date(headers.get(header::RETRY_AFTER)?, || now(headers))?;
    Some(wait.min(MAX_WAIT))
}

/// The time by the upstream's clock if it sends `Date`, since the clocks may differ.
fn now(headers: &HeaderMap) -> SystemTime {
    let date = headers.get(header::DATE);
    let date = date.and_then(|date| Date::decode(&mut std::iter::once(date)).ok());
    date.map_or_else(SystemTime::now, SystemTime::from)
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3).
fn seconds_or_date(value: &HeaderValue, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not parse are a number that is too large.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = SystemTime::from(Expires::decode(&mut std::iter::once(value)).ok()?);
    Some(until.duration_since(now()).unwrap_or_default())
}

/// Reads one of [`RESETS`]. Some upstreams send fractions of seconds.
fn seconds_or_epoch(value: &HeaderValue, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    let duration = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    if !(seconds >= 0.0 && seconds.is_finite()) {
        return None;
    }
    if seconds <= MAX_RELATIVE_SECONDS {
        return Some(duration(seconds));
    }
    let since_epoch = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(duration(seconds).saturating_sub(since_epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of `Date` in these tests, in seconds since 1970.
    const NOW: u64 = 1_772_449_200;

    fn asked(fields: &[(&'static str, &str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Mon, 02 Mar 2026 11:00:00 GMT"));
        for (name, value) in fields {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        retry_after(StatusCode::TOO_MANY_REQUESTS, &headers)
    }

    fn retry_after_of(value: &str) -> Option<Duration> {
        asked(&[("retry-after", value)])
    }

    #[test]
    fn reads_seconds_and_every_form_of_date() {
        assert_eq!(retry_after_of("0"), Some(Duration::ZERO));
        assert_eq!(retry_after_of(" 120 "), Some(Duration::from_mins(2)));
        for date in [
            "Mon, 02 Mar 2026 11:00:37 GMT",
            "Monday, 02-Mar-26 11:00:37 GMT",
            "Mon Mar  2 11:00:37 2026",
        ] {
            assert_eq!(retry_after_of(date), Some(Duration::from_secs(37)), "{date}");
        }
    }

    #[test]
    fn takes_a_past_date_as_now_and_bounds_a_far_one() {
        assert_eq!(retry_after_of("Mon, 02 Mar 2026 10:59:00 GMT"), Some(Duration::ZERO));
        for far in [
            "18446744073709551615",
            "99999999999999999999",
            "3601",
            "Fri, 02 Mar 2096 11:00:00 GMT",
        ] {
            assert_eq!(retry_after_of(far), Some(MAX_WAIT), "{far}");
        }
    }

    #[test]
    fn ignores_what_is_neither() {
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after_of(bad), None, "{bad:?}");
        }
        for bad in ["", "soon", "-1", "NaN", "inf"] {
            assert_eq!(asked(&[("ratelimit-reset", bad)]), None, "{bad:?}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn reads_a_reset_as_seconds_or_as_a_time() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
            let reset = |value: &str| asked(&[(name, value)]);
            assert_eq!(reset("30"), seconds(30.0), "{name}");
            assert_eq!(reset("1.5"), seconds(1.5), "{name}");
            assert_eq!(reset(&(NOW + 20).to_string()), seconds(20.0), "{name}");
            assert_eq!(reset(&format!("{}.25", NOW + 20)), seconds(20.25), "{name}");
            assert_eq!(reset(&(NOW - 20).to_string()), seconds(0.0), "{name}");
            assert_eq!(reset("1000000000"), Some(MAX_WAIT), "still a number of seconds");
            assert_eq!(reset("1000000001"), seconds(0.0), "a time in 2001");
            assert_eq!(reset("1e300"), Some(MAX_WAIT), "{name}");
        }
    }

    #[test]
    fn any_status_may_ask_for_a_wait_but_only_a_refusal_by_a_reset() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-reset", HeaderValue::from_static("5"));
        let asked = |status, headers: &HeaderMap| retry_after_any(status, headers);
        let error = StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(asked(error, &headers), None);
        assert_eq!(asked(StatusCode::TOO_MANY_REQUESTS, &headers), Some(Duration::from_secs(5)));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("9000"));
        for status in [error, StatusCode::FOUND, StatusCode::SERVICE_UNAVAILABLE] {
            assert_eq!(asked(status, &headers), Some(MAX_WAIT), "{status}");
        }
        assert_eq!(retry_after(error, &headers), None);
    }

    #[test]
    fn the_first_field_that_can_be_read_counts() {
        let all = [
            ("retry-after", "1"),
            ("ratelimit-reset", "2"),
            ("x-ratelimit-reset", "3"),
            ("x-rate-limit-reset", "4"),
        ];
        for (index, (name, _)) in all.iter().enumerate() {
            let expected = Duration::from_secs(index as u64 + 1);
            assert_eq!(asked(&all[index..]), Some(expected), "{name}");
            let mut wrong = all;
            wrong[..index].iter_mut().for_each(|(_, value)| *value = "soon");
            assert_eq!(asked(&wrong), Some(expected), "{name}");
        }
    }
}
