//! Writing a record: the gateway's own members first, then the record's, byte for byte.

use crate::decode::{Member, members};

/// Appends an object: `prefix` (such as `{"type":"denial",`), then the record's members, each byte
/// for byte, without those that the prefix replaces.
///
/// `record` is all that follows the opening brace of a JSON object that the decoder accepted.
pub(super) fn splice(out: &mut Vec<u8>, prefix: &[u8], record: &[u8], replaced: &[Member]) {
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

/// The same for a record without members that the prefix replaces: one copy. The record has at
/// least one member; one that has an employee has a priority.
#[inline]
pub(super) fn splice_whole(out: &mut Vec<u8>, prefix: &[u8], record: &[u8]) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(record);
}

/// The same for a record that may be an empty object, as an unattributed one may.
pub(super) fn splice_any(out: &mut Vec<u8>, prefix: &[u8], record: &[u8]) {
    if record.trim_ascii_start() == b"}" {
        out.extend_from_slice(without_comma(prefix));
        out.extend_from_slice(record);
    } else {
        splice_whole(out, prefix, record);
    }
}

/// A prefix that no member follows.
fn without_comma(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b",").unwrap_or(prefix)
}

/// The value's text within a member's text, which is what [`members`] gives.
pub(crate) fn member_value(member: &[u8]) -> &[u8] {
    let mut end = 1;
    // The decoder accepted it, so the name is a string and a colon follows.
    while member[end] != b'"' {
        end += if member[end] == b'\\' { 2 } else { 1 };
    }
    let colon = member[end..].iter().position(|&byte| byte == b':').unwrap_or_default();
    member[end + colon + 1..].trim_ascii_start()
}

/// Removes the line breaks from JSON text, which begins at `begin`. Line breaks in strings are
/// escaped, so only whitespace between values is removed.
#[inline]
pub(super) fn drop_line_breaks(out: &mut Vec<u8>, begin: usize) {
    let Some(first) = memchr::memchr2(b'\n', b'\r', &out[begin..]) else { return };
    let first = begin + first;
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
            spliced(|out| splice(out, PREFIX, record, &[Member::Type])),
            r#"{"type":"denial","a" : 1.0,"b":"\ud800"}"#
        );
        let only = br#""type":1}"#;
        assert_eq!(
            spliced(|out| splice(out, PREFIX, only, &[Member::Type])),
            r#"{"type":"denial"}"#
        );
    }

    #[test]
    fn an_empty_record_needs_no_comma() {
        assert_eq!(spliced(|out| splice_any(out, PREFIX, b" }")), r#"{"type":"denial" }"#);
        let record = br#""a":1}"#;
        assert_eq!(spliced(|out| splice_any(out, PREFIX, record)), r#"{"type":"denial","a":1}"#);
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
