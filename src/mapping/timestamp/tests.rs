//! What is read as a time, and as which.

use proptest::prelude::*;

use super::*;

fn rule(unit: TimeUnit, zone: Option<&str>, format: Option<&str>) -> TimestampRule {
    TimestampRule::new(unit, zone, format).unwrap()
}

/// The time of a string, as RFC 3339 in UTC.
fn read(rule: &TimestampRule, text: &str) -> Option<String> {
    let raw = serde_json::to_string(text).unwrap();
    let micros = rule.read(ValueKind::String, &raw)?;
    Some(jiff::Timestamp::from_microsecond(micros).unwrap().to_string())
}

#[test]
fn texts_are_rfc_3339() {
    let plain = TimestampRule::default();
    for (text, time) in [
        ("2026-03-02T11:00:00Z", Some("2026-03-02T11:00:00Z")),
        ("2026-03-02t11:00:00z", Some("2026-03-02T11:00:00Z")),
        ("2026-03-02 11:00:00.23+00:00", Some("2026-03-02T11:00:00.23Z")),
        ("2026-03-02T11:00:00.230+0000", Some("2026-03-02T11:00:00.23Z")),
        ("2026-03-02T11:00:00+02", Some("2026-03-02T09:00:00Z")),
        ("2026-03-02T11:00:00.9999999-05:30", Some("2026-03-02T16:30:00.999999Z")),
        ("2026-03-02T23:59:59.9999999999999999999Z", Some("2026-03-02T23:59:59.999999Z")),
        ("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z")),
        ("2024-02-29T00:00:00Z", Some("2024-02-29T00:00:00Z")),
        ("2000-01-01T00:00:00Z", Some("2000-01-01T00:00:00Z")),
        ("1999-12-31T23:59:59.999999Z", None),
        ("2199-12-31T23:59:59.999999Z", Some("2199-12-31T23:59:59.999999Z")),
        ("2200-01-01T00:00:00Z", None),
        ("2026-03-02T11:00:00", None),
        ("2026-03-02T11:00Z", None),
        ("2026-03-02", None),
        ("2026-02-29T11:00:00Z", None),
        ("2026-03-02T24:00:00Z", None),
        ("2026-03-02T11:00:61Z", None),
        ("2026-03-02T11:00:00.Z", None),
        ("2026-03-02T11:00:00+24:00", None),
        ("2026-03-02T11:00:00+02:60", None),
        ("2026-03-02T11:00:00+02:", None),
        ("2026-03-02T11:00:00Zx", None),
        ("26-03-02T11:00:00Z", None),
        ("", None),
    ] {
        assert_eq!(read(&plain, text).as_deref(), time, "{text}");
    }
}

#[test]
fn numbers_are_read_by_their_digits() {
    use TimeUnit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
    for (unit, number, micros) in [
        (Seconds, "1772449200", Some(1_772_449_200_000_000)),
        (Seconds, "1772449200.23", Some(1_772_449_200_230_000)),
        (Seconds, "1772449200.9999999", Some(1_772_449_200_999_999)),
        (Seconds, "1772449200.000001", Some(1_772_449_200_000_001)),
        (Seconds, "1.7724492e9", Some(1_772_449_200_000_000)),
        (Seconds, "17724492000E-1", Some(1_772_449_200_000_000)),
        (Seconds, "1772449200000", None),
        (Seconds, "0", None),
        (Seconds, "-1772449200", None),
        (Seconds, "1e400", None),
        (Seconds, "1e99999999999999999999", None),
        (Seconds, "0e99999999999999999999", None),
        (Seconds, "1e-99999999999999999999", None),
        (Milliseconds, "1772449200230", Some(1_772_449_200_230_000)),
        (Milliseconds, "1772449200230.0019", Some(1_772_449_200_230_001)),
        (Microseconds, "1772449200230001", Some(1_772_449_200_230_001)),
        (Nanoseconds, "1772449200999999999", Some(1_772_449_200_999_999)),
        (Nanoseconds, "1772449200", None),
        (Nanoseconds, "0.1772449200230001e19", Some(1_772_449_200_230_001)),
    ] {
        let rule = rule(unit, None, None);
        assert_eq!(rule.read(ValueKind::Number, number), micros, "{number} {unit:?}");
        assert_eq!(rule.read(ValueKind::String, &format!("\" {number}\"")), micros, "{number}");
    }
    let plain = TimestampRule::default();
    for text in ["1772449200.", ".5", "+1772449200", "1772449200x", "1772449200e", "--1"] {
        assert_eq!(read(&plain, text), None, "{text}");
    }
    for raw in ["null", "true", "{}", "[1772449200]", r#""\ud800""#] {
        assert_eq!(plain.read(Found::new(raw).kind, raw), None, "{raw}");
    }
}

#[test]
fn a_zone_is_that_of_times_without_one() {
    for (zone, text, time) in [
        ("Europe/Oslo", "2026-03-02T12:00:00", "2026-03-02T11:00:00Z"),
        ("Europe/Oslo", "2026-07-02 12:00:00.5", "2026-07-02T10:00:00.5Z"),
        ("Europe/Oslo", "2026-07-02T12:00:00Z", "2026-07-02T12:00:00Z"),
        // The clock goes back from 03:00 to 02:00, and skips 02:00 to 03:00.
        ("Europe/Oslo", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
        ("Europe/Oslo", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
        ("America/New_York", "2150-07-01T12:00:00", "2150-07-01T16:00:00Z"),
        ("+02:00", "2026-03-02T12:00:00", "2026-03-02T10:00:00Z"),
        ("-0530", "2026-03-02T12:00:00", "2026-03-02T17:30:00Z"),
        ("Z", "2026-03-02T12:00:00", "2026-03-02T12:00:00Z"),
        ("UTC", "2026-03-02T12:00:00", "2026-03-02T12:00:00Z"),
    ] {
        let rule = rule(TimeUnit::Seconds, Some(zone), None);
        assert_eq!(read(&rule, text).as_deref(), Some(time), "{zone} {text}");
        assert_eq!(rule.zone(), Some(zone));
    }
    for zone in ["", "Europe/Nowhere", "+25:00", "+2:00", "CET-ish", "../etc/passwd"] {
        assert!(TimestampRule::new(TimeUnit::Seconds, Some(zone), None).is_err(), "{zone}");
    }
}

#[test]
fn a_format_alone_says_how_a_value_is_read() {
    let oslo = Some("Europe/Oslo");
    for (format, zone, text, time) in [
        ("%Y-%m-%d %H:%M:%S", None, "2026-03-02 11:00:00", None),
        ("%Y-%m-%d %H:%M:%S", oslo, "2026-03-02 12:00:00", Some("2026-03-02T11:00:00Z")),
        ("%Y-%m-%d %H:%M:%S", oslo, "2026-03-02T12:00:00", None),
        ("%Y-%m-%d %H:%M:%S", oslo, "2026-03-02 12:00:00Z", None),
        ("%Y-%m-%d %H:%M:%S", oslo, "1772449200", None),
        ("%d/%b/%Y:%H:%M:%S %z", None, "02/Mar/2026:11:00:00 +0100", Some("2026-03-02T10:00:00Z")),
        (
            "%B %d, %Y %I:%M:%S %p %z",
            None,
            "march 2, 2026 1:02:03 pm Z",
            Some("2026-03-02T13:02:03Z"),
        ),
        ("%b %d %Y %I%p%z", None, "Mar 02 2026 12AM+00:00", Some("2026-03-02T00:00:00Z")),
        ("%b %d %Y %I%p%z", None, "May 02 2026 12pm+00:00", Some("2026-05-02T12:00:00Z")),
        ("%b %d %Y %I%p%z", None, "May 02 2026 13pm+00:00", None),
        ("%m/%d/%y%z", None, "3/2/26Z", Some("2026-03-02T00:00:00Z")),
        (
            "%Y%m%d%H%M%S.%f%z",
            None,
            "20260302110000.123456789123Z",
            Some("2026-03-02T11:00:00.123456Z"),
        ),
        ("%S.%f %Y%m%d %z", None, "07.5 20260302 Z", Some("2026-03-02T00:00:07.5Z")),
        ("%s", None, "1772449200", Some("2026-03-02T11:00:00Z")),
        ("%s.%f", None, "1772449200.25", Some("2026-03-02T11:00:00.25Z")),
        ("at %s %%", None, "at 1772449200 %", Some("2026-03-02T11:00:00Z")),
        ("é%s", None, "é1772449200", Some("2026-03-02T11:00:00Z")),
        ("%s", None, "x1772449200", None),
        ("%y%m%d%z", None, "690302Z", None),
    ] {
        let rule = rule(TimeUnit::Milliseconds, zone, Some(format));
        assert_eq!(read(&rule, text).as_deref(), time, "{format} {text}");
        assert_eq!(rule.format(), Some(format));
    }
    let days = rule(TimeUnit::Seconds, Some("Z"), Some("%Y%m%d"));
    assert_eq!(days.read(ValueKind::Number, "20260302"), Some(1_772_409_600_000_000));
}

#[test]
fn formats_that_cannot_work_are_refused() {
    for (format, part) in [
        ("%F %T", "write `%Y-%m-%d`"),
        ("%Y-%m-%d %T", "write `%H:%M:%S`"),
        ("%Y-%m-%d %Z", "set `zone`"),
        ("%Y-%m-%d %Q", "`%Q` is not supported"),
        ("%Y-%m-%d%", "write `%%`"),
        ("%H:%M", "lacks the year"),
        ("%Y %d", "lacks the month"),
        ("%Y %m", "lacks the day"),
        ("", "lacks the year"),
        ("%Y%m%d %I", "need each other"),
        ("%Y%m%d %p", "need each other"),
        ("%Y%m%d %H %I %p", "both"),
        (&"%Y".repeat(200), "256 bytes"),
    ] {
        let error = TimestampRule::new(TimeUnit::Seconds, None, Some(format)).expect_err(format);
        assert!(error.detail.contains(part), "{format}: {error}");
    }
}

proptest! {
    #[test]
    fn times_are_those_of_jiff(
        micros in EARLIEST_MICROS..END_MICROS,
        offset_minutes in -14 * 60..14 * 60_i32,
    ) {
        let timestamp = jiff::Timestamp::from_microsecond(micros).unwrap();
        let offset = Offset::from_seconds(offset_minutes * 60).unwrap();
        let text = timestamp.display_with_offset(offset).to_string();
        let plain = TimestampRule::default();
        let raw = format!("\"{text}\"");
        prop_assert_eq!(plain.read(ValueKind::String, &raw), Some(micros), "{}", text);
        let number = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        prop_assert_eq!(plain.read(ValueKind::Number, &number), Some(micros), "{}", number);
        let zoned = jiff::Zoned::new(timestamp, TimeZone::fixed(offset));
        let format = "%d %B %y %I:%M:%S.%f %p %z";
        let text = zoned.strftime("%d %B %y %I:%M:%S.%6f %p %z").to_string();
        // Two digits of a year stand for 1969 to 2068.
        if (1969..2069).contains(&zoned.year()) {
            let raw = format!("\"{text}\"");
            let by_format = rule(TimeUnit::Seconds, None, Some(format));
            prop_assert_eq!(by_format.read(ValueKind::String, &raw), Some(micros), "{}", text);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(
        text in "[-+0-9.:TtZz eE]{0,40}|\\PC{0,30}",
        format in "(%[YmdHMSfzbBypIs%]|[ -:.a]){0,12}",
    ) {
        let raw = serde_json::to_string(&text).unwrap();
        let _ = rule(TimeUnit::Nanoseconds, Some("Europe/Oslo"), None).read(ValueKind::String, &raw);
        if let Ok(rule) = TimestampRule::new(TimeUnit::Seconds, Some("Z"), Some(&format)) {
            let _ = rule.read(ValueKind::String, &raw);
        }
    }
}
