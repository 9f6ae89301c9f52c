//! Times in RFC 3339.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{SignedDuration, SignedDurationRound, Unit};

const EPOCH: DateTime = Date::constant(1970, 1, 1).at(0, 0, 0, 0);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// A time that RFC 3339 can write: of the years 0 to 9999, to the microsecond.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Time(DateTime);

impl Time {
    /// The time so many seconds after the epoch.
    pub(super) fn from_seconds(seconds: f64) -> Option<Self> {
        Self::since_epoch(SignedDuration::try_from_secs_f64(seconds).ok()?)
    }

    /// The time so long after the epoch.
    pub(super) fn since_epoch(duration: SignedDuration) -> Option<Self> {
        // A number of seconds has more digits than it was made of.
        let duration = duration.round(SignedDurationRound::from(Unit::Microsecond)).ok()?;
        let time = EPOCH.checked_add(duration).ok()?;
        (time.year() >= 0).then_some(Self(time))
    }

    /// Its year.
    pub(super) fn year(self) -> i16 {
        self.0.year()
    }

    /// Appends it in UTC, in quotes.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.push(b'"');
        PRINTER.print_datetime(&self.0, &mut *out).expect("writing to memory does not fail");
        out.extend_from_slice(b"Z\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(seconds: f64) -> Option<String> {
        let mut out = Vec::new();
        Time::from_seconds(seconds)?.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn times_are_rounded_to_microseconds() {
        for (seconds, expected) in [
            (0.0, "1970-01-01T00:00:00.000000Z"),
            (-0.000_001, "1969-12-31T23:59:59.999999Z"),
            (1_629_939_474.134_612, "2021-08-26T00:57:54.134612Z"),
            (1_629_939_474.134_611, "2021-08-26T00:57:54.134611Z"),
            (1_629_939_474.999_999_9, "2021-08-26T00:57:55.000000Z"),
            (-62_167_219_200.0, "0000-01-01T00:00:00.000000Z"),
            (253_402_300_799.0, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(seconds).as_deref(), Some(&*format!("\"{expected}\"")), "{seconds}");
        }
    }

    #[test]
    fn other_years_have_no_spelling() {
        for seconds in [-62_167_219_201.0, 253_402_300_800.0, 1e300, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(rfc3339(seconds), None, "{seconds}");
        }
    }
}
