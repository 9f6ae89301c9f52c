//! `CloudEvents` 1.0 in the JSON batch format.

use super::tags;
use super::time::Time;
use crate::render::{escape, open_sent_row, write_string};
use crate::store::HistoryRow;

#[derive(Clone, Debug)]
pub(super) struct CloudEvents {
    /// Extension attributes, each with a comma before it.
    extensions: Vec<u8>,
}

impl CloudEvents {
    pub(super) fn new(tags: &[(String, String)]) -> Self {
        Self { extensions: tags::members(tags) }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, row: &HistoryRow) {
        out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
        row.id.write(out);
        // It is a URI reference; names of sources need no escapes, unless a database has others.
        out.extend_from_slice(b"\",\"source\":\"/incident-gateway/");
        escape(&row.source).for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(b"\",\"type\":\"incident-gateway.incident\"");
        if let Some(time) = row.timestamp.and_then(Time::from_seconds) {
            out.extend_from_slice(b",\"time\":");
            time.write(out);
        }
        if let Some(employee) = row.employee_id.as_deref().filter(|id| is_attribute_value(id)) {
            out.extend_from_slice(b",\"subject\":");
            write_string(out, employee);
        }
        out.extend_from_slice(b",\"datacontenttype\":\"application/json\"");
        out.extend_from_slice(&self.extensions);
        out.extend_from_slice(b",\"data\":");
        open_sent_row(out, row);
        out.extend_from_slice(b"}}");
    }
}

/// Whether a text can be an attribute's value: it is not empty, and has no control characters and
/// no noncharacters. A receiver may refuse a whole batch because of one that cannot.
fn is_attribute_value(text: &str) -> bool {
    let is_noncharacter = |character: char| {
        let code = u32::from(character);
        (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
    };
    !text.is_empty()
        && !text.contains(|character: char| character.is_control() || is_noncharacter(character))
}

#[cfg(test)]
mod tests {
    use super::is_attribute_value;

    #[test]
    fn attributes_have_no_control_characters_and_no_noncharacters() {
        for good in ["1234", "é", "a b", "\u{fffd}", "\u{10ffff}\u{1}"] {
            assert_eq!(is_attribute_value(good), !good.contains('\u{1}'), "{good:?}");
        }
        for bad in ["", "a\nb", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"] {
            assert!(!is_attribute_value(bad), "{bad:?}");
        }
    }
}
