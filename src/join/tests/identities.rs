//! Records with several identities and several tables, against a plain reference.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::{HttpOrigin, Origin, Source, Table, TableRows};
use crate::decode::{IncidentsDecoder, SourceMapping};
use crate::identity::{KeyKinds, TableDecoder};
use crate::json::Path;
use crate::mapping::{IdentityEntry, IdentityKind, Paths};
use IdentityKind::{Auto, Email, EmployeeId, Hostname, Ip, Username};

/// The spellings of values by kind, each with what it is after the clean-up; `None` where it is
/// nothing of that kind.
const SPELLINGS: [(IdentityKind, &str, Option<&str>); 37] = [
    (Email, "ann@x.example", Some("ann@x.example")),
    (Email, "Ann@X.Example", Some("ann@x.example")),
    (Email, "bo@x.example", Some("bo@x.example")),
    (Email, "BO@x.example", Some("bo@x.example")),
    (Email, "Åsa@x.example", Some("åsa@x.example")),
    (Username, "ann", Some("ann")),
    (Username, "CORP\\Ann", Some("ann")),
    (Username, "ann@x.example", Some("ann")),
    (Username, "ANN@corp", Some("ann")),
    (Username, "bo", Some("bo")),
    (Username, "corp\\bo", Some("bo")),
    (Hostname, "pc1", Some("pc1")),
    (Hostname, "PC1.corp.example", Some("pc1")),
    (Hostname, "pc1:443", Some("pc1")),
    (Hostname, "Pc1.corp.example:8443", Some("pc1")),
    (Hostname, "ann", Some("ann")),
    (Hostname, "17.0.0.1", None),
    (Hostname, "[::1]:80", None),
    (Ip, "17.0.0.1", Some("17.0.0.1")),
    (Ip, " 17.0.0.1:443 ", Some("17.0.0.1")),
    (Ip, "::ffff:17.0.0.1", Some("17.0.0.1")),
    (Ip, "fe80::1%eth0", Some("fe80::1")),
    (Ip, "[FE80:0::1]:22", Some("fe80::1")),
    (Ip, "pc1", None),
    (EmployeeId, "7", Some("7")),
    (EmployeeId, "e8", Some("e8")),
    (EmployeeId, "17.0.0.1", Some("17.0.0.1")),
    (Auto, "7", Some("7")),
    (Auto, "ann@x.example", Some("ann@x.example")),
    (Auto, "17.0.0.1", Some("17.0.0.1")),
    (Auto, "[::ffff:17.0.0.1]:443", Some("17.0.0.1")),
    (Auto, "Unknown", None),
    (Email, "-", None),
    (Username, "UNKNOWN", None),
    (Hostname, "None", None),
    (Ip, "N/A", None),
    (EmployeeId, "unknown", None),
];

/// An index in [`SPELLINGS`].
type Spelling = usize;

/// The values that decide themselves how they are looked up, and hold something.
fn auto() -> Vec<Spelling> {
    let is_auto = |value: &Spelling| SPELLINGS[*value].0 == Auto && !is_nothing(*value);
    (0..SPELLINGS.len()).filter(is_auto).collect()
}

/// A value, and whether it stands where the second path leads.
type Placed = (Spelling, bool);

/// The paths to the values of a kind, in records and rows.
fn paths(member: &str) -> Paths {
    vec![Path::name(member), Path::name(&format!("{member}_2"))]
}

/// The values of a kind at the first of its paths that holds something.
fn used(kind: IdentityKind, values: &[Placed]) -> Vec<Spelling> {
    let of_kind = || values.iter().filter(|(value, _)| SPELLINGS[*value].0 == kind);
    let is_first_used = of_kind().any(|(value, is_second)| !is_second && !is_nothing(*value));
    let used = of_kind().filter(|(_, is_second)| *is_second != is_first_used);
    used.map(|(value, _)| *value).collect()
}

fn is_nothing(spelling: Spelling) -> bool {
    let text = SPELLINGS[spelling].1.to_lowercase();
    ["-", "unknown", "none", "n/a"].contains(&text.as_str())
}

#[derive(Clone, Debug)]
struct Row {
    employee: Option<&'static str>,
    keys: Vec<Placed>,
    name: Option<&'static str>,
    /// Whether the second paths lead to the employee and the name.
    is_second: bool,
}

#[derive(Clone, Debug)]
struct ReferenceTable {
    kinds: Vec<IdentityKind>,
    /// `None` for a table without data.
    rows: Option<Vec<Row>>,
}

/// An object with an array for each path to which `values` belong.
fn object(values: &[Placed], mut members: Vec<String>) -> String {
    let mut arrays: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &(value, is_second) in values {
        let (kind, text, _) = SPELLINGS[value];
        let path = &paths(kind.as_str())[usize::from(is_second)];
        arrays.entry(path.to_string()).or_default().push(serde_json::to_string(text).unwrap());
    }
    members.extend(arrays.iter().map(|(name, texts)| format!("\"{name}\":[{}]", texts.join(","))));
    format!("{{{}}}", members.join(","))
}

impl ReferenceTable {
    fn slot(&self) -> TableSlot {
        let config = Table {
            origin: Origin::Http(HttpOrigin::endpoint("/people")),
            every: None,
            rows: Some(TableRows {
                records: Some(Path::whole()),
                employee: paths("employee"),
                keys: self.kinds.iter().map(|kind| (*kind, paths(kind.as_str()))).collect(),
                name: paths("name"),
            }),
        };
        let table = self.rows.as_ref().map(|rows| {
            let mut decoder = TableDecoder::new(&config);
            // Two pages, to which the rows are dealt in halves.
            let (first, second) = rows.split_at(rows.len() / 2);
            for page in [first, second] {
                let rows: Vec<String> = page.iter().map(Row::json).collect();
                decoder.add_page(Bytes::from(format!("[{}]", rows.join(",")))).unwrap();
            }
            Arc::new(decoder.finish())
        });
        TableSlot { kinds: KeyKinds::of(&config), table }
    }

    /// The keys that the table has with their employees, in the order of the rows.
    fn entries(&self) -> impl Iterator<Item = (IdentityKind, &'static str, &'static str)> {
        self.rows.iter().flatten().flat_map(|row| {
            // The order of a row's kinds does not matter, because all of its keys name one person.
            let keys = self.kinds.iter().flat_map(|kind| used(*kind, &row.keys));
            keys.map(|key| SPELLINGS[key])
                .filter_map(|(kind, _, key)| Some((kind, key?, row.employee?)))
        })
    }

    fn employee(&self, kind: IdentityKind, key: &str) -> Option<&'static str> {
        self.entries().find(|entry| (entry.0, entry.1) == (kind, key)).map(|entry| entry.2)
    }

    fn conflicts(&self) -> usize {
        self.entries()
            .filter(|(kind, key, employee)| self.employee(*kind, key) != Some(employee))
            .count()
    }

    fn name(&self, employee: &str) -> Option<&'static str> {
        let mut rows = self.rows.iter().flatten().filter(|row| row.employee == Some(employee));
        rows.find_map(|row| row.name)
    }
}

impl Row {
    fn json(&self) -> String {
        let quoted = |text: Option<&str>| serde_json::to_string(&text).unwrap();
        let employee = match self.employee {
            // Numbers and strings name the same employees.
            Some("7") => "7".to_owned(),
            employee => quoted(employee),
        };
        let name = quoted(self.name);
        let members = if self.is_second {
            format!(r#""employee":["","N/A"],"employee_2":{employee},"name":"","name_2":{name}"#)
        } else {
            format!(r#""employee":{employee},"name":{name}"#)
        };
        object(&self.keys, vec![members])
    }
}

/// The employee of a record whose identity entries have these kinds.
fn reference(
    tables: &[ReferenceTable],
    entries: &[IdentityKind],
    values: &[Placed],
) -> Result<&'static str, Reason> {
    let in_order = entries.iter().flat_map(|kind| used(*kind, values));
    let values: Vec<Spelling> = in_order.filter(|value| !is_nothing(*value)).collect();
    if values.is_empty() {
        return Err(Reason::MissingIdentity);
    }
    let (mut is_unavailable, mut kinds) = (false, Vec::new());
    for value in values {
        let (kind, _, Some(key)) = SPELLINGS[value] else { continue };
        let kind = match kind {
            Auto if key.parse::<std::net::IpAddr>().is_ok() => Ip,
            kind => kind,
        };
        if matches!(kind, EmployeeId | Auto) {
            return Ok(key);
        }
        kinds.push(kind);
        for table in tables.iter().filter(|table| table.kinds.contains(&kind)) {
            if table.rows.is_none() {
                is_unavailable = true;
                break;
            }
            if let Some(employee) = table.employee(kind, key) {
                return Ok(employee);
            }
        }
    }
    if is_unavailable {
        Err(Reason::IdentitiesUnavailable)
    } else if !kinds.is_empty() && kinds.iter().all(|kind| *kind == Ip) {
        Err(Reason::UnknownIp)
    } else {
        Err(Reason::UnknownIdentity)
    }
}

/// Records that have the values under a member for each kind, as decoded for a mapped source.
fn decode(entries: &[IdentityKind], records: &[Vec<Placed>]) -> Incidents {
    let source = Source {
        identity: entries
            .iter()
            .map(|kind| IdentityEntry { at: paths(kind.as_str()), kind: Some(*kind) })
            .collect(),
        records: Some(Path::parse("/list").unwrap()),
        ..Source::plain("mapped", "/", &[])
    };
    let fixed = || vec!["\"priority\":\"low\"".to_owned(), "\"timestamp\":1700000000".to_owned()];
    let records: Vec<String> = records.iter().map(|values| object(values, fixed())).collect();
    let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(&source)));
    decoder.add_page(Bytes::from(format!("{{\"list\":[{}]}}", records.join(",")))).unwrap();
    decoder.finish()
}

/// Records that have the text of each value as their id, as decoded for a plain source.
fn decode_plain(ids: &[Spelling]) -> Incidents {
    let record = |id: &Spelling| {
        let id = serde_json::to_string(SPELLINGS[*id].1).unwrap();
        format!(r#"{{"id":{id},"priority":"low","timestamp":1}}"#)
    };
    let records: Vec<String> = ids.iter().map(record).collect();
    let body = Bytes::from(format!("{{\"results\":[{}]}}", records.join(",")));
    Incidents::decode(body, &SourceFields::new(&["id".to_owned()])).unwrap()
}

fn placed() -> impl Strategy<Value = Placed> {
    (0..SPELLINGS.len(), prop::bool::weighted(0.3))
}

fn row() -> impl Strategy<Value = Row> {
    let employee = prop::sample::select(vec![Some("7"), Some("e8"), Some("e9"), None]);
    let name = prop::sample::select(vec![Some("Ann Ås"), Some("Bo"), None, None]);
    let keys = prop::collection::vec(placed(), 0..5);
    (employee, keys, name, any::<bool>()).prop_map(|(employee, keys, name, is_second)| Row {
        employee,
        keys,
        name,
        is_second,
    })
}

fn reference_table() -> impl Strategy<Value = ReferenceTable> {
    let kinds = prop::sample::subsequence(vec![Email, Username, Hostname, Ip], 1..=4);
    let rows = prop::option::weighted(0.8, prop::collection::vec(row(), 0..8));
    (kinds, rows).prop_map(|(kinds, rows)| ReferenceTable { kinds, rows })
}

fn entries() -> impl Strategy<Value = Vec<IdentityKind>> {
    let kinds = vec![Email, Username, Hostname, Ip, EmployeeId, Auto];
    prop::sample::subsequence(kinds, 1..=6).prop_shuffle()
}

proptest! {
    #[test]
    fn every_record_has_the_employee_of_the_reference(
        tables in prop::collection::vec(reference_table(), 0..4),
        entries in entries(),
        records in prop::collection::vec(prop::collection::vec(placed(), 0..4), 0..12),
        plain in prop::collection::vec(prop::sample::select(auto()), 0..8),
    ) {
        let slots: Vec<TableSlot> = tables.iter().map(ReferenceTable::slot).collect();
        for (reference, slot) in tables.iter().zip(&slots) {
            let Some(table) = &slot.table else { continue };
            prop_assert_eq!(table.conflicts(), reference.conflicts());
            prop_assert_eq!(Some(table.records()), reference.rows.as_ref().map(Vec::len));
            for employee in ["7", "e8", "e9", "e10"] {
                prop_assert_eq!(table.name(employee), reference.name(employee));
            }
        }
        let sources = [decode(&entries, &records), decode_plain(&plain)];
        let sources = sources.map(|batch| Some(Arc::new(batch)));
        let index = join(&slots, &sources);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut unattributed = Vec::new();
        let mapped = records.iter().map(|values| reference(&tables, &entries, values)).enumerate();
        let plain = plain.iter().map(|value| reference(&tables, &[Auto], &[(*value, false)])).enumerate();
        let mapped = mapped.map(|(record, employee)| (0, record, employee));
        let plain = plain.map(|(record, employee)| (1, record, employee));
        for (source, record, employee) in mapped.chain(plain) {
            match employee {
                Ok(employee) => *counts.entry(employee).or_default() += 1,
                Err(reason) => unattributed.push((source, record, reason)),
            }
        }
        let found: BTreeMap<&str, usize> =
            index.employees().map(|employee| (employee.id, employee.incident_count())).collect();
        prop_assert_eq!(found, counts);
        prop_assert_eq!(reasons(&index), unattributed);
    }
}
