//! Splicing a record: the gateway's own members first, then the record's, byte for byte.

use crate::decode::{Member, members};

/// Appends an object: `prefix` (such as `{"type":"denial",`), then the record's members without
/// those that the prefix stands for (`replaced`), each as it came.
///
/// `tail` is what a JSON object that the decoder accepted has after its opening brace.
pub(super) fn splice(out: &mut Vec<u8>, prefix: &[u8], tail: &[u8], replaced: &[Member]) {
    out.extend_from_slice(without_comma(prefix));
    for (name, span) in members(tail) {
        if !name
            .and_then(|name| Member::from_name(&name))
            .is_some_and(|member| replaced.contains(&member))
        {
            out.push(b',');
            out.extend_from_slice(span);
        }
    }
    out.push(b'}');
}

/// The same for a record that has none of the replaced members: the tail as it came. It has a
/// member, as every record that can be incident: its priority.
#[inline]
pub(super) fn splice_whole(out: &mut Vec<u8>, prefix: &[u8], tail: &[u8]) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(tail);
}

/// The same for a record that may have no members: such stand among the unattributed.
pub(super) fn splice_any(out: &mut Vec<u8>, prefix: &[u8], tail: &[u8]) {
    if tail.trim_ascii_start() == b"}" {
        out.extend_from_slice(without_comma(prefix));
        out.extend_from_slice(tail);
    } else {
        splice_whole(out, prefix, tail);
    }
}

/// A prefix that no member need follow.
fn without_comma(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b",").unwrap_or(prefix)
}

/// The text of a member's value, from the member's text as [`members`] gives it.
pub(crate) fn value(member: &[u8]) -> &[u8] {
    let mut end = 1;
    // The decoder accepted it: the name is a string, and a colon follows.
    while member[end] != b'"' {
        end += if member[end] == b'\\' { 2 } else { 1 };
    }
    let colon = member[end..].iter().position(|&byte| byte == b':').unwrap_or_default();
    member[end + colon + 1..].trim_ascii_start()
}

/// Takes the line breaks out of JSON text from `begin` on. A string has none that is not escaped,
/// so that only whitespace between values goes.
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
