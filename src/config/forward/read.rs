//! Reads the list of forwards.

use std::time::Duration;

use super::tags::{self, tags};
use super::{Batch, Forward, ForwardFormat, ForwardFrom, Selection};
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::nearest::nearest;
use crate::config::reader::{Fields, Reader};
use crate::config::settings::{HOUR, MS, YEAR};
use crate::config::source::{check_name, items, priority_name};
use crate::config::upstream::{Auth, ClientCertificate, authorities, chain, key, proxy, rate};
use crate::config::value::{boolean, count, duration, size, text, url_with_query};
use crate::config::yaml::{Node, Value};

const LIST: &str = "a list of forwards, such as `- { name: siem, url: https://host/path, \
    format: ndjson }`";
const FORWARD: &str = "a map with the keys `name`, `url` and `format`";
const FORMAT: &str =
    "one of `ndjson`, `cloudevents`, `splunk_hec`, `elasticsearch` and `alertmanager`";
const FROM: &str = "one of `now` and `beginning`";
const SELECT: &str = "a map with `priority`, `type` or `unattributed`, such as \
    `{ priority: [high, critical] }`";
const PRIORITIES: &str = "a priority, or a list of priorities";
const TYPES: &str = "the name of a source, or a list of names";
const BATCH: &str = "a map with `max_records`, `max_bytes` or `max_wait`, such as \
    `{ max_records: 500, max_bytes: 1MiB, max_wait: 1s }`";
const NUMBER: &str = "a whole number";
const CREDENTIALS_REMEDY: &str = "set `auth` instead";

/// The most forwards.
const MAX_FORWARDS: usize = 100;

/// `batch.max_bytes` may be set from the first to the second.
const MAX_BYTES: [u64; 2] = [1 << 10, 64 << 20];

/// The keys of a forward.
pub(in crate::config) const KEYS: [&str; 15] = [
    "name",
    "url",
    "auth",
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "proxy",
    "format",
    "select",
    "tags",
    "batch",
    "rate",
    "timeout",
    "from",
    "active_for",
];

/// Reads the whole list; `None` if anything in it is wrong. An empty list is none.
pub(in crate::config) fn read(reader: &mut Reader, node: &Node) -> Option<Vec<Forward>> {
    let items = items(reader, node, LIST, MAX_FORWARDS)?;
    let mut forwards = Vec::with_capacity(items.len());
    let mut names = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let forward =
            reader.below(&format!("[{index}]"), |reader| forward(reader, item, &mut names));
        forwards.extend(forward);
    }
    reader.faults.is_empty().then_some(forwards)
}

/// Reads one forward, and adds its name to those before it.
fn forward(reader: &mut Reader, item: &Node, names: &mut Vec<String>) -> Option<Forward> {
    let fields = reader.fields(item, FORWARD, &KEYS)?;
    let name = reader.required(&fields, "name", |reader, node| {
        reader.value(node, name(node, names)).inspect(|name| names.push(name.clone()))
    });
    let url = reader.required(&fields, "url", |reader, node| {
        reader.value(node, url_with_query(node, CREDENTIALS_REMEDY))
    });
    let auth = reader.optional(&fields, "auth", auth);
    let ca = reader.optional(&fields, "ca_file", |reader, node| {
        reader.value(node, authorities(node)).flatten()
    });
    let client_certificate = client_certificate(reader, &fields);
    let proxy =
        reader.optional(&fields, "proxy", |reader, node| reader.value(node, proxy(node)).flatten());
    let format =
        reader.required(&fields, "format", |reader, node| reader.value(node, format(node)));
    let select = reader.optional(&fields, "select", select).unwrap_or_default();
    let tags = reader.optional(&fields, "tags", tags).unwrap_or_default();
    let batch = reader.optional(&fields, "batch", batch).unwrap_or_default();
    let rate =
        reader.optional(&fields, "rate", |reader, node| reader.value(node, rate(node)).flatten());
    let timeout = reader
        .optional(&fields, "timeout", |reader, node| reader.value(node, duration(node, MS..=HOUR)));
    let from = reader.optional(&fields, "from", |reader, node| reader.value(node, from(node)));
    let active_for = reader.optional(&fields, "active_for", |reader, node| {
        reader.value(node, duration(node, MS..=YEAR))
    });
    let format = format.map(|format| check(reader, &fields, format, url.as_ref(), active_for));
    Some(Forward {
        name: name?,
        url: url?,
        auth,
        ca,
        client_certificate,
        proxy,
        format: format?,
        select,
        tags,
        batch,
        rate,
        timeout: timeout.unwrap_or(Forward::DEFAULT_TIMEOUT),
        from: from.unwrap_or_default(),
    })
}

/// Checks what a format asks of the other keys; returns it with `active_for`.
fn check(
    reader: &mut Reader,
    fields: &Fields<'_>,
    mut format: ForwardFormat,
    url: Option<&reqwest::Url>,
    active_for: Option<Duration>,
) -> ForwardFormat {
    if format == ForwardFormat::Elasticsearch
        && url.is_some_and(|url| !url.path().ends_with("/_bulk"))
    {
        let detail = "needs a path that ends in `/_bulk` for `elasticsearch`; write it as \
            https://host:port/INDEX/_bulk";
        refuse_value(reader, fields, "url", detail);
    }
    if let ForwardFormat::Alertmanager { active_for: default } = &mut format {
        *default = active_for.unwrap_or(*default);
    } else {
        let detail = "is for the format `alertmanager` alone; remove it";
        reader.refuse_because(fields, "active_for", detail);
    }
    reader.optional(fields, "tags", |reader, node| tags::check(reader, node, format));
    format
}

/// Refuses the value of a key that is there.
fn refuse_value(reader: &mut Reader, fields: &Fields<'_>, key: &str, detail: &str) {
    reader.optional(fields, key, |reader, node| {
        reader.value::<()>(node, Err(ConfigErrorKind::Detail(detail.to_owned())))
    });
}

fn name(node: &Node, names: &[String]) -> Result<String, ConfigErrorKind> {
    let text = text(node, "a forward's name, such as `siem`")?;
    check_name(text, "a forward's name")?;
    if names.iter().any(|name| name == text) {
        let detail = format!("another forward has the name `{text}`; choose another");
        return Err(ConfigErrorKind::Detail(detail));
    }
    Ok(text.to_owned())
}

/// How requests are authenticated; null means not at all.
fn auth(reader: &mut Reader, node: &Node) -> Option<Auth> {
    if node.is_null() {
        return None;
    }
    let auth = Auth::read(reader, node)?;
    if let Auth::Headers(headers) = &auth
        && headers.iter().any(|header| header.name == http::header::CONTENT_TYPE)
    {
        let detail = "has the header `Content-Type`, which follows from `format`; remove it";
        reader.report(node.position, ConfigErrorKind::Detail(detail.to_owned()));
    }
    Some(auth)
}

fn client_certificate(reader: &mut Reader, fields: &Fields<'_>) -> Option<ClientCertificate> {
    let are_both_set = fields.has("client_cert_file") && fields.has("client_key_file");
    let certificate = reader.optional(fields, "client_cert_file", |reader, node| {
        reader.value(node, chain(node)).flatten()
    });
    let key = reader.optional(fields, "client_key_file", |reader, node| {
        reader.value(node, key(node)).flatten()
    });
    match ClientCertificate::pair(certificate, key, are_both_set) {
        Ok(pair) => pair,
        Err((key, kind)) => {
            reader.optional(fields, key, |reader, node| reader.value(node, Err(kind)))
        }
    }
}

fn format(node: &Node) -> Result<ForwardFormat, ConfigErrorKind> {
    let text = text(node, FORMAT)?;
    let known = ForwardFormat::ALL.into_iter().find(|format| format.as_str() == text);
    known.ok_or_else(|| ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: FORMAT })
}

fn select(reader: &mut Reader, node: &Node) -> Option<Selection> {
    let fields = reader.fields(node, SELECT, &["priority", "type", "unattributed"])?;
    let priorities = reader.optional(&fields, "priority", |reader, node| {
        reader.one_or_more(node, PRIORITIES, priority_name)
    });
    // Whether there are such sources is checked when all layers were read.
    let types = reader.optional(&fields, "type", |reader, node| {
        reader.one_or_more(node, TYPES, |reader, node| {
            reader.value(node, text(node, "the name of a source").map(str::to_owned))
        })
    });
    let unattributed =
        reader.optional(&fields, "unattributed", |reader, node| reader.value(node, boolean(node)));
    Some(Selection { priorities, types, unattributed: unattributed.unwrap_or_default() })
}

fn batch(reader: &mut Reader, node: &Node) -> Option<Batch> {
    let fields = reader.fields(node, BATCH, &["max_records", "max_bytes", "max_wait"])?;
    let max_records = reader.optional(&fields, "max_records", |reader, node| {
        reader.value(node, count(node, 1..=10_000, NUMBER))
    });
    let max_bytes = reader.optional(&fields, "max_bytes", |reader, node| {
        let bytes = reader.value(node, size(node, MAX_BYTES[0]..=MAX_BYTES[1]))?;
        usize::try_from(bytes).ok()
    });
    let max_wait = reader.optional(&fields, "max_wait", |reader, node| {
        reader.value(node, duration(node, Duration::ZERO..=HOUR))
    });
    let default = Batch::default();
    Some(Batch {
        max_records: max_records.unwrap_or(default.max_records),
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        max_wait: max_wait.unwrap_or(default.max_wait),
    })
}

fn from(node: &Node) -> Result<ForwardFrom, ConfigErrorKind> {
    match text(node, FROM)? {
        "now" => Ok(ForwardFrom::Now),
        "beginning" => Ok(ForwardFrom::Beginning),
        other => Err(ConfigErrorKind::Unparsable { found: Excerpt::new(other), expected: FROM }),
    }
}

/// Refuses types that no source has, in a list that was set; the sources may be in another layer.
pub(in crate::config) fn check_types(reader: &mut Reader, list: &Node, sources: &[&str]) {
    for (index, item) in list.items().iter().enumerate() {
        let Some(types) = item.get("select").and_then(|select| select.get("type")) else {
            continue;
        };
        reader.below(&format!("[{index}].select.type"), |reader| match &types.value {
            Value::List(names) => {
                for (index, name) in names.iter().enumerate() {
                    reader.below(&format!("[{index}]"), |reader| check_type(reader, name, sources));
                }
            }
            _ => check_type(reader, types, sources),
        });
    }
}

fn check_type(reader: &mut Reader, node: &Node, sources: &[&str]) {
    let Value::Scalar { text, .. } = &node.value else { return };
    if node.is_null() || sources.contains(&text.as_str()) {
        return;
    }
    let remedy = match nearest(text, sources.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "give names of `sources`".to_owned(),
    };
    let detail = format!("there is no source {}; {remedy}", Excerpt::new(text));
    reader.report(node.position, ConfigErrorKind::Detail(detail));
}
