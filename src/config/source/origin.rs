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
use crate::json::Path;
use crate::request::BodyTemplate;

const FILE: &str = "the path of a file, such as `people.csv`, or a glob, such as `/data/*.json`";
const FILE_NAME: &str = "the path of files that end in `.json`, `.ndjson`, `.jsonl` or `.csv`, \
    each also with `.gz` or `.zst` after it";
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

/// Characters that make a path a glob.
const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];

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
    let is_list = |format| matches!(format, Some("ndjson" | "jsonl" | "csv"));
    let Origin::File(pattern) = origin else { return };
    if records.is_some_and(|records| !records.steps().is_empty())
        && is_list(file_extension(pattern))
    {
        let detail = "is for `.json` files; in others each line or row is a record; remove it";
        reader.refuse_because(fields, "records", detail);
    }
}

/// The extension of the files, without that of their compression; `None` if there is none.
pub(super) fn file_extension(pattern: &str) -> Option<&str> {
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    name.rsplit_once('.').map(|(_, extension)| extension)
}

fn file(reader: &mut Reader, node: &Node) -> Option<String> {
    let pattern = reader.line(node, FILE)?;
    let name = pattern.rsplit('/').next().unwrap_or(&pattern);
    let is_readable = match file_extension(&pattern) {
        Some("json" | "ndjson" | "jsonl" | "csv") => true,
        // The glob decides which extensions there are.
        Some(extension) => extension.contains(GLOB_CHARACTERS),
        None => name.contains(GLOB_CHARACTERS),
    };
    if !is_readable {
        let found = Excerpt::new(&pattern);
        let kind = ConfigErrorKind::Unparsable { found, expected: FILE_NAME };
        return reader.value(node, Err(kind));
    }
    Some(pattern)
}
