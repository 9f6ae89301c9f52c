//! Reads where records come from: an endpoint of an upstream, or files.

use super::mapping::paths;
use super::next::{Body, next};
use super::request::request;
use super::{HttpOrigin, Origin};
use crate::config::DEFAULT_UPSTREAM;
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::nearest::nearest;
use crate::config::reader::{Fields, Reader};
use crate::config::settings::{MS, YEAR};
use crate::config::value::{count, duration, path, text};
use crate::config::yaml::Node;
use crate::files::{FileFormat, check_pattern};
use crate::json::Path;
use crate::request::BodyTemplate;

const FILE: &str = "the path of a file, such as `people.csv`, or a glob, such as `/data/*.json`";
const UPSTREAM: &str = "the name of an upstream";

/// The keys that an endpoint of an upstream has, and files have not.
const HTTP_KEYS: [&str; 11] = [
    "upstream",
    "path",
    "query",
    "headers",
    "body",
    "form",
    "window",
    "incremental",
    "next",
    "max_pages",
    "fail_if",
];

/// Reads the origin from a source's or a table's fields; `default_path` stands in for `path`.
pub(super) fn origin(
    reader: &mut Reader,
    fields: &Fields<'_>,
    default_path: Option<String>,
) -> Option<Origin> {
    if fields.has("file") {
        for key in HTTP_KEYS {
            let detail = "belongs to an endpoint, and `file` reads files; remove one of them";
            reader.refuse_because(fields, key, detail);
        }
        return reader.optional(fields, "file", file).map(Origin::File);
    }
    let upstream = reader.optional(fields, "upstream", |reader, node| {
        reader.value(node, text(node, UPSTREAM)).map(str::to_owned)
    });
    let path = if fields.has("path") || default_path.is_none() {
        reader.required(fields, "path", |reader, node| reader.value(node, path(node)))
    } else {
        default_path
    };
    let request = request(reader, fields, path.unwrap_or_default());
    let window = reader
        .optional(fields, "window", |reader, node| reader.value(node, duration(node, MS..=YEAR)));
    let body = match &request.body {
        Some(BodyTemplate::Json(json)) => Body::Json(Some(json)),
        _ if fields.has("body") => Body::Json(None),
        _ if fields.has("form") => Body::Form,
        _ => Body::None,
    };
    let next = reader.optional(fields, "next", |reader, node| next(reader, node, body));
    let max_pages = reader.optional(fields, "max_pages", |reader, node| {
        reader.value(node, count(node, 1..=1_000_000, "a whole number"))
    });
    let fail_if = reader.optional(fields, "fail_if", paths);
    Some(Origin::Http(HttpOrigin {
        upstream: upstream.unwrap_or_else(|| DEFAULT_UPSTREAM.to_owned()),
        request,
        window,
        next,
        max_pages: max_pages.unwrap_or(HttpOrigin::DEFAULT_MAX_PAGES),
        fail_if: fail_if.unwrap_or_default(),
    }))
}

/// Refuses an upstream that is not there.
pub(super) fn known_upstream(name: &str, names: &[String]) -> Result<(), ConfigErrorKind> {
    if name == DEFAULT_UPSTREAM || names.iter().any(|known| known == name) {
        return Ok(());
    }
    let known = names.iter().map(String::as_str).chain([DEFAULT_UPSTREAM]);
    let nearest = nearest(name, known).map(str::to_owned);
    Err(ConfigErrorKind::UnknownUpstream { found: Excerpt::new(name), nearest })
}

/// Refuses `records` where each line or row is a record.
pub(super) fn check_records(
    reader: &mut Reader,
    fields: &Fields<'_>,
    origin: &Origin,
    records: Option<&Path>,
) {
    if records.is_some_and(|records| !records.steps().is_empty()) && has_rows(origin) {
        let detail = "is for `.json` files; in others each line or row is a record; remove it";
        reader.refuse_because(fields, "records", detail);
    }
}

/// Whether each line or row of its files is a record.
pub(super) fn has_rows(origin: &Origin) -> bool {
    let Origin::File(pattern) = origin else { return false };
    let format = FileFormat::of(pattern.as_ref()).map(|(format, _)| format);
    matches!(format, Some(FileFormat::Lines | FileFormat::Csv))
}

fn file(reader: &mut Reader, node: &Node) -> Option<String> {
    let pattern = reader.line(node, FILE)?;
    let checked = check_pattern(&pattern);
    reader.value(node, checked.map_err(|error| ConfigErrorKind::Detail(error.detail)))?;
    Some(pattern)
}
