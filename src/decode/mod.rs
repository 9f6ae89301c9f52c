//! Decodes bodies into records: spans of a body, and the three values that the join needs.
//!
//! A body is accepted whole or not at all: it must be valid UTF-8 and one strict JSON document
//! (RFC 8259) of bounded depth and of the expected shape, or one such document a line. The records
//! of a plain source are spans of the body itself, those of a mapped source are spans of a new one,
//! in which each stands in its envelope.

mod decoder;
mod document;
mod envelope;
mod error;
mod fields;
mod identity_keys;
mod incidents;
mod interned_values;
mod list_reader;
mod mapped;
mod merge;
mod page_end;
mod plain;
mod record;
mod record_ids;
mod restore;
mod timestamp_range;
mod unmapped;
mod walk;
mod walked;

use std::borrow::Cow;

pub use decoder::{IncidentsDecoder, SourceMapping};
pub(crate) use document::check_fail_if;
pub use error::{AnswerError, DecodeError};
pub use fields::{Member, SourceFields};
pub use identity_keys::IdentityKey;
pub use incidents::Incidents;
pub use list_reader::{ListReader, Row};
pub use page_end::PageEnd;
pub use record::{IdentityValue, MAX_ID_BYTES, Record, RecordFault, Span};
pub use timestamp_range::TimestampRange;

pub(crate) use crate::json::swar::small_number;
use crate::json::{JsonError, Scanner};
pub use crate::json::{MAX_DEPTH, ValueKind, members, unescape};
pub use crate::mapping::Priority;

/// A byte order mark, which a parser may ignore at the start of a JSON text (RFC 8259, section
/// 8.1).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Decodes a body that is one strict JSON document; `read` reads the document's value.
fn document<T>(
    body: &[u8],
    read: impl FnOnce(&mut Scanner<'_>) -> Result<T, JsonError>,
) -> Result<T, JsonError> {
    // Spans are 32 bits wide; configuration keeps `upstream.max_body` below this.
    if u32::try_from(body.len()).is_err() {
        return Err(JsonError { offset: 0, fault: "the body is larger than 4 GiB" });
    }
    let mut scanner = Scanner::new(body);
    scanner.accept_bytes(BYTE_ORDER_MARK);
    scanner.skip_whitespace();
    let read = read(&mut scanner).and_then(|read| scanner.end().map(|()| read));
    // ASCII is UTF-8, so most bodies need no second pass.
    if read.is_err() || !scanner.is_ascii() {
        utf8(body)?;
    }
    read
}

/// Decodes a body that is one JSON object, and calls `member` with each member's name (as spelled
/// between the quotes), the kind of its value, and the value's text.
///
/// # Errors
///
/// When the body is not UTF-8, not one JSON document of at most [`MAX_DEPTH`] levels, or not an
/// object; `expected` is the fault in the last case.
pub(crate) fn read_object(
    body: &[u8],
    expected: &'static str,
    mut member: impl FnMut(&str, ValueKind, &str),
) -> Result<(), JsonError> {
    document(body, |scanner| {
        scanner.object(expected, |scanner, name| {
            let value = scanner.value(1)?;
            member(name, value.kind, scanner.text(value.start, value.end)?);
            Ok(())
        })
    })
}

/// A position or index in 32 bits; [`document`] refuses bodies in which one would not fit.
#[inline]
pub(crate) fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn utf8(body: &[u8]) -> Result<(), JsonError> {
    match simdutf8::compat::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(JsonError { offset: error.valid_up_to(), fault: "invalid UTF-8" }),
    }
}

/// The text of a value that can name an employee: a number as spelled, or a string unescaped.
/// `None` for values of other kinds, and for strings that are not Unicode text (a lone surrogate).
pub(crate) fn employee_text(kind: ValueKind, raw: &str) -> Option<Cow<'_, str>> {
    match kind {
        ValueKind::Number => Some(Cow::Borrowed(raw)),
        ValueKind::String => unescape(&raw[1..raw.len() - 1]),
        ValueKind::Other => None,
    }
}

#[cfg(test)]
mod tests;
