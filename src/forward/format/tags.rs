//! The configured names and values that each record is sent with.

use crate::render::write_string;

/// Tags as members of an object, each with a comma before it. They are written once for all
/// batches.
pub(super) fn members(tags: &[(String, String)]) -> Vec<u8> {
    let mut members = Vec::new();
    for (name, value) in tags {
        members.push(b',');
        write_string(&mut members, name);
        members.push(b':');
        write_string(&mut members, value);
    }
    members
}

/// Tags as a member of an object, an object itself, with a comma before it: `,"tags":{…}`. Empty
/// without tags.
pub(super) fn object_member(name: &str, tags: &[(String, String)]) -> Vec<u8> {
    let members = members(tags);
    let Some((_, members)) = members.split_first() else { return Vec::new() };
    let mut member = b",".to_vec();
    write_string(&mut member, name);
    member.extend_from_slice(b":{");
    member.extend_from_slice(members);
    member.push(b'}');
    member
}
