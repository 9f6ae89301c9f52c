//! How a record's time is read.

use jiff::tz::{Offset, TimeZone};

use super::strptime::Format;
use super::timestamp_text::{decimal_micros, offset_seconds, rfc3339};
use super::written_time::WrittenTime;
use super::{MappingError, Paths};
use crate::json::{Found, ValueKind};

/// The earliest valid time of a mapped record, 2000-01-01T00:00:00Z, in microseconds.
const EARLIEST_MICROS: i64 = 946_684_800_000_000;
/// The time from which on times of mapped records are invalid, 2200-01-01T00:00:00Z, in
/// microseconds.
const END_MICROS: i64 = 7_258_118_400_000_000;

/// How a record's timestamp is found and read (`timestamp` of a mapped source).
#[derive(Clone, Debug, PartialEq)]
pub struct TimestampMapping {
    /// The paths to the value.
    pub at: Paths,
    /// How the value is read.
    pub rule: TimestampRule,
}

/// How a value is read as a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimestampRule {
    unit: TimeUnit,
    zone: Option<Zone>,
    format: Option<Format>,
}

/// The zone of times that name none.
#[derive(Clone, Debug, PartialEq)]
struct Zone {
    configured: String,
    zone: TimeZone,
}

/// The unit of a time that is a number: since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TimeUnit {
    /// `s`
    #[default]
    Seconds,
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

impl TimeUnit {
    /// Every unit.
    pub const ALL: [Self; 4] =
        [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    /// The power of ten by which a number of this unit is multiplied to give microseconds.
    const fn micros_exponent(self) -> i64 {
        match self {
            Self::Seconds => 6,
            Self::Milliseconds => 3,
            Self::Microseconds => 0,
            Self::Nanoseconds => -3,
        }
    }
}

impl TimestampRule {
    /// `unit` is that of numbers, also of those that are spelled as strings. `zone` (an IANA name
    /// such as `Europe/Oslo`, or an offset such as `+02:00`) is that of times that name none. With
    /// `format`, in the notation of `strptime`, values are read by it alone.
    ///
    /// # Errors
    ///
    /// When the zone is unknown, or when the format has a directive that is not supported or lacks
    /// the date.
    pub fn new(
        unit: TimeUnit,
        zone: Option<&str>,
        format: Option<&str>,
    ) -> Result<Self, MappingError> {
        Ok(Self {
            unit,
            zone: zone.map(Zone::parse).transpose()?,
            format: format.map(Format::parse).transpose()?,
        })
    }

    /// The unit of numbers.
    #[must_use]
    pub fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// The zone as configured.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_ref().map(|zone| zone.configured.as_str())
    }

    /// The format as configured.
    #[must_use]
    pub fn format(&self) -> Option<&str> {
        self.format.as_ref().map(Format::as_str)
    }

    /// The time that a value names, in microseconds since 1970-01-01T00:00:00Z; finer digits are
    /// cut. `raw` is the value's JSON text. `None` if the value is no time, names no zone although
    /// it needs one, or names a time before the year 2000 or after the year 2199, which a wrong
    /// unit gives.
    #[must_use]
    pub fn read(&self, kind: ValueKind, raw: &str) -> Option<i64> {
        let text = Found { kind, raw }.text()?;
        let micros = match &self.format {
            Some(format) => self.since_epoch(format.read(&text)?),
            None => decimal_micros(text.trim(), self.unit.micros_exponent())
                .or_else(|| self.since_epoch(rfc3339(&text)?)),
        };
        micros.filter(|micros| (EARLIEST_MICROS..END_MICROS).contains(micros))
    }

    /// The instant of a written time. Where a clock goes back the first reading counts; where it
    /// skips a time, that moves forward.
    fn since_epoch(&self, time: WrittenTime) -> Option<i64> {
        let seconds = match (time.offset, &self.zone) {
            (Some(offset), _) => {
                Offset::from_seconds(offset).ok()?.to_timestamp(time.clock).ok()?
            }
            (None, Some(zone)) => zone.zone.to_ambiguous_timestamp(time.clock).compatible().ok()?,
            (None, None) => return None,
        };
        seconds.as_second().checked_mul(1_000_000)?.checked_add(time.micros)
    }
}

impl Zone {
    fn parse(text: &str) -> Result<Self, MappingError> {
        let fixed = offset_seconds(text).and_then(|offset| Offset::from_seconds(offset).ok());
        let zone = match fixed {
            Some(offset) => TimeZone::fixed(offset),
            None => TimeZone::get(text).map_err(|_| {
                MappingError::new(
                    "no such time zone; write an IANA name such as `Europe/Oslo`, or an offset \
                     such as `+02:00`",
                )
            })?,
        };
        Ok(Self { configured: text.to_owned(), zone })
    }
}

#[cfg(test)]
mod tests;
