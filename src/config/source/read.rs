//! Reads the list of incident sources.

use std::time::Duration;

use super::mapping::{identity, path_node, paths, plain_identity, priority, timestamp};
use super::origin::{self, origin};
use super::{IDENTITIES, Incremental, Origin, Source};
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::{Fields, Reader};
use crate::config::settings::{MS, YEAR};
use crate::config::value::{duration, text};
use crate::config::yaml::{Node, Position, Value};

const LIST: &str = "a list of sources, such as `- { name: denial, path: /incidents/denial/, \
    identity: reported_by }`";
const SOURCE: &str = "a map with the keys `name` and `identity`";
const INCREMENTAL: &str = "a map with `overlap` and `full_every`, such as \
    `{ overlap: 10m, full_every: 24h }`";
const NAME_FORM: &str =
    "a lower-case letter, then at most 63 lower-case letters, digits, `_` or `-`";

/// The longest name of a source or an upstream.
const MAX_NAME_BYTES: usize = 64;

/// The most sources; records keep their source's index in 16 bits.
const MAX_SOURCES: usize = 1000;

/// The keys of a source.
pub(in crate::config) const KEYS: [&str; 21] = [
    "name",
    "upstream",
    "path",
    "file",
    "query",
    "headers",
    "body",
    "form",
    "window",
    "every",
    "incremental",
    "records",
    "next",
    "max_pages",
    "fail_if",
    "id",
    "priority",
    "timestamp",
    "identity",
    "title",
    "url",
];

/// Reads the whole list; `None` if anything in it is wrong.
pub(in crate::config) fn read(reader: &mut Reader, node: &Node) -> Option<Vec<Source>> {
    let items = items(reader, node, LIST, MAX_SOURCES)?;
    if items.is_empty() {
        return reader.value(node, Err(ConfigErrorKind::Empty { expected: LIST }));
    }
    let mut sources: Vec<Source> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        reader.below(&format!("[{index}]"), |reader| {
            let Some((source, name_position)) = source(reader, item) else { return };
            if sources.iter().any(|other| other.name == source.name) {
                let kind = ConfigErrorKind::DuplicateSource { name: source.name.clone() };
                reader.report_at(name_position, "name", kind);
            }
            sources.push(source);
        });
    }
    reader.faults.is_empty().then_some(sources)
}

/// The items of a list of maps.
pub(in crate::config) fn items<'n>(
    reader: &mut Reader,
    node: &'n Node,
    expected: &'static str,
    most: usize,
) -> Option<&'n [Node]> {
    let kind = match &node.value {
        Value::List(items) if items.len() > most => {
            ConfigErrorKind::TooMany { found: items.len(), most }
        }
        Value::List(items) => return Some(items),
        _ if node.is_null() => ConfigErrorKind::Empty { expected },
        _ => ConfigErrorKind::WrongShape { expected, found: node.kind() },
    };
    reader.value(node, Err(kind))
}

/// Reads one source; returns it with the position of its name.
fn source(reader: &mut Reader, item: &Node) -> Option<(Source, Position)> {
    let faults = reader.faults.len();
    let fields = reader.fields(item, SOURCE, &KEYS)?;
    let name = reader.required(&fields, "name", |reader, node| reader.value(node, name(node)));
    // If the name is wrong, the source is not used, whatever its path.
    let path = format!("/incidents/{}/", name.as_deref().unwrap_or_default());
    let origin = origin(reader, &fields, Some(path));
    let every = reader.optional(&fields, "every", every);
    let incremental = reader.optional(&fields, "incremental", incremental);
    let records = reader.optional(&fields, "records", |reader, node| path_node(reader, node, true));
    let id = reader.optional(&fields, "id", paths).unwrap_or_default();
    let priority = reader.optional(&fields, "priority", priority);
    let timestamp = reader.optional(&fields, "timestamp", timestamp);
    let identity = reader.required(&fields, "identity", identity);
    let title = reader.optional(&fields, "title", paths).unwrap_or_default();
    let url = reader.optional(&fields, "url", paths).unwrap_or_default();
    let source = Source {
        name: name?,
        origin: origin?,
        every,
        incremental,
        records,
        id,
        priority,
        timestamp,
        identity: identity?,
        title,
        url,
    };
    // What is wrong by itself need not agree with the rest.
    if reader.faults.len() == faults {
        check(reader, &fields, &source);
    }
    let position = fields.get("name").map_or(fields.position, |node| node.position);
    Some((source, position))
}

/// Checks that the keys of a source agree with each other.
fn check(reader: &mut Reader, fields: &Fields<'_>, source: &Source) {
    origin::check_records(reader, fields, &source.origin, source.records.as_ref());
    if !source.is_mapped() {
        reader.optional(fields, "identity", plain_identity);
    }
    let Origin::Http(http) = &source.origin else { return };
    if source.id.is_empty() {
        let detail = "needs `id`, by which new records are merged; add it";
        reader.refuse_because(fields, "incremental", detail);
    }
    if !http.request.uses_since() {
        let detail = "needs `{since}` in `query`, `headers`, `body` or `form`: without it every \
            answer is the whole list";
        reader.refuse_because(fields, "incremental", detail);
        let detail =
            "needs `{since}` in `query`, `headers`, `body` or `form`: nothing else uses it";
        reader.refuse_because(fields, "window", detail);
    }
}

/// Refuses the names of upstreams that do not exist, in the sources or tables of a list. Files have
/// none, which is reported where they are read.
pub(in crate::config) fn check_upstreams(reader: &mut Reader, list: &Node, names: &[String]) {
    let Value::List(items) = &list.value else { return };
    for (index, item) in items.iter().enumerate() {
        let Value::Map(entries) = &item.value else { continue };
        if entries.iter().any(|entry| entry.key == "file") {
            continue;
        }
        let Some(node) = entries.iter().find(|entry| entry.key == "upstream") else { continue };
        let Value::Scalar { text, .. } = &node.node.value else { continue };
        if let Err(kind) = origin::known_upstream(text, names) {
            let path = format!("[{index}]");
            reader.below(&path, |reader| reader.report_at(node.node.position, "upstream", kind));
        }
    }
}

/// How often a source or table is asked.
pub(super) fn every(reader: &mut Reader, node: &Node) -> Option<Duration> {
    reader.value(node, duration(node, MS..=YEAR))
}

fn incremental(reader: &mut Reader, node: &Node) -> Option<Incremental> {
    let fields = reader.fields(node, INCREMENTAL, &["overlap", "full_every"])?;
    let overlap = reader.optional(&fields, "overlap", |reader, node| {
        reader.value(node, duration(node, Duration::ZERO..=YEAR))
    });
    let full_every = reader.optional(&fields, "full_every", every);
    let default = Incremental::default();
    Some(Incremental {
        overlap: overlap.unwrap_or(default.overlap),
        full_every: full_every.unwrap_or(default.full_every),
    })
}

fn name(node: &Node) -> Result<String, ConfigErrorKind> {
    let text = text(node, "a source's name, such as `denial`")?;
    check_name(text, "a source's name")?;
    let is_table_name = text.strip_prefix(IDENTITIES).is_some_and(|rest| {
        let number = rest.strip_prefix('-').is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        rest.is_empty() || number
    });
    if is_table_name {
        return Err(ConfigErrorKind::ReservedSource { name: text.to_owned() });
    }
    Ok(text.to_owned())
}

/// Checks the name of a source or an upstream; `what` it is stands in the message.
pub(in crate::config) fn check_name(text: &str, what: &'static str) -> Result<(), ConfigErrorKind> {
    if !is_name(text) {
        let found = Excerpt::new(text);
        return Err(ConfigErrorKind::Detail(format!("{found} is not {what} ({NAME_FORM})")));
    }
    Ok(())
}

/// Whether a source or an upstream can have this name.
pub(crate) fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(rest)
        && text.len() <= MAX_NAME_BYTES
}
