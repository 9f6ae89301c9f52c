//! How values of records are stored in columns.

use std::borrow::Cow;
use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::fault::Failure;
use crate::decode::Priority;
use crate::join::Reason;
use crate::store::StableId;
use crate::store::codes::{priority_of, reason_of};

/// A stable id as the 16 bytes of a `uuid`, whose comparison is cheap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id(pub(super) StableId);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(StableId(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

pub(super) fn priority(code: Option<i16>) -> Result<Option<Priority>, Failure> {
    const UNKNOWN: Failure =
        Failure::Unexpected("a stored record has a priority that is not known");
    code.map(|code| priority_of(code.into()).ok_or(UNKNOWN)).transpose()
}

pub(super) fn reason(code: Option<i16>) -> Result<Option<Reason>, Failure> {
    const UNKNOWN: Failure = Failure::Unexpected("a stored record has a reason that is not known");
    code.map(|code| reason_of(code.into()).ok_or(UNKNOWN)).transpose()
}

/// Stands before the code of a character that a column cannot have, or of itself.
const ESCAPE: char = '\u{E000}';

/// A text as PostgreSQL can store it: its own have no NUL.
pub(super) fn text_column(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let escaped = text.replace(ESCAPE, &format!("{ESCAPE}1")).replace('\0', &format!("{ESCAPE}0"));
    Cow::Owned(escaped)
}

/// The text that [`text_column`] has made this of.
pub(super) fn column_text(column: &str) -> Cow<'_, str> {
    if !column.contains(ESCAPE) {
        return Cow::Borrowed(column);
    }
    let text = column.replace(&format!("{ESCAPE}0"), "\0");
    Cow::Owned(text.replace(&format!("{ESCAPE}1"), &ESCAPE.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_read_as_they_were_written(text in "[a\0\u{E000}01]{0,8}") {
            let column = text_column(&text);
            prop_assert!(!column.contains('\0'));
            prop_assert_eq!(column_text(&column), text.as_str());
        }
    }
}
