//! Formats values for people: times, ages, counts, long texts.

use std::borrow::Cow;
use std::time::SystemTime;

/// A time in three forms.
pub(super) struct DisplayTime {
    /// RFC 3339, for machines; empty for a time outside the calendar's range.
    pub(super) exact: String,
    /// In UTC, to the second, for people; the number of seconds if `exact` is empty.
    pub(super) text: String,
    /// Such as `3 h ago`; empty if `exact` is empty.
    pub(super) ago: String,
}

impl DisplayTime {
    /// For a time in seconds since the epoch.
    pub(super) fn new(seconds: f64, now: SystemTime) -> Self {
        let Some(time) = timestamp(seconds) else {
            return Self { exact: String::new(), text: seconds.to_string(), ago: String::new() };
        };
        let now = jiff::Timestamp::try_from(now).map_or(0.0, |now| now.as_duration().as_secs_f64());
        Self {
            exact: format!("{time:.3}"),
            text: time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            ago: ago(now - seconds),
        }
    }
}

fn timestamp(seconds: f64) -> Option<jiff::Timestamp> {
    let since_epoch = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    jiff::Timestamp::from_duration(since_epoch).ok()
}

/// A time in RFC 3339, if it is a whole second within the calendar's range.
pub(super) fn rfc3339(seconds: f64) -> Option<String> {
    if seconds.fract() != 0.0 {
        return None;
    }
    timestamp(seconds).map(|time| format!("{time:.0}"))
}

fn ago(seconds: f64) -> String {
    if seconds < 0.0 {
        format!("in {}", duration(-seconds))
    } else {
        format!("{} ago", duration(seconds))
    }
}

/// A duration in its largest unit, rounded down.
pub(super) fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 5] =
        [(31_557_600.0, "y"), (86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| seconds >= *unit).unwrap_or((1.0, "s"));
    format!("{:.0} {name}", (seconds / unit).floor())
}

/// A count with narrow spaces between groups of digits: `12 345`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A text in which every character shows: control characters, and those that change the direction
/// or the place of others, are replaced. They could make a text look like another.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{61c}'
                    | '\u{200b}'
                    | '\u{200e}'
                    | '\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{2069}'
                    | '\u{feff}'
            )
    };
    if text.contains(is_hidden) {
        Cow::Owned(text.replace(is_hidden, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// How many characters of a person's name are shown.
const MAX_NAME_CHARS: usize = 80;

/// A person's name, if there is something to show.
pub(super) fn person_name(name: Option<&str>) -> Option<String> {
    let name = name.map(str::trim).filter(|name| !name.is_empty())?;
    Some(truncate(&visible(name), MAX_NAME_CHARS))
}

/// The first characters of a text, with an ellipsis if there are more.
pub(super) fn truncate(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An employee id, truncated; an empty one is replaced by words.
pub(super) fn employee_id(id: &str, characters: usize) -> String {
    if id.is_empty() { "(empty id)".to_owned() } else { truncate(&visible(id), characters) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn any_time_has_a_readable_form() {
        let now = UNIX_EPOCH + Duration::from_secs(1_629_943_074);
        let shown = |seconds: f64| {
            let DisplayTime { exact, text, ago } = DisplayTime::new(seconds, now);
            (exact, text, ago)
        };
        let texts = |exact: &str, text: &str, ago: &str| {
            (exact.to_owned(), text.to_owned(), ago.to_owned())
        };
        assert_eq!(
            shown(1_629_939_474.134_612_8),
            texts("2021-08-26T00:57:54.134Z", "2021-08-26 00:57:54", "59 min ago")
        );
        assert_eq!(shown(1_629_943_134.0).2, "in 1 min");
        assert_eq!(shown(1e300), texts("", &1e300.to_string(), ""));
        assert_eq!(rfc3339(0.0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(rfc3339(0.5), None);
        assert_eq!(rfc3339(1e18), None);
    }

    #[test]
    fn characters_that_hide_or_move_others_are_shown_as_such() {
        assert_eq!(visible("a\u{202e}b\nc\u{2066}\u{200b}"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        assert_eq!(visible("שלום Ünï 👩‍🚀"), "שלום Ünï 👩‍🚀");
        assert_eq!(person_name(Some(" \u{202e}Ann ")).as_deref(), Some("\u{fffd}Ann"));
        assert_eq!(person_name(Some("  ")), None);
    }

    #[test]
    fn counts_are_grouped_and_long_texts_truncated() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
        assert_eq!(truncate("héllo", 2), "hé…");
        assert_eq!(truncate("hé", 2), "hé");
        assert_eq!(
            (duration(59.9), duration(3600.0), duration(0.2)),
            ("59 s".into(), "1 h".into(), "0 s".into())
        );
    }
}
