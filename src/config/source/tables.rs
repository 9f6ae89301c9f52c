//! Reads the identity tables.

use super::mapping::{path_node, paths};
use super::origin::{check_records, has_rows, origin};
use super::read::{every, items};
use super::{Origin, Table, TableRows};
use crate::config::error::ConfigErrorKind;
use crate::config::reader::{Fields, Reader};
use crate::config::value::path;
use crate::config::yaml::{Node, Value};
use crate::mapping::IdentityKind;

const TABLES: &str = "a map with `path`, or a list of tables, such as `- { file: people.csv, \
    employee: employee_id, email: mail }`";
const TABLE: &str = "a map, such as `{ path: /identities/ }` or `{ file: people.csv, \
    employee: employee_id, email: mail }`";

/// The most tables.
const MAX_TABLES: usize = 100;

/// The keys of a table in a list.
pub(in crate::config) const KEYS: [&str; 18] = [
    "upstream",
    "path",
    "file",
    "query",
    "headers",
    "body",
    "form",
    "every",
    "records",
    "next",
    "max_pages",
    "fail_if",
    "employee",
    "email",
    "username",
    "hostname",
    "ip",
    "name",
];

/// The kinds of keys by which rows are looked up.
pub(super) const ROW_KEYS: [IdentityKind; 4] =
    [IdentityKind::Email, IdentityKind::Username, IdentityKind::Hostname, IdentityKind::Ip];

/// Keys that need rows.
const KEYS_OF_ROWS: [&str; 8] =
    ["records", "next", "max_pages", "email", "username", "hostname", "ip", "name"];

/// Reads `identities`: one table of addresses, or a list of tables.
pub(in crate::config) fn read_tables(reader: &mut Reader, node: &Node) -> Option<Vec<Table>> {
    let tables = match &node.value {
        Value::Map(_) => addresses(reader, node)?,
        _ => {
            let items = items(reader, node, TABLES, MAX_TABLES)?;
            let mut tables = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                tables.extend(reader.below(&format!("[{index}]"), |reader| table(reader, item)));
            }
            tables
        }
    };
    reader.faults.is_empty().then_some(tables)
}

/// The path of the only table, if it is one of addresses at the default upstream.
pub(in crate::config) fn addresses_path(tables: &[Table]) -> Option<&str> {
    let [table] = tables else { return None };
    let Origin::Http(http) = &table.origin else { return None };
    let path = http.request.path.as_str();
    (*table == Table::addresses(path)).then_some(path)
}

/// Reads the table of addresses, which is a map.
fn addresses(reader: &mut Reader, node: &Node) -> Option<Vec<Table>> {
    let belongs_to_list = match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|entry| KEYS.contains(&&*entry.key) && entry.key != "path")
        }
        _ => None,
    };
    if let Some(entry) = belongs_to_list {
        let detail = "is a key of a table in a list; write `identities: [ { … } ]`".to_owned();
        reader.report_at(entry.key_position, &entry.key, ConfigErrorKind::Detail(detail));
        return None;
    }
    let fields = reader.fields(node, TABLES, &["path"])?;
    let path = reader.required(&fields, "path", |reader, node| reader.value(node, path(node)));
    Some(vec![Table::addresses(&path?)])
}

/// Reads a table of a list.
fn table(reader: &mut Reader, item: &Node) -> Option<Table> {
    let faults = reader.faults.len();
    let fields = reader.fields(item, TABLE, &KEYS)?;
    let origin = origin(reader, &fields, None);
    let every = reader.optional(&fields, "every", every);
    let rows = rows(reader, &fields);
    let table = Table { origin: origin?, every, rows };
    if reader.faults.len() == faults {
        check(reader, &fields, &table);
    }
    Some(table)
}

/// How rows are read, if there is `employee`.
fn rows(reader: &mut Reader, fields: &Fields<'_>) -> Option<TableRows> {
    if !fields.has("employee") {
        for key in KEYS_OF_ROWS {
            let detail = "needs `employee` beside it, the path to the employee's id in a row; \
                without it the table is one object that maps addresses to employee ids";
            reader.refuse_because(fields, key, detail);
        }
        return None;
    }
    let records = reader.optional(fields, "records", |reader, node| path_node(reader, node, true));
    let employee = reader.optional(fields, "employee", paths);
    let mut keys = Vec::new();
    for kind in ROW_KEYS {
        let paths = reader.optional(fields, kind.as_str(), paths);
        keys.extend(paths.map(|paths| (kind, paths)));
    }
    if !ROW_KEYS.iter().any(|kind| fields.has(kind.as_str())) {
        let detail = "needs at least one of `email`, `username`, `hostname` and `ip` beside it, by \
            which employees are looked up";
        reader.refuse_because(fields, "employee", detail);
    }
    let name = reader.optional(fields, "name", paths).unwrap_or_default();
    Some(TableRows { records, employee: employee?, keys, name })
}

/// Checks that the keys of a table agree with each other.
fn check(reader: &mut Reader, fields: &Fields<'_>, table: &Table) {
    let Some(rows) = &table.rows else {
        if has_rows(&table.origin) {
            let detail = "has rows, which need `employee` and one of `email`, `username`, \
                `hostname` and `ip`";
            reader.refuse_because(fields, "file", detail);
        }
        return;
    };
    check_records(reader, fields, &table.origin, rows.records.as_ref());
}
