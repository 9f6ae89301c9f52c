//! Reads times by a format in the notation of `strptime`.

use jiff::civil::DateTime;

use super::MappingError;
use super::timestamp_text::{Cursor, written_time};
use super::written_time::WrittenTime;

/// The longest format, in bytes.
const MAX_FORMAT_BYTES: usize = 256;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A format: text with directives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format {
    text: String,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Item {
    /// `%` with this letter.
    Directive(Directive),
    /// Any amount of whitespace, none included.
    Whitespace,
    /// This byte.
    Literal(u8),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Directive {
    /// `%Y`
    Year,
    /// `%y`
    YearOfCentury,
    /// `%m`
    Month,
    /// `%b` and `%B`
    MonthName,
    /// `%d`
    Day,
    /// `%H`
    Hour,
    /// `%I`
    HourOfTwelve,
    /// `%p`
    AmOrPm,
    /// `%M`
    Minute,
    /// `%S`
    Second,
    /// `%f`
    Fraction,
    /// `%z`
    Offset,
    /// `%s`
    Epoch,
}

impl Directive {
    fn from_letter(letter: char) -> Result<Self, MappingError> {
        Ok(match letter {
            'Y' => Self::Year,
            'y' => Self::YearOfCentury,
            'm' => Self::Month,
            'b' | 'B' => Self::MonthName,
            'd' => Self::Day,
            'H' => Self::Hour,
            'I' => Self::HourOfTwelve,
            'p' => Self::AmOrPm,
            'M' => Self::Minute,
            'S' => Self::Second,
            'f' => Self::Fraction,
            'z' => Self::Offset,
            's' => Self::Epoch,
            other => {
                let instead = match other {
                    'F' => "; write `%Y-%m-%d`",
                    'T' => "; write `%H:%M:%S`",
                    'Z' => "; set `zone`",
                    'e' => "; write `%d`",
                    'h' => "; write `%b`",
                    _ => "",
                };
                return Err(MappingError::new(format!(
                    "`%{other}` is not supported{instead} (supported are %Y %m %d %H %M %S %f %z \
                     %b %B %y %p %I %s)",
                )));
            }
        })
    }
}

impl Format {
    /// Parses a format.
    ///
    /// # Errors
    ///
    /// When it has a directive that is not supported, lacks a part of the date, or has one of `%I`
    /// and `%p` without the other.
    pub(super) fn parse(text: &str) -> Result<Self, MappingError> {
        if text.len() > MAX_FORMAT_BYTES {
            return Err(MappingError::new("the format is longer than 256 bytes"));
        }
        let mut items = Vec::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match c {
                '%' => match characters.next() {
                    Some('%') => items.push(Item::Literal(b'%')),
                    Some(letter) => items.push(Item::Directive(Directive::from_letter(letter)?)),
                    None => return Err(MappingError::new("`%` at the end; write `%%`")),
                },
                c if c.is_ascii_whitespace() => items.push(Item::Whitespace),
                c => items.extend(c.encode_utf8(&mut [0; 4]).bytes().map(Item::Literal)),
            }
        }
        let format = Self { text: text.to_owned(), items };
        format.check()?;
        Ok(format)
    }

    fn check(&self) -> Result<(), MappingError> {
        use Directive::{
            AmOrPm, Day, Epoch, Hour, HourOfTwelve, Month, MonthName, Year, YearOfCentury,
        };
        let has = |directive| self.items.contains(&Item::Directive(directive));
        if !has(Epoch) {
            for (is_there, part, directives) in [
                (has(Year) || has(YearOfCentury), "year", "%Y"),
                (has(Month) || has(MonthName), "month", "%m"),
                (has(Day), "day", "%d"),
            ] {
                if !is_there {
                    return Err(MappingError::new(format!(
                        "the format lacks the {part} (`{directives}`)"
                    )));
                }
            }
        }
        if has(HourOfTwelve) != has(AmOrPm) {
            return Err(MappingError::new("`%I` and `%p` need each other; write `%H` for 0 to 23"));
        }
        if has(Hour) && has(HourOfTwelve) {
            return Err(MappingError::new("the format has both `%H` and `%I`"));
        }
        Ok(())
    }

    /// The format as configured.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a text that is a time in this format, and nothing more.
    pub(super) fn read(&self, text: &str) -> Option<WrittenTime> {
        let mut cursor = Cursor::new(text);
        let [mut year, mut month, mut day, mut hour, mut minute, mut second] = [0, 1, 1, 0, 0, 0];
        let (mut micros, mut is_pm, mut offset, mut epoch) = (0, None, None, None);
        for item in &self.items {
            let directive = match item {
                Item::Whitespace => {
                    cursor.skip_whitespace();
                    continue;
                }
                Item::Literal(byte) => {
                    cursor.accept(&[*byte])?;
                    continue;
                }
                Item::Directive(directive) => directive,
            };
            match directive {
                Directive::Year => year = cursor.number(1, 4)?,
                Directive::YearOfCentury => {
                    let number = cursor.number(1, 2)?;
                    // As POSIX says.
                    year = number + if number < 69 { 2000 } else { 1900 };
                }
                Directive::Month => month = cursor.number(1, 2)?,
                Directive::MonthName => month = month_name(&mut cursor)?,
                Directive::Day => day = cursor.number(1, 2)?,
                Directive::Hour => hour = cursor.number(1, 2)?,
                Directive::HourOfTwelve => {
                    hour = cursor.number(1, 2).filter(|hour| (1..=12).contains(hour))?;
                }
                Directive::AmOrPm => {
                    let pm = cursor.accept_text("pm").is_some();
                    is_pm = Some(pm || cursor.accept_text("am").map(|()| false)?);
                }
                Directive::Minute => minute = cursor.number(1, 2)?,
                Directive::Second => second = cursor.number(1, 2)?,
                Directive::Fraction => micros = cursor.fraction_micros()?,
                Directive::Offset => offset = Some(cursor.offset_seconds()?),
                Directive::Epoch => epoch = Some(cursor.number(1, 18)?),
            }
        }
        if !cursor.is_at_end() {
            return None;
        }
        if let Some(epoch) = epoch {
            let clock = jiff::Timestamp::from_second(epoch).ok()?;
            let clock: DateTime = jiff::tz::Offset::UTC.to_datetime(clock);
            return Some(WrittenTime { clock, micros, offset: Some(0) });
        }
        if let Some(is_pm) = is_pm {
            hour = hour % 12 + if is_pm { 12 } else { 0 };
        }
        written_time([year, month, day, hour, minute, second], micros, offset)
    }
}

/// Consumes the name of a month, whole or its first three letters.
fn month_name(cursor: &mut Cursor<'_>) -> Option<i64> {
    for (name, number) in MONTHS.iter().zip(1..) {
        if cursor.accept_text(name).or_else(|| cursor.accept_text(&name[..3])).is_some() {
            return Some(number);
        }
    }
    None
}
