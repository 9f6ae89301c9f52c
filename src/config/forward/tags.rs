//! Reads the tags of a forward, and checks that its format can have them.

use super::ForwardFormat;
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::Reader;
use crate::config::value::text;
use crate::config::yaml::{Node, Value};

const TAGS: &str = "a map of names and values, such as `{ environment: production }`";
const VALUE: &str = "the tag's value";

/// The most tags, each of which goes along with every record.
const MAX_TAGS: usize = 64;

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The longest value, in bytes.
const MAX_VALUE_BYTES: usize = 1024;

/// The longest name of an extension attribute of `CloudEvents`, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 20;

/// The context attributes of `CloudEvents` 1.0, and the members of its JSON format.
const CONTEXT_ATTRIBUTES: [&str; 9] = [
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
    "data",
];

/// The labels that every alert has.
const LABELS: [&str; 5] = ["alertname", "type", "priority", "employee_id", "id"];

/// Reads the tags, in their order.
pub(super) fn tags(reader: &mut Reader, node: &Node) -> Option<Vec<(String, String)>> {
    let entries = reader.entries(node, TAGS)?;
    if entries.len() > MAX_TAGS {
        let kind = ConfigErrorKind::TooMany { found: entries.len(), most: MAX_TAGS };
        return reader.value(node, Err(kind));
    }
    let mut tags = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Err(kind) = check_name(&entry.key) {
            reader.report_at(entry.key_position, &entry.key, kind);
        }
        let step = format!(".{}", Excerpt::bare(&entry.key));
        let value = reader.below(&step, |reader| reader.value(&entry.node, value(&entry.node)));
        tags.extend(value.map(|value| (entry.key.clone(), value)));
    }
    Some(tags)
}

/// Refuses valid names that the format cannot have.
pub(super) fn check(reader: &mut Reader, node: &Node, format: ForwardFormat) -> Option<()> {
    let Value::Map(entries) = &node.value else { return None };
    for entry in entries.iter().filter(|entry| is_name(&entry.key)) {
        if let Some(detail) = refusal(&entry.key, format) {
            reader.report_at(entry.key_position, &entry.key, ConfigErrorKind::Detail(detail));
        }
    }
    Some(())
}

/// Why the format cannot have a tag with this name.
fn refusal(name: &str, format: ForwardFormat) -> Option<String> {
    match format {
        ForwardFormat::CloudEvents if CONTEXT_ATTRIBUTES.contains(&name) => Some(format!(
            "`{name}` is an attribute of every event of `cloudevents`; choose another name"
        )),
        ForwardFormat::CloudEvents if name.len() > MAX_ATTRIBUTE_BYTES || name.contains('_') => {
            Some(format!(
                "tags of `cloudevents` have at most {MAX_ATTRIBUTE_BYTES} lower-case letters and \
                 digits; choose another name"
            ))
        }
        ForwardFormat::Alertmanager { .. } if LABELS.contains(&name) => Some(format!(
            "`{name}` is a label of every alert of `alertmanager`; choose another name"
        )),
        _ => None,
    }
}

fn check_name(name: &str) -> Result<(), ConfigErrorKind> {
    if is_name(name) {
        return Ok(());
    }
    Err(ConfigErrorKind::Detail(format!(
        "is not the name of a tag (a lower-case letter, then at most {} lower-case letters, digits \
         or `_`)",
        MAX_NAME_BYTES - 1
    )))
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(rest)
        && name.len() <= MAX_NAME_BYTES
}

fn value(node: &Node) -> Result<String, ConfigErrorKind> {
    let text = text(node, VALUE)?;
    if text.contains(char::is_control) {
        return Err(ConfigErrorKind::NotALine);
    }
    if text.len() > MAX_VALUE_BYTES {
        let detail = format!("is longer than {MAX_VALUE_BYTES} bytes; shorten it");
        return Err(ConfigErrorKind::Detail(detail));
    }
    Ok(text.to_owned())
}
