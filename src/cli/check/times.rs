//! From when to when the records are, and why a time cannot be read.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::candidates::{self, Wanted};
use super::lead::{Lead, kind};
use super::lines::Lines;
use super::shown::{count, shown};
use crate::config;
use crate::decode::Record;
use crate::json::{Found, Path};
use crate::mapping::{TimeUnit, TimestampRule};

/// How far clocks may differ before a time in the future is worth a look.
const MAX_CLOCK_SKEW_SECONDS: f64 = 600.0;
/// The longest value that is printed whole.
const MAX_VALUE_CHARS: usize = 60;

/// A time, in seconds since the epoch, and how it is spelled.
struct Time {
    seconds: f64,
    spelled: String,
}

/// The times of a source's records.
pub(super) struct Times<'a> {
    rule: Option<&'a TimestampRule>,
    pub(super) leads: Vec<Lead>,
    earliest: Option<Time>,
    latest: Option<Time>,
    absent: usize,
    /// How many values are invalid for each reason, and one of them.
    faults: BTreeMap<String, (usize, String)>,
    /// Records without a time.
    pub(super) invalid: usize,
}

impl<'a> Times<'a> {
    pub(super) fn of(source: &'a config::Source) -> Self {
        let leads = match &source.timestamp {
            Some(mapping) => mapping.at.iter().map(Lead::new).collect(),
            None => vec![Lead::new(&Path::name("timestamp"))],
        };
        let rule = source.timestamp.as_ref().map(|mapping| &mapping.rule);
        Self {
            rule,
            leads,
            earliest: None,
            latest: None,
            absent: 0,
            faults: BTreeMap::new(),
            invalid: 0,
        }
    }

    /// Counts a record; `json` is what the upstream sent.
    pub(super) fn add(&mut self, json: &str, record: &Record) {
        let mut held = None;
        for lead in &mut self.leads {
            let value = lead.follow(json);
            held = held.or(value);
        }
        let seconds = record.timestamp();
        if !seconds.is_nan() {
            let time = || Time {
                seconds,
                spelled: held.map_or(String::new(), |value| spelled(value.raw)),
            };
            if self.earliest.as_ref().is_none_or(|earliest| seconds < earliest.seconds) {
                self.earliest = Some(time());
            }
            if self.latest.as_ref().is_none_or(|latest| seconds > latest.seconds) {
                self.latest = Some(time());
            }
            return;
        }
        self.invalid += 1;
        let Some(value) = held else {
            self.absent += 1;
            return;
        };
        let reason = match self.rule {
            Some(rule) => why_invalid(rule, value),
            None => "is no number of seconds; set `timestamp: { at: timestamp }`, which reads RFC \
                     3339 and more"
                .to_owned(),
        };
        self.faults.entry(reason).or_insert_with(|| (0, spelled(value.raw))).0 += 1;
    }

    /// Prints the part of the report; `record` is the first record.
    pub(super) fn print(&self, record: Option<&str>, lines: &mut Lines) {
        let paths: Vec<_> = self.leads.iter().map(|lead| format!("`{}`", lead.path())).collect();
        lines.add("timestamp", &format!("at {}", paths.join(", else ")));
        for (which, time) in [("earliest", &self.earliest), ("latest  ", &self.latest)] {
            if let Some(time) = time {
                let date = date(time.seconds);
                lines.more(&format!("{which} {date}, spelled {}", time.spelled));
            }
        }
        let ahead = self.latest.as_ref().map_or(0.0, |latest| latest.seconds - now());
        if ahead > MAX_CLOCK_SKEW_SECONDS {
            lines.doubt(&format!(
                "the latest is {:.1} hours in the future; is the zone right?",
                ahead / 3600.0
            ));
        }
        for (reason, (records, example)) in &self.faults {
            lines.problem(&format!("{} INVALID: {example} {reason}", count(*records, "record")));
        }
        if self.absent > 0 {
            let records = count(self.absent, "record");
            lines.problem(&format!("{records} INVALID: no value; set another path"));
        }
        for lead in &self.leads {
            lead.print_dead_end(lines);
        }
        if self.leads.iter().all(|lead| lead.held == 0) {
            candidates::print(record, Wanted::Time, lines);
        }
    }
}

fn spelled(raw: &str) -> String {
    shown(raw, MAX_VALUE_CHARS).to_string()
}

fn now() -> f64 {
    Timestamp::now().as_second() as f64
}

/// Such as `2026-03-02 11:00:00 UTC`.
fn date(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and is out of range then")]
    let time = Timestamp::from_second(seconds.floor() as i64);
    match time {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{seconds} seconds since 1970, which is no date"),
    }
}

/// Why a value is no time, and the remedy; begins with a verb.
fn why_invalid(rule: &TimestampRule, value: Found<'_>) -> String {
    let Some(text) = value.text() else { return format!("is {}, no time", kind(value)) };
    let with_zone = TimestampRule::new(rule.unit(), Some("UTC"), rule.format());
    if with_zone.is_ok_and(|rule| rule.read(value.kind, value.raw).is_some()) {
        return "names no time zone; set `zone` to the zone it is in, such as `zone: UTC`"
            .to_owned();
    }
    if let Some(format) = rule.format() {
        return format!("is not what `format: {format}` says, or not between 2000 and 2199");
    }
    if let Ok(number) = text.trim().parse::<f64>() {
        let year = year(number, rule.unit());
        let fitting = TimeUnit::ALL.into_iter().find(|unit| {
            TimestampRule::new(*unit, None, None)
                .is_ok_and(|rule| rule.read(value.kind, value.raw).is_some())
        });
        let remedy =
            fitting.map_or_else(String::new, |unit| format!("; set `unit: {}`", unit.as_str()));
        return format!("is the year {year} with `unit: {}`{remedy}", rule.unit().as_str());
    }
    if text.parse::<Timestamp>().is_ok() {
        return "is not between the years 2000 and 2199".to_owned();
    }
    "is not in RFC 3339, such as 2026-03-02T11:00:00Z; set `format`, such as \
     `format: \"%d/%b/%Y %H:%M:%S\"`"
        .to_owned()
}

/// The year of a number.
fn year(number: f64, unit: TimeUnit) -> i64 {
    /// The mean year of the Gregorian calendar.
    const SECONDS_PER_YEAR: f64 = 31_556_952.0;
    let per_second = match unit {
        TimeUnit::Seconds => 1e0,
        TimeUnit::Milliseconds => 1e3,
        TimeUnit::Microseconds => 1e6,
        TimeUnit::Nanoseconds => 1e9,
    };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is far enough")]
    let years = (number / per_second / SECONDS_PER_YEAR).floor() as i64;
    years.saturating_add(1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_what_is_wrong_and_the_remedy() {
        let rule = |unit, zone, format| TimestampRule::new(unit, zone, format).unwrap();
        let seconds = || rule(TimeUnit::Seconds, None, None);
        for (rule, raw, expected) in [
            (seconds(), "1772449200230", "the year 58136 with `unit: s`; set `unit: ms`"),
            (seconds(), "\"1772449200230000\"", "set `unit: us`"),
            (
                rule(TimeUnit::Milliseconds, None, None),
                "1772449200",
                "the year 1970 with `unit: ms`; \
                set `unit: s`",
            ),
            (seconds(), "0", "the year 1970 with `unit: s`"),
            (seconds(), "\"2026-03-02 11:00:00\"", "no time zone; set `zone`"),
            (seconds(), "\"1601-01-01T00:00:00Z\"", "not between the years 2000 and 2199"),
            (seconds(), "\"02/Mar/2026\"", "not in RFC 3339"),
            (seconds(), "{\"a\":1}", "is an object, no time"),
            (seconds(), "true", "is a boolean, no time"),
            (rule(TimeUnit::Seconds, None, Some("%d/%m/%Y %H:%M")), "\"2.3.2026\"", "`format: %d/"),
            (rule(TimeUnit::Seconds, None, Some("%d/%m/%Y %H:%M")), "\"02/03/2026 11:00\"", "zone"),
        ] {
            let reason = why_invalid(&rule, Found::new(raw));
            assert!(reason.contains(expected), "{raw}: {reason}");
        }
    }

    #[test]
    fn times_are_dates_in_utc() {
        assert_eq!(date(1_772_449_200.23), "2026-03-02 11:00:00 UTC");
        assert!(date(1e300).contains("no date"));
    }
}
