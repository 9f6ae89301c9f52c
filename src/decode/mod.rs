//! Bytes → records: spans into the body, plus the three values the join needs.
//!
//! A body is taken whole or not at all: it is valid UTF-8, one strict JSON document (RFC 8259) of
//! bounded depth and of the expected shape, or it is refused with the place of the fault. Nothing
//! of it is copied.

mod identities;
mod ids;
mod incidents;
mod record;
mod scanner;
mod swar;
mod times;
mod tokens;
mod window;

use std::borrow::Cow;
use std::fmt;

pub use identities::Identities;
pub(crate) use identities::address;
pub use ids::{EmployeeId, Ids};
pub use incidents::{Incidents, Member, SourceFields};
pub use record::{IdentityValue, Priority, Record, RecordFault, Span};
use scanner::Scanner;
pub use scanner::{MAX_DEPTH, Scalar, members, unescape};
pub use times::Times;

/// Why a body was refused. It quotes nothing of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecodeError {
    /// The byte at which the fault was seen.
    pub offset: usize,
    /// What was wrong there.
    pub fault: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault, self.offset)
    }
}

impl std::error::Error for DecodeError {}

/// Reads a body as one strict JSON document, of which `read` knows the shape.
fn document<T>(
    body: &[u8],
    read: impl FnOnce(&mut Scanner<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    // Spans are 32 bits wide; configuration keeps `upstream.max_body` below this.
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError { offset: 0, fault: "the body is larger than 4 GiB" });
    }
    let mut scanner = Scanner::new(body);
    scanner.skip_whitespace();
    let read = read(&mut scanner).and_then(|read| scanner.end().map(|()| read));
    // Most bodies are all ASCII, and need no pass of its own to see that they are UTF-8.
    if read.is_err() || !scanner.is_ascii() {
        utf8(body)?;
    }
    read
}

/// A position as 32 bits; [`document`] refuses bodies in which one would not fit.
#[inline]
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn utf8(body: &[u8]) -> Result<(), DecodeError> {
    match simdutf8::compat::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError { offset: error.valid_up_to(), fault: "invalid UTF-8" }),
    }
}

/// The text of a scalar that can name an employee: a number as it is spelled, or a string
/// unescaped. `None` for other scalars, and for strings that are no Unicode text (a lone
/// surrogate).
fn employee_text(kind: Scalar, raw: &str) -> Option<Cow<'_, str>> {
    match kind {
        Scalar::Number => Some(Cow::Borrowed(raw)),
        Scalar::String => unescape(&raw[1..raw.len() - 1]),
        Scalar::Other => None,
    }
}

#[cfg(test)]
mod tests;
