//! Evaluates paths on JSON texts that were accepted before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::found::{Found, elements};
use super::members::object_members;
use super::path::{Path, Step};
use super::unescape::unescape;

impl Path {
    /// The values that the path leads to, in order. `json` must be valid JSON, nested at most
    /// [`MAX_DEPTH`](super::MAX_DEPTH) levels deep; otherwise the result is meaningless. Of several
    /// members with the same name the last counts.
    #[must_use]
    pub fn find<'a>(&self, json: &'a str) -> Vec<Found<'a>> {
        find(Found::new(json.trim_ascii()), self.steps())
    }
}

/// The values to which the steps lead from a value.
pub(crate) fn find<'a>(value: Found<'a>, steps: &[Step]) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    select(value, steps, &mut found);
    found
}

fn select<'a>(value: Found<'a>, steps: &[Step], found: &mut Vec<Found<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    for next in children(value, step) {
        select(next, rest, found);
    }
}

/// The values to which one step leads.
pub(super) fn children<'a>(value: Found<'a>, step: &Step) -> Vec<Found<'a>> {
    let is_object = value.raw.starts_with('{');
    let child = match step {
        Step::Each if is_object => return distinct_members(value.raw),
        Step::Each if value.is_array() => return elements(value.raw).collect(),
        Step::Name(name) | Step::Token(name) if is_object => member(value.raw, name),
        Step::Token(token) if value.is_array() => {
            canonical_index(token).and_then(|index| elements(value.raw).nth(index))
        }
        Step::Index(index) if value.is_array() => element(value.raw, *index),
        _ => None,
    };
    child.into_iter().collect()
}

/// The last member of an object with this name.
fn member<'a>(object: &'a str, name: &str) -> Option<Found<'a>> {
    let is_named = |spelled: &str| spelled == name || unescape(spelled).as_deref() == Some(name);
    let named = object_members(object).filter(|(spelled, _)| is_named(spelled));
    named.last().map(|(_, value)| value)
}

/// The values of an object's members; of several members with the same name, the last one's.
fn distinct_members(object: &str) -> Vec<Found<'_>> {
    let mut values = Vec::new();
    let mut positions = HashMap::new();
    for (spelled, value) in object_members(object) {
        if let Some(name) = unescape(spelled) {
            match positions.entry(name) {
                Entry::Occupied(known) => {
                    values[*known.get()] = value;
                    continue;
                }
                Entry::Vacant(new) => {
                    new.insert(values.len());
                }
            }
        }
        values.push(value);
    }
    values
}

/// The element of an array with this index; a negative one counts from the end.
fn element(array: &str, index: i64) -> Option<Found<'_>> {
    let position = usize::try_from(index.unsigned_abs()).ok()?;
    if index >= 0 {
        return elements(array).nth(position);
    }
    elements(array).nth(elements(array).count().checked_sub(position)?)
}

/// The index that a token of a JSON Pointer stands for in an array (RFC 6901, section 4).
pub(crate) fn canonical_index(token: &str) -> Option<usize> {
    token.parse().ok().filter(|index: &usize| index.to_string() == token)
}
