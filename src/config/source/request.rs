//! Reads the request for the first page.

use http::HeaderName;

use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::{Fields, Reader};
use crate::config::value::{check_header_value, header_name, text};
use crate::config::yaml::{Node, Value};
use crate::request::{BodyTemplate, JsonTemplate, RequestTemplate, Template};

const QUERY: &str = "a map of names and values, such as `{ since: \"{since}\", limit: 1000 }`";
const QUERY_VALUE: &str = "a value, or a list of values; an empty text is `\"\"`";
const HEADERS: &str = "a map of headers, such as `{ Accept: application/json }`";
const HEADER: &str = "the header's value";

/// The deepest nesting of a body.
const MAX_BODY_DEPTH: usize = 64;

/// Headers with credentials.
const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Reads the request for `path`. Parts that are wrong are left out and reported.
pub(super) fn request(reader: &mut Reader, fields: &Fields<'_>, path: String) -> RequestTemplate {
    let query = reader.optional(fields, "query", parameters).unwrap_or_default();
    let headers = reader.optional(fields, "headers", headers).unwrap_or_default();
    let json = reader.optional(fields, "body", |reader, node| json(reader, node, 0));
    let form = reader.optional(fields, "form", parameters);
    if fields.has("body") {
        reader.refuse_beside(fields, "form", "body");
    }
    let body = json.map(BodyTemplate::Json).or_else(|| form.map(BodyTemplate::Form));
    RequestTemplate { path, query, headers, body }
}

fn template(reader: &mut Reader, node: &Node, text: &str) -> Option<Template> {
    reader.value(node, Template::parse(text).map_err(|error| ConfigErrorKind::Detail(error.detail)))
}

/// The members of a query or a form; a list repeats its name.
fn parameters(reader: &mut Reader, node: &Node) -> Option<Vec<(String, Template)>> {
    let entries = reader.entries(node, QUERY)?;
    let mut parameters = Vec::new();
    for entry in entries {
        reader.below(&format!(".{}", Excerpt::bare(&entry.key)), |reader| {
            let values = match &entry.node.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(&entry.node),
            };
            for node in values {
                let value = reader
                    .value(node, text(node, QUERY_VALUE))
                    .and_then(|text| template(reader, node, text));
                parameters.extend(value.map(|value| (entry.key.clone(), value)));
            }
        });
    }
    Some(parameters)
}

fn headers(reader: &mut Reader, node: &Node) -> Option<Vec<(HeaderName, Template)>> {
    let entries = reader.entries(node, HEADERS)?;
    let mut headers: Vec<(HeaderName, Template)> = Vec::new();
    for entry in entries {
        reader.below(&format!(".{}", Excerpt::bare(&entry.key)), |reader| {
            let name = match header_name(&entry.key) {
                Ok(name) if CREDENTIAL_HEADERS.contains(&name.as_str()) => {
                    let detail = "is a credential, which belongs in the upstream's `auth`";
                    Err(ConfigErrorKind::Detail(detail.to_owned()))
                }
                Ok(name) if headers.iter().any(|(other, _)| *other == name) => {
                    Err(ConfigErrorKind::DuplicateHeader)
                }
                name => name,
            };
            let node = &entry.node;
            let value = text(node, HEADER).and_then(|text| check_header_value(text).map(|()| text));
            let value = reader.value(node, value).and_then(|text| template(reader, node, text));
            match name {
                Ok(name) => headers.extend(value.map(|value| (name, value))),
                Err(kind) => reader.report(entry.key_position, kind),
            }
        });
    }
    Some(headers)
}

/// A JSON value. Plain scalars are what they are in YAML's core schema as far as JSON has it;
/// quoted ones are strings.
fn json(reader: &mut Reader, node: &Node, depth: usize) -> Option<JsonTemplate> {
    if depth == MAX_BODY_DEPTH {
        let detail = format!("is nested deeper than {MAX_BODY_DEPTH} levels");
        return reader.value(node, Err(ConfigErrorKind::Detail(detail)));
    }
    match &node.value {
        Value::Scalar { plain: true, text } => match literal(node, text) {
            Literal::Json(spelled) => Some(JsonTemplate::Literal(spelled)),
            Literal::Text => template(reader, node, text).map(JsonTemplate::String),
            Literal::NotJson => {
                let found = Excerpt::new(text);
                let detail = format!(
                    "{found} is a number in YAML, but not as JSON spells it; write it as JSON \
                         does, or quote it if it is a text"
                );
                reader.value(node, Err(ConfigErrorKind::Detail(detail)))
            }
        },
        Value::Scalar { text, .. } => template(reader, node, text).map(JsonTemplate::String),
        Value::List(items) => {
            let mut elements = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                elements.push(
                    reader.below(&format!("[{index}]"), |reader| json(reader, item, depth + 1)),
                );
            }
            elements.into_iter().collect::<Option<_>>().map(JsonTemplate::Array)
        }
        Value::Map(entries) => {
            let mut members = Vec::with_capacity(entries.len());
            for entry in entries {
                let step = format!(".{}", Excerpt::bare(&entry.key));
                let value = reader.below(&step, |reader| json(reader, &entry.node, depth + 1));
                members.push(value.map(|value| (entry.key.clone(), value)));
            }
            members.into_iter().collect::<Option<_>>().map(JsonTemplate::Object)
        }
    }
}

/// What a plain scalar is.
enum Literal {
    /// A JSON literal with this spelling.
    Json(String),
    /// A string.
    Text,
    /// A number that JSON spells differently.
    NotJson,
}

fn literal(node: &Node, text: &str) -> Literal {
    if node.is_null() {
        return Literal::Json("null".to_owned());
    }
    match text {
        "true" | "True" | "TRUE" => return Literal::Json("true".to_owned()),
        "false" | "False" | "FALSE" => return Literal::Json("false".to_owned()),
        _ => {}
    }
    if serde_json::from_str::<serde_json::Number>(text).is_ok() {
        return Literal::Json(text.to_owned());
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_prefixed = |prefix: &str, radix: u32| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
        })
    };
    let is_special = matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    // The parser also takes words such as `inf`, which begin with a letter.
    let is_decimal = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.parse::<f64>().is_ok();
    if is_special || is_prefixed("0x", 16) || is_prefixed("0o", 8) || is_decimal {
        Literal::NotJson
    } else {
        Literal::Text
    }
}
