//! Writes a record: the gateway's own members first, then the record's, byte for byte.

use crate::decode::{Member, members};

/// Appends an object: `prefix` (such as `{"type":"denial",`), then the record's members byte for
/// byte, except for those that the prefix replaces.
///
/// `record` is everything after the opening brace of a JSON object that the decoder has accepted.
pub(super) fn splice_replacing(
    out: &mut Vec<u8>,
    prefix: &[u8],
    record: &[u8],
    replaced: &[Member],
) {
    out.extend_from_slice(without_comma(prefix));
    for (name, member) in members(record) {
        let known = name.and_then(|name| Member::from_name(&name));
        if !known.is_some_and(|member| replaced.contains(&member)) {
            out.push(b',');
            out.extend_from_slice(member);
        }
    }
    out.push(b'}');
}

/// Appends an object like [`splice_replacing`], for a record that has at least one member and none
/// that the prefix replaces. A record that has an employee always has a priority.
#[inline]
pub(super) fn splice_unchanged(out: &mut Vec<u8>, prefix: &[u8], record: &[u8]) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(record);
}

/// Appends an object like [`splice_unchanged`], for a record that may be an empty object, as an
/// unattributed one may.
pub(super) fn splice_maybe_empty(out: &mut Vec<u8>, prefix: &[u8], record: &[u8]) {
    if record.trim_ascii() == b"}" {
        out.extend_from_slice(without_comma(prefix));
        out.extend_from_slice(record);
    } else {
        splice_unchanged(out, prefix, record);
    }
}

/// The prefix of an object without further members.
fn without_comma(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b",").unwrap_or(prefix)
}

/// The value of a member that [`members`] yields, as spelled.
pub(crate) fn member_value(member: &[u8]) -> &[u8] {
    let mut end = 1;
    // The decoder accepted it, so the name is a string and a colon follows.
    while member[end] != b'"' {
        end += if member[end] == b'\\' { 2 } else { 1 };
    }
    let colon = member[end..].iter().position(|&byte| byte == b':').unwrap_or_default();
    member[end + colon + 1..].trim_ascii_start()
}

/// Removes the line breaks from the JSON text that starts at `start`. Line breaks in strings are
/// escaped, so only whitespace between values is removed.
#[inline]
pub(super) fn drop_line_breaks(out: &mut Vec<u8>, start: usize) {
    let Some(first) = memchr::memchr2(b'\n', b'\r', &out[start..]) else { return };
    let first = start + first;
    let mut kept = first;
    for index in first..out.len() {
        let byte = out[index];
        if !matches!(byte, b'\n' | b'\r') {
            out[kept] = byte;
            kept += 1;
        }
    }
    out.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &[u8] = br#"{"type":"denial","#;

    fn spliced(splice: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        splice(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replaced_members_give_way_in_every_spelling() {
        let record = br#" "a" : 1.0 ,"ty\u0070e":[2], "type" :"x","b":"\ud800" }"#;
        assert_eq!(
            spliced(|out| splice_replacing(out, PREFIX, record, &[Member::Type])),
            r#"{"type":"denial","a" : 1.0,"b":"\ud800"}"#
        );
        let only = br#""type":1}"#;
        assert_eq!(
            spliced(|out| splice_replacing(out, PREFIX, only, &[Member::Type])),
            r#"{"type":"denial"}"#
        );
    }

    #[test]
    fn an_empty_record_needs_no_comma() {
        for (record, expected) in [
            (" }", r#"{"type":"denial" }"#),
            // As a database may have it.
            ("}\n", "{\"type\":\"denial\"}\n"),
        ] {
            let written = spliced(|out| splice_maybe_empty(out, PREFIX, record.as_bytes()));
            assert_eq!(written, expected);
        }
        let record = br#""a":1}"#;
        assert_eq!(
            spliced(|out| splice_maybe_empty(out, PREFIX, record)),
            r#"{"type":"denial","a":1}"#
        );
    }

    #[test]
    fn a_value_is_found_behind_a_name_with_escapes() {
        assert_eq!(member_value(br#""a\"b\\:" : "x:y""#), br#""x:y""#);
        assert_eq!(member_value(br#""":[1]"#), b"[1]");
    }

    #[test]
    fn only_line_breaks_between_values_are_removed() {
        let mut out = b"\n{\r\n\"a\\n\":\n 1}".to_vec();
        drop_line_breaks(&mut out, 1);
        assert_eq!(out, b"\n{\"a\\n\": 1}");
    }
}
