//! Prints sources and identity tables.

use super::tables::{ROW_KEYS, addresses_path};
use super::{HttpOrigin, Origin, Source, Table};
use crate::config::DEFAULT_UPSTREAM;
use crate::config::value::{show_duration, show_text};
use crate::config::written::{Fields, Written};
use crate::json::Path;
use crate::mapping::{IdentityEntry, PriorityMapping, TimeUnit, TimestampMapping};
use crate::request::{BodyTemplate, JsonTemplate, NextPage, Target, Template};

/// Prints the sources as a block list.
pub(in crate::config) fn show(sources: &[Source]) -> String {
    sources.iter().flat_map(|source| ["\n".to_owned(), source_fields(source).item(2)]).collect()
}

/// Prints the identity tables: the section with `path`, or a block list.
pub(in crate::config) fn show_tables(tables: &[Table]) -> String {
    if let Some(path) = addresses_path(tables) {
        return format!("\n  path: {}", show_text(path));
    }
    if tables.is_empty() {
        return "[]".to_owned();
    }
    tables.iter().flat_map(|table| ["\n".to_owned(), table_fields(table).item(2)]).collect()
}

/// What is asked of a source, and how its answers are read, on one line: its settings but for its
/// name, its upstream and `every`. Fingerprints in stores depend on each byte.
#[must_use]
pub fn written_source(source: &Source) -> String {
    let mut fields = Fields::default();
    what_is_asked(&mut fields, &source.origin);
    how_records_are_read(&mut fields, source);
    Written::from(fields).flow()
}

/// The same of an identity table.
#[must_use]
pub fn written_table(table: &Table) -> String {
    let mut fields = Fields::default();
    what_is_asked(&mut fields, &table.origin);
    how_rows_are_read(&mut fields, table);
    Written::from(fields).flow()
}

fn source_fields(source: &Source) -> Fields {
    let mut fields = Fields::default();
    fields.text("name", &source.name);
    origin(&mut fields, &source.origin);
    if let Some(every) = source.every {
        fields.scalar("every", show_duration(every));
    }
    how_records_are_read(&mut fields, source);
    fields
}

fn how_records_are_read(fields: &mut Fields, source: &Source) {
    if let Some(incremental) = source.incremental {
        let mut value = Fields::default();
        value.scalar("overlap", show_duration(incremental.overlap));
        value.scalar("full_every", show_duration(incremental.full_every));
        fields.add("incremental", value.into());
    }
    optional_path(fields, "records", source.records.as_ref());
    paths(fields, "id", &source.id);
    if let Some(priority) = &source.priority {
        fields.add("priority", priority_value(priority));
    }
    if let Some(timestamp) = &source.timestamp {
        fields.add("timestamp", timestamp_value(timestamp));
    }
    let identity = source.identity.iter().map(identity_value).collect();
    fields.add("identity", Written::one_or_more(identity));
    paths(fields, "title", &source.title);
    paths(fields, "url", &source.url);
}

fn table_fields(table: &Table) -> Fields {
    let mut fields = Fields::default();
    origin(&mut fields, &table.origin);
    if let Some(every) = table.every {
        fields.scalar("every", show_duration(every));
    }
    how_rows_are_read(&mut fields, table);
    fields
}

fn how_rows_are_read(fields: &mut Fields, table: &Table) {
    let Some(rows) = &table.rows else { return };
    optional_path(fields, "records", rows.records.as_ref());
    paths(fields, "employee", &rows.employee);
    for kind in ROW_KEYS {
        if let Some((_, at)) = rows.keys.iter().find(|(key, _)| *key == kind) {
            paths(fields, kind.as_str(), at);
        }
    }
    paths(fields, "name", &rows.name);
}

fn origin(fields: &mut Fields, origin: &Origin) {
    match origin {
        Origin::File(pattern) => fields.text("file", pattern),
        Origin::Http(http) => http_origin(fields, http),
    }
}

fn what_is_asked(fields: &mut Fields, origin: &Origin) {
    match origin {
        Origin::File(pattern) => fields.text("file", pattern),
        Origin::Http(http) => endpoint(fields, http),
    }
}

fn http_origin(fields: &mut Fields, http: &HttpOrigin) {
    if http.upstream != DEFAULT_UPSTREAM {
        fields.text("upstream", &http.upstream);
    }
    endpoint(fields, http);
}

fn endpoint(fields: &mut Fields, http: &HttpOrigin) {
    fields.text("path", &http.request.path);
    if !http.request.query.is_empty() {
        fields.add("query", parameters(&http.request.query));
    }
    if !http.request.headers.is_empty() {
        let mut headers = Fields::default();
        for (name, value) in &http.request.headers {
            headers.text(name.as_str(), value.as_str());
        }
        fields.add("headers", headers.into());
    }
    match &http.request.body {
        None => {}
        Some(BodyTemplate::Json(json)) => fields.add("body", json_value(json)),
        Some(BodyTemplate::Form(form)) => fields.add("form", parameters(form)),
    }
    if let Some(window) = http.window {
        fields.scalar("window", show_duration(window));
    }
    if let Some(next) = &http.next {
        fields.add("next", next_value(next));
    }
    if http.max_pages != HttpOrigin::DEFAULT_MAX_PAGES {
        fields.scalar("max_pages", http.max_pages.to_string());
    }
    if !http.fail_if.is_empty() {
        fields.add("fail_if", Written::List(http.fail_if.iter().map(path).collect()));
    }
}

/// The members of a query or a form; those that follow each other with one name are a list.
fn parameters(parameters: &[(String, Template)]) -> Written {
    let mut fields = Fields::default();
    for group in parameters.chunk_by(|(name, _), (other, _)| name == other) {
        let values = group.iter().map(|(_, value)| Written::text(value.as_str())).collect();
        fields.add(&group[0].0, Written::one_or_more(values));
    }
    fields.into()
}

fn json_value(json: &JsonTemplate) -> Written {
    match json {
        JsonTemplate::Literal(spelled) => Written::Scalar(spelled.clone()),
        JsonTemplate::String(template) => Written::text(template.as_str()),
        JsonTemplate::Array(elements) => Written::List(elements.iter().map(json_value).collect()),
        JsonTemplate::Object(members) => {
            let mut fields = Fields::default();
            for (name, value) in members {
                fields.add(name, json_value(value));
            }
            fields.into()
        }
    }
}

fn next_value(next: &NextPage) -> Written {
    let mut fields = Fields::default();
    match next {
        NextPage::Link => return Written::text("link"),
        NextPage::Url(path) => fields.text("url", path.as_str()),
        NextPage::Cursor { at, to } => {
            fields.text("cursor", at.as_str());
            match to {
                Target::Query(name) => fields.text("query", name),
                Target::Form(name) => fields.text("form", name),
                Target::Body(pointer) => fields.text("body", pointer.as_str()),
            }
        }
        NextPage::Offset { at, size, end, more } => {
            fields.text("offset", target(at));
            fields.scalar("size", size.to_string());
            if let Some(end) = end {
                fields.text("end", target(end));
            }
            optional_path(&mut fields, "more", more.as_ref());
        }
        NextPage::Number { at, first, size, more } => {
            fields.text("page", target(at));
            fields.scalar("first", first.to_string());
            if let Some(size) = size {
                fields.scalar("size", size.to_string());
            }
            optional_path(&mut fields, "more", more.as_ref());
        }
    }
    fields.into()
}

fn target(target: &Target) -> &str {
    match target {
        Target::Query(name) | Target::Form(name) => name,
        Target::Body(pointer) => pointer.as_str(),
    }
}

fn priority_value(priority: &PriorityMapping) -> Written {
    let rule = priority.rule();
    if rule.as_values().is_none()
        && rule.as_at_least().is_none()
        && priority.default_priority().is_none()
    {
        return Written::one_or_more(priority.at().iter().map(path).collect());
    }
    let mut fields = Fields::default();
    paths(&mut fields, "at", priority.at());
    if let Some(values) = rule.as_values() {
        let mut map = Fields::default();
        for (value, priority) in values {
            map.text(value, priority.as_str());
        }
        fields.add("values", map.into());
    }
    if let Some(thresholds) = rule.as_at_least() {
        let mut map = Fields::default();
        for (least, priority) in thresholds {
            map.scalar(priority.as_str(), least.to_string());
        }
        fields.add("at_least", map.into());
    }
    if let Some(default) = priority.default_priority() {
        fields.text("default", default.as_str());
    }
    fields.into()
}

fn timestamp_value(timestamp: &TimestampMapping) -> Written {
    let rule = &timestamp.rule;
    let mut fields = Fields::default();
    paths(&mut fields, "at", &timestamp.at);
    let only_paths = fields.clone();
    if rule.unit() != TimeUnit::default() {
        fields.text("unit", rule.unit().as_str());
    }
    if let Some(zone) = rule.zone() {
        fields.text("zone", zone);
    }
    if let Some(format) = rule.format() {
        fields.text("format", format);
    }
    if fields == only_paths {
        return Written::one_or_more(timestamp.at.iter().map(path).collect());
    }
    fields.into()
}

fn identity_value(entry: &IdentityEntry) -> Written {
    let mut fields = Fields::default();
    paths(&mut fields, "at", &entry.at);
    match (entry.kind, entry.at.as_slice()) {
        (None, [at]) => return path(at),
        (None, _) => {}
        (Some(kind), _) => fields.text("as", kind.as_str()),
    }
    fields.into()
}

fn path(path: &Path) -> Written {
    Written::text(path.as_str())
}

fn paths(fields: &mut Fields, key: &str, paths: &[Path]) {
    if !paths.is_empty() {
        fields.add(key, Written::one_or_more(paths.iter().map(path).collect()));
    }
}

fn optional_path(fields: &mut Fields, key: &str, path: Option<&Path>) {
    if let Some(path) = path {
        fields.text(key, path.as_str());
    }
}
