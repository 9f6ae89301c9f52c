//! How a record's time is read.

use crate::mapping::Paths;

/// How a record's timestamp is found and read (`timestamp` of a mapped source).
#[derive(Clone, Debug, PartialEq)]
pub struct TimestampMapping {
    /// The paths to the value.
    pub at: Paths,
    /// How the value is read.
    pub rule: TimestampRule,
}

/// How a value is read as a time.
#[derive(Clone, Debug, PartialEq)]
pub struct TimestampRule {
    /// The unit of numbers, also of those that are spelled as strings.
    pub unit: TimeUnit,
    /// The zone of times that name none: an IANA name or an offset, as configured.
    pub zone: Option<(String, jiff::tz::TimeZone)>,
    /// The format by which alone the value is read, in the notation of `strptime`.
    pub format: Option<String>,
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
