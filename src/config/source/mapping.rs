//! Reads where the values of a record are, and what they mean.

use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::Reader;
use crate::config::value::text;
use crate::config::yaml::{Node, Value};
use crate::json::Path;
use crate::mapping::{
    IdentityEntry, IdentityKind, MappingError, Paths, Priority, PriorityMapping, PriorityRule,
    TimeUnit, TimestampMapping, TimestampRule,
};

const PATH: &str = "the path to a value: the name of a member, a JSON Pointer such as \
    `/actor/id`, or a JSONPath such as `$.users[*].id`";
const PATHS: &str = "a path, or a list of paths";
const PRIORITY: &str = "a path, or a map with `at`, `values` or `at_least`, and `default`";
const PRIORITY_NAME: &str = "one of `low`, `medium`, `high` and `critical`";
const VALUES: &str = "a map of values and priorities, such as `{ P1: critical, P2: high }`";
const AT_LEAST: &str = "a map of priorities and numbers, such as `{ low: 0, high: 7 }`";
const NUMBER: &str = "a number";
const TIMESTAMP: &str = "a path, or a map with `at`, and `unit`, `zone` or `format`";
const UNIT: &str = "one of `s`, `ms`, `us` and `ns`";
const ZONE: &str = "a time zone, such as `Europe/Oslo` or `+02:00`";
const FORMAT: &str = "a format of strptime, such as `%d/%m/%Y %H:%M`";
const IDENTITY: &str =
    "the record's field that names the employee, such as `employee_id`, or a list of such fields";
const AS: &str = "one of `auto`, `employee_id`, `ip`, `email`, `username` and `hostname`";

/// A path; the empty one, which leads to the whole value, if `may_be_whole`.
pub(super) fn path_node(reader: &mut Reader, node: &Node, may_be_whole: bool) -> Option<Path> {
    let path = match text(node, PATH) {
        Ok("") if !may_be_whole => Err(ConfigErrorKind::Empty { expected: PATH }),
        Ok(text) => Path::parse(text).map_err(|error| ConfigErrorKind::Detail(error.detail)),
        Err(kind) => Err(kind),
    };
    reader.value(node, path)
}

/// A path, or a list of paths.
pub(super) fn paths(reader: &mut Reader, node: &Node) -> Option<Paths> {
    reader.one_or_more(node, PATHS, |reader, node| path_node(reader, node, false))
}

/// The priority of a mapped source.
pub(super) fn priority(reader: &mut Reader, node: &Node) -> Option<PriorityMapping> {
    if !matches!(node.value, Value::Map(_)) {
        let at = reader.one_or_more(node, PRIORITY, |reader, node| path_node(reader, node, false));
        let mapping = PriorityMapping::new(at?, PriorityRule::names(), None);
        return reader.value(node, mapping.map_err(detail));
    }
    let fields = reader.fields(node, PRIORITY, &["at", "values", "at_least", "default"])?;
    let at = reader.optional(&fields, "at", paths);
    let values = reader.optional(&fields, "values", values);
    let at_least = reader.optional(&fields, "at_least", at_least);
    let default = reader.optional(&fields, "default", priority_name);
    if fields.has("values") {
        reader.refuse_beside(&fields, "at_least", "values");
    }
    if !fields.has("at") {
        for key in ["values", "at_least"] {
            reader.refuse_because(&fields, key, "needs `at` beside it, the path to the value");
        }
        if !["values", "at_least", "default"].iter().any(|key| fields.has(key)) {
            let detail = "needs `at`, the path to the value, or `default`".to_owned();
            return reader.value(node, Err(ConfigErrorKind::Detail(detail)));
        }
    }
    let rule = values.or(at_least).unwrap_or_else(PriorityRule::names);
    // A value that is wrong is reported already, and what is built without it is not used.
    PriorityMapping::new(at.unwrap_or_default(), rule, default).ok()
}

fn values(reader: &mut Reader, node: &Node) -> Option<PriorityRule> {
    let entries = reader.entries(node, VALUES)?;
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        let step = format!(".{}", Excerpt::bare(&entry.key));
        let priority = reader.below(&step, |reader| priority_name(reader, &entry.node));
        values.extend(priority.map(|priority| (entry.key.clone(), priority)));
    }
    if values.len() < entries.len() {
        return None;
    }
    reader.value(node, PriorityRule::values(values).map_err(detail))
}

fn at_least(reader: &mut Reader, node: &Node) -> Option<PriorityRule> {
    let names = Priority::ALL.map(Priority::as_str);
    let fields = reader.fields(node, AT_LEAST, &names)?;
    let mut thresholds = Vec::new();
    for priority in Priority::ALL {
        let least = reader.optional(&fields, priority.as_str(), |reader, node| {
            let number = text(node, NUMBER).and_then(|text| {
                let number: Option<f64> = serde_json::from_str(text.trim()).ok();
                let found = Excerpt::new(text);
                number.ok_or(ConfigErrorKind::Unparsable { found, expected: NUMBER })
            });
            reader.value(node, number)
        });
        if least.is_none() && fields.has(priority.as_str()) {
            return None;
        }
        thresholds.extend(least.map(|least| (least, priority)));
    }
    reader.value(node, PriorityRule::at_least(thresholds).map_err(detail))
}

/// The name of a priority.
pub(in crate::config) fn priority_name(reader: &mut Reader, node: &Node) -> Option<Priority> {
    let priority = text(node, PRIORITY_NAME).and_then(|name| {
        let found = Excerpt::new(name);
        Priority::from_name(name)
            .ok_or(ConfigErrorKind::Unparsable { found, expected: PRIORITY_NAME })
    });
    reader.value(node, priority)
}

/// The timestamp of a mapped source.
pub(super) fn timestamp(reader: &mut Reader, node: &Node) -> Option<TimestampMapping> {
    if !matches!(node.value, Value::Map(_)) {
        let at = reader.one_or_more(node, TIMESTAMP, |reader, node| path_node(reader, node, false));
        return Some(TimestampMapping { at: at?, rule: TimestampRule::default() });
    }
    let fields = reader.fields(node, TIMESTAMP, &["at", "unit", "zone", "format"])?;
    let at = reader.required(&fields, "at", paths);
    let unit = reader.optional(&fields, "unit", |reader, node| {
        let unit = text(node, UNIT).and_then(|name| {
            let found = Excerpt::new(name);
            let unit = TimeUnit::ALL.into_iter().find(|unit| unit.as_str() == name);
            unit.ok_or(ConfigErrorKind::Unparsable { found, expected: UNIT })
        });
        reader.value(node, unit)
    });
    // Each is tried alone, so that an error is reported at its own place.
    let zone = reader.optional(&fields, "zone", |reader, node| {
        let zone = reader.line(node, ZONE)?;
        let rule = TimestampRule::new(TimeUnit::default(), Some(&zone), None);
        reader.value(node, rule.map_err(detail)).map(|_| zone)
    });
    let format = reader.optional(&fields, "format", |reader, node| {
        let format = reader.line(node, FORMAT)?;
        let rule = TimestampRule::new(TimeUnit::default(), None, Some(&format));
        reader.value(node, rule.map_err(detail)).map(|_| format)
    });
    if fields.has("format") {
        let detail = "is for numbers, and with `format` a value is read by it alone; remove one";
        reader.refuse_because(&fields, "unit", detail);
    }
    let rule = TimestampRule::new(unit.unwrap_or_default(), zone.as_deref(), format.as_deref());
    let rule = reader.value(node, rule.map_err(detail))?;
    Some(TimestampMapping { at: at?, rule })
}

/// The identity of a source: names and `{ at, as }`.
pub(super) fn identity(reader: &mut Reader, node: &Node) -> Option<Vec<IdentityEntry>> {
    reader.one_or_more(node, IDENTITY, |reader, node| {
        if !matches!(node.value, Value::Map(_)) {
            let at = match text(node, IDENTITY) {
                Ok("") => Err(ConfigErrorKind::Empty { expected: IDENTITY }),
                text => text,
            };
            reader.value(node, at)?;
            return Some(IdentityEntry { at: vec![path_node(reader, node, false)?], kind: None });
        }
        let fields = reader.fields(node, "a map with `at` and `as`", &["at", "as"])?;
        let at = reader.required(&fields, "at", paths);
        let kind = reader.optional(&fields, "as", |reader, node| {
            let kind = text(node, AS).and_then(|name| {
                let found = Excerpt::new(name);
                let kind = IdentityKind::ALL.into_iter().find(|kind| kind.as_str() == name);
                kind.ok_or(ConfigErrorKind::Unparsable { found, expected: AS })
            });
            reader.value(node, kind)
        });
        Some(IdentityEntry { at: at?, kind })
    })
}

/// Refuses an identity that is not the name of one member, in a plain source.
pub(super) fn plain_identity(reader: &mut Reader, node: &Node) -> Option<()> {
    let check = |reader: &mut Reader, node: &Node| {
        let at = match &node.value {
            Value::Map(entries) => &entries.iter().find(|entry| entry.key == "at")?.node,
            _ => node,
        };
        let at = match &at.value {
            Value::List(paths) if paths.len() > 1 => {
                let detail = "is a list of paths, which needs `as` beside `at`, because nothing \
                    in this source is mapped; write each name as an item of `identity`, or add \
                    `as: auto`, or another `as`";
                return reader.value(node, Err(ConfigErrorKind::Detail(detail.to_owned())));
            }
            Value::List(paths) => paths.first()?,
            _ => at,
        };
        let at = text(at, PATH).ok().filter(|at| at.starts_with(['/', '$']))?;
        let detail = format!(
            "{} is no member's name, which this source needs, because nothing in it is mapped; \
             write `{{ at: {at}, as: auto }}`, or another `as`",
            Excerpt::new(at)
        );
        reader.value(node, Err(ConfigErrorKind::Detail(detail)))
    };
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let _: Option<()> =
                    reader.below(&format!("[{index}]"), |reader| check(reader, item));
            }
            Some(())
        }
        _ => check(reader, node),
    }
}

fn detail(error: MappingError) -> ConfigErrorKind {
    ConfigErrorKind::Detail(error.detail)
}
