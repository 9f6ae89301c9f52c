//! Reads how the next page is asked for.

use super::mapping::path_node;
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::{Fields, Reader};
use crate::config::value::{count, text};
use crate::config::yaml::{Node, Value};
use crate::json::{Path, Step};
use crate::request::{JsonPointer, JsonTemplate, NextPage, Target};

const NEXT: &str = "`link`, or a map with one of `url`, `cursor`, `offset` and `page`, such as \
    `{ cursor: /meta/next, query: cursor }`";
const PLACE: &str = "the name of a member of the query or the form, or a JSON Pointer into `body`";
const NAME: &str = "a name";
const POINTER: &str = "a JSON Pointer into `body`, such as `/request/after`";
const NUMBER: &str = "a whole number";

/// The most records of a page.
const MAX_PAGE_RECORDS: usize = 1_000_000;

/// The largest number of a first page.
const MAX_FIRST_PAGE: usize = 1_000_000_000;

/// Each kind with its keys, of which the first names it.
const KINDS: [&[&str]; 4] = [
    &["url"],
    &["cursor", "query", "body", "form"],
    &["offset", "size", "end", "more"],
    &["page", "first", "size", "more"],
];

/// The body of a source's requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    None,
    Form,
    /// JSON; `None` if it is wrong.
    Json(Option<&'a JsonTemplate>),
}

/// Reads `next`, for requests with this body.
pub(super) fn next(reader: &mut Reader, node: &Node, body: Body<'_>) -> Option<NextPage> {
    match &node.value {
        Value::Scalar { text, .. } if text == "link" => return Some(NextPage::Link),
        Value::Scalar { text, .. } if !node.is_null() => {
            let found = Excerpt::new(text);
            return reader.value(node, Err(ConfigErrorKind::Unparsable { found, expected: NEXT }));
        }
        _ => {}
    }
    let entries = reader.entries(node, NEXT)?;
    let has_kind = |keys: &&&[&str]| entries.iter().any(|entry| entry.key == keys[0]);
    let kinds: Vec<_> = KINDS.iter().filter(has_kind).collect();
    let [keys] = kinds[..] else {
        let detail = "needs exactly one of `url`, `cursor`, `offset` and `page`".to_owned();
        return reader.value(node, Err(ConfigErrorKind::Detail(detail)));
    };
    let fields = reader.fields(node, NEXT, keys)?;
    match keys[0] {
        "url" => {
            let at = reader.optional(&fields, "url", single);
            at.map(NextPage::Url)
        }
        "cursor" => cursor(reader, &fields, body),
        "offset" => offset(reader, &fields, body),
        _ => page(reader, &fields, body),
    }
}

fn cursor(reader: &mut Reader, fields: &Fields<'_>, body: Body<'_>) -> Option<NextPage> {
    let at = reader.optional(fields, "cursor", single);
    let places = ["query", "body", "form"];
    let given: Vec<&str> = places.into_iter().filter(|key| fields.has(key)).collect();
    let [key] = given[..] else {
        let detail = "needs exactly one of `query`, `body` and `form`: where the cursor goes";
        reader.report(fields.position, ConfigErrorKind::Detail(detail.to_owned()));
        return None;
    };
    let to = reader.optional(fields, key, |reader, node| match key {
        "query" => reader.line(node, NAME).map(Target::Query),
        "form" => {
            let name = reader.line(node, NAME)?;
            let has_form = matches!(body, Body::Form);
            needs(reader, node, has_form, "a field of the form, and the source has no `form`")?;
            Some(Target::Form(name))
        }
        _ => {
            let text = reader.value(node, text(node, POINTER))?;
            pointer(reader, node, text, body)
        }
    });
    Some(NextPage::Cursor { at: at?, to: to? })
}

fn offset(reader: &mut Reader, fields: &Fields<'_>, body: Body<'_>) -> Option<NextPage> {
    let at = reader.optional(fields, "offset", |reader, node| target(reader, node, body));
    let size = reader.required(fields, "size", size);
    let end = reader.optional(fields, "end", |reader, node| target(reader, node, body));
    let more = reader.optional(fields, "more", single);
    let (at, size) = (at?, size?);
    if end.as_ref() == Some(&at) {
        let detail = "is the place of `offset`; give the place of offset + size";
        reader.refuse_because(fields, "end", detail);
    }
    Some(NextPage::Offset { at, size, end, more })
}

fn page(reader: &mut Reader, fields: &Fields<'_>, body: Body<'_>) -> Option<NextPage> {
    let at = reader.optional(fields, "page", |reader, node| target(reader, node, body));
    let first = reader.optional(fields, "first", |reader, node| {
        reader.value(node, count(node, 0..=MAX_FIRST_PAGE, NUMBER))
    });
    let size = reader.optional(fields, "size", size);
    let more = reader.optional(fields, "more", single);
    Some(NextPage::Number { at: at?, first: first.unwrap_or(1) as u64, size, more })
}

/// A path to a single value. Of several, such as the addresses of a page itself and of those around
/// it, nothing tells which is the next one's, and a wrong choice would cut the list.
fn single(reader: &mut Reader, node: &Node) -> Option<Path> {
    let path = path_node(reader, node, false)?;
    if !path.steps().contains(&Step::Each) {
        return Some(path);
    }
    let detail = "`[*]` leads to several values; name one, such as `[0]` or `[-1]`".to_owned();
    reader.value(node, Err(ConfigErrorKind::Detail(detail)))
}

fn size(reader: &mut Reader, node: &Node) -> Option<u64> {
    let size = reader.value(node, count(node, 1..=MAX_PAGE_RECORDS, NUMBER))?;
    Some(size as u64)
}

/// A place for a number: a pointer into the JSON body, or a name of the form, where there is one,
/// else of the query.
fn target(reader: &mut Reader, node: &Node, body: Body<'_>) -> Option<Target> {
    let text = reader.line(node, PLACE)?;
    if text.starts_with('/') {
        return pointer(reader, node, &text, body);
    }
    let is_form = matches!(body, Body::Form);
    Some(if is_form { Target::Form(text) } else { Target::Query(text) })
}

fn pointer(reader: &mut Reader, node: &Node, text: &str, body: Body<'_>) -> Option<Target> {
    let pointer = JsonPointer::parse(text).map_err(|error| ConfigErrorKind::Detail(error.detail));
    let pointer = reader.value(node, pointer)?;
    let has_json = matches!(body, Body::Json(_));
    needs(reader, node, has_json, "a place in the JSON body, and the source has no `body`")?;
    if let Body::Json(Some(json)) = body {
        let place = json.check_place(&pointer);
        reader.value(node, place.map_err(|error| ConfigErrorKind::Detail(error.detail)))?;
    }
    Some(Target::Body(pointer))
}

fn needs(reader: &mut Reader, node: &Node, is_there: bool, what: &str) -> Option<()> {
    let detail = || ConfigErrorKind::Detail(format!("is {what}; add it"));
    reader.value(node, if is_there { Ok(()) } else { Err(detail()) })
}
