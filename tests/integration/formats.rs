//! NDJSON and CSV against simple references, by `Accept`, and as DuckDB reads them.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use http::StatusCode;
use incident_gateway::config::Config;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::snapshot_gateway::SnapshotGateway;

const HEADER: [&str; 11] = [
    "type",
    "employee_id",
    "priority",
    "timestamp",
    "reported_by",
    "internal_ip",
    "machine_ip",
    "ip",
    "identifier",
    "source_ip",
    "other",
];

fn ndjson(view: &View) -> String {
    String::from_utf8(render::ndjson(view, &Filter::default())).unwrap()
}

fn csv(view: &View) -> String {
    String::from_utf8(render::csv(view, &Filter::default())).unwrap()
}

/// A view whose only records are these, of the source `other`.
fn view(records: &[String]) -> View {
    let body = format!("{{\"results\":[{}]}}", records.join(","));
    let mut bodies = vec![None; 6];
    bodies.push(Some(body.as_str()));
    crate::support::views::view(&Config::default(), 1, Some("{}"), &bodies)
}

/// The rows of an RFC 4180 text.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(characters.next(), Some('\n'), "a line ends in CR LF");
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\n' => assert!(quoted, "a line break outside of quotes"),
            other => cell.push(other),
        }
        if quoted && character == '\n' {
            cell.push('\n');
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last line is ended");
    rows
}

#[test]
fn lines_carry_type_and_employee_then_the_record_as_it_came() {
    let view = view(&[
        r#"{"identifier":"b\u00e9","priority":"low","timestamp":1.50,"x":[1, {"type":2}],"y":"\n"}"#.to_owned(),
        "{\"type\":\"x\",\r\n\t\"identifier\" : 12 ,\"employee\\u005fid\":7,\n\"priority\":\"high\",\"timestamp\":2e0}"
            .to_owned(),
        "{\"identifier\":12,\n\"priority\":\"low\",\r\n\"timestamp\":1}".to_owned(),
    ]);
    assert_eq!(
        ndjson(&view),
        concat!(
            r#"{"type":"other","employee_id":"12","identifier":12,"priority":"low","timestamp":1}"#,
            "\n",
            r#"{"type":"other","employee_id":"12","identifier" : 12,"priority":"high","timestamp":2e0}"#,
            "\n",
            r#"{"type":"other","employee_id":"bé","identifier":"b\u00e9","priority":"low","timestamp":1.50,"x":[1, {"type":2}],"y":"\n"}"#,
            "\n",
        )
    );
}

#[test]
fn a_table_has_a_column_a_known_field_and_the_rest_as_json() {
    let record =
        |rest: &str| format!(r#"{{"identifier":5,"priority":"low","timestamp":-1.50{rest}}}"#);
    let view = view(&[
        record(r#","source_ip":"17.0.0.1""#),
        record(r#","source_ip":null,"type":"gone","employee_id":"5","note":"a,\"b\"" "#),
        record(
            r#","employee_id":6,"ip":"=cmd|' /C calc'!A0","machine_ip":[1,"x"],"identifier":"5""#,
        ),
        record(
            ",\"reported_by\":\" +1\",\"internal_ip\":-5,\"source_ip\":\"-5\",\"a\":{\n},\"b\" :\n1",
        ),
        record(
            r#","source_ip":"\tx","ip":"a\nb","machine_ip":"\ud800","internal_ip":true,"reported_by":"@a,b""#,
        ),
    ]);
    let expected = [
        HEADER.join(","),
        "other,5,low,-1.50,,,,,5,17.0.0.1,".to_owned(),
        r#"other,5,low,-1.50,,,,,5,,"{""note"":""a,\""b\""""}""#.to_owned(),
        r#"other,5,low,-1.50,,,"[1,""x""]",'=cmd|' /C calc'!A0,5,,"{""employee_id"":6,""identifier"":5}""#.to_owned(),
        r#"other,5,low,-1.50,' +1,-5,,,5,-5,"{""a"":{},""b"" :1}""#.to_owned(),
        "other,5,low,-1.50,\"'@a,b\",true,\"\"\"\\ud800\"\"\",\"a\nb\",5,\"'\tx\",".to_owned(),
    ];
    let text = csv(&view);
    assert_eq!(text, expected.map(|line| line + "\r\n").concat());
}

#[test]
fn the_header_does_not_depend_on_which_sources_have_come() {
    let empty = crate::support::views::view(&Config::default(), 1, None, &[]);
    assert_eq!(csv(&empty), HEADER.join(",") + "\r\n");
    assert_eq!(ndjson(&empty), "");
}

fn any_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn record() -> impl Strategy<Value = String> {
    let value = any_of(&[
        "1",
        "-2.50",
        "1e999",
        "null",
        "true",
        "[1,\n2]",
        "{\"a\": \"\\n\"}",
        "\"\"",
        "\"17.0.0.1\"",
        "\"=1+1\"",
        "\"  @x\"",
        "\"-1\"",
        "\"-1 \"",
        "\"a,b\"",
        "\"say \\\"hi\\\"\"",
        "\"x\\r\\ny\"",
        "\"é😀\"",
        "\"\\u003d1\"",
        "\"'\"",
    ]);
    let name = any_of(&[
        "ip",
        "source_ip",
        "source\\u005fip",
        "type",
        "employee_id",
        "note",
        "other",
        "",
        "reported_by",
    ]);
    let member = (name, value, any_of(&["", "", " ", "\r\n"]))
        .prop_map(|(name, value, space)| format!("{space}\"{name}\"{space}:{value}{space}"));
    let identifier = any_of(&["7", "\"7\"", "\"=evil\"", "\"a,b\"", "\"\\\"q\\\"\"", "-4"]);
    (identifier, 0..9_u32, prop::collection::vec(member, 0..5)).prop_map(
        |(identifier, second, extra)| {
            let mut members = vec![
                format!("\"identifier\":{identifier}"),
                "\"priority\":\"low\"".to_owned(),
                format!("\"timestamp\":{second}"),
            ];
            members.extend(extra);
            format!("{{{}}}", members.join(","))
        },
    )
}

/// A record's members by name, in order; names may repeat.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// The text that a cell should show.
fn shown(raw: &str) -> String {
    match serde_json::from_str::<String>(raw) {
        Ok(text) => disarmed(&text),
        Err(_) if raw == "null" => String::new(),
        Err(_) => raw.replace(['\r', '\n'], ""),
    }
}

fn disarmed(text: &str) -> String {
    let first = text.trim_start_matches(' ').chars().next();
    let number = text.parse::<f64>().is_ok() && !text.starts_with('+');
    if first.is_some_and(|first| "=+-@\t\r".contains(first)) && !number {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn both_formats_say_what_the_records_say(records in prop::collection::vec(record(), 0..25)) {
        let view = view(&records);
        // The document's order: by employee (here: numbers first), then by time, then as they came.
        let mut ordered: Vec<(bool, i64, String, u64, Members)> = records.iter().map(|record| {
            let members: Members = serde_json::from_str(record).unwrap();
            let get = |name: &str| members.0.iter().find(|(known, _)| known == name).unwrap().1.get().to_owned();
            let id = get("identifier");
            let id = serde_json::from_str(&id).unwrap_or(id);
            let number = id.parse::<i64>();
            (number.is_err(), number.unwrap_or_default(), id, get("timestamp").parse().unwrap(), members)
        }).collect();
        ordered.sort_by(|a, b| (a.0, a.1, &a.2, a.3).cmp(&(b.0, b.1, &b.2, b.3)));

        let lines = ndjson(&view);
        let given: Vec<&str> = lines.lines().collect();
        prop_assert_eq!(given.len(), ordered.len());
        let mut table = rows(&csv(&view)).into_iter();
        prop_assert_eq!(table.next().unwrap(), HEADER);
        for (line, (_, _, id, _, members)) in given.iter().zip(&ordered) {
            let own = members.0.iter().filter(|(name, _)| name != "type" && name != "employee_id");
            let expected: Vec<(String, String)> = [("type".to_owned(), "\"other\"".to_owned()), ("employee_id".to_owned(), serde_json::to_string(id).unwrap())]
                .into_iter()
                .chain(own.map(|(name, raw)| (name.clone(), raw.get().replace(['\r', '\n'], ""))))
                .collect();
            let line: Members = serde_json::from_str(line).unwrap();
            let line: Vec<(String, String)> = line.0.into_iter().map(|(name, raw)| (name, raw.get().to_owned())).collect();
            prop_assert_eq!(line, expected);

            let row = table.next().unwrap();
            let row: BTreeMap<&str, String> = HEADER.into_iter().zip(row).collect();
            let mut cells: BTreeMap<&str, String> = HEADER.into_iter().map(|name| (name, String::new())).collect();
            let mut rest: Vec<(String, String)> = Vec::new();
            cells.insert("type", "other".to_owned());
            cells.insert("employee_id", disarmed(id));
            for (index, (name, raw)) in members.0.iter().enumerate() {
                let last = !members.0[index + 1..].iter().any(|(later, _)| later == name);
                let column = HEADER[2..10].iter().find(|column| *column == name);
                match (name.as_str(), column) {
                    ("type", _) => {}
                    ("employee_id", _) if serde_json::from_str::<String>(raw.get()).unwrap_or(raw.get().to_owned()) == *id => {}
                    (_, Some(column)) if last => drop(cells.insert(column, shown(raw.get()))),
                    _ => rest.push((name.clone(), raw.get().replace(['\r', '\n'], ""))),
                }
            }
            let other = row["other"].clone();
            let mut given: Vec<(String, String)> = if other.is_empty() { Vec::new() } else {
                serde_json::from_str::<Members>(&other).unwrap().0.into_iter().map(|(name, raw)| (name, raw.get().to_owned())).collect()
            };
            given.sort();
            rest.sort();
            prop_assert_eq!(given, rest);
            cells.insert("other", other);
            prop_assert_eq!(row, cells);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn formats_are_given_by_accept_with_filters_and_codings() {
    let gateway = SnapshotGateway::with_fixtures();
    let summary = gateway.get("/summary?priority=critical,high&type=misuse").await.json();
    let count = usize::try_from(summary["total"]["count"].as_u64().unwrap()).unwrap();
    let path = "/incidents?priority=critical,high&type=misuse";
    let lines = gateway.get_with(path, &[("accept", "application/x-ndjson")]).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.header("vary"), "Accept, Accept-Encoding, Prefer");
    assert_eq!(lines.text().lines().count(), count);
    for line in lines.text().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(record["type"] == "misuse" && record["employee_id"].is_string(), "{line}");
    }
    let table = gateway.get_with(path, &[("accept", "text/csv")]).await;
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(rows(table.text()).len(), count + 1);
    let zstd = gateway.get_with(path, &[("accept", "text/csv"), ("accept-encoding", "zstd")]).await;
    assert_eq!(zstd::bulk::decompress(&zstd.body, 1 << 24).unwrap(), table.body);
    let tags = [lines.header("etag"), table.header("etag"), zstd.header("etag")];
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    let unchanged =
        gateway.get_with(path, &[("accept", "text/csv"), ("if-none-match", tags[1])]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    tokio::time::advance(Duration::from_secs(1)).await;
    let document = gateway.get("/incidents").await;
    assert_eq!(document.header("content-type"), "application/json");
}

#[test]
fn duckdb_reads_both() {
    let Some(python) = crate::support::web_tools::tool("duckdb_reads_both", "venv/bin/python")
    else {
        return;
    };
    let config = Config::default();
    let mut bodies: Vec<String> =
        config.sources.iter().map(|source| crate::support::views::fixture(&source.name)).collect();
    bodies[3] = r#"{"results":[{"employee_id":5,"priority":"low","timestamp":1,"source_ip":"=1","note":"a\n\"b\",é",
        "more":[1,2]}]}"#
        .to_owned();
    let bodies: Vec<Option<&str>> = bodies.iter().map(|body| Some(body.as_str())).collect();
    let view = crate::support::views::view(
        &config,
        1,
        Some(&crate::support::views::fixture("identities")),
        &bodies,
    );
    let folder = tempfile::tempdir().unwrap();
    let (lines, table) =
        (folder.path().join("incidents.ndjson"), folder.path().join("incidents.csv"));
    // A record of `executable` has a member twice, which comes through as it came and which DuckDB
    // refuses.
    let filter = Filter { sources: Some(vec![0, 1, 3, 4, 5, 6]), ..Filter::default() };
    std::fs::write(&lines, render::ndjson(&view, &filter)).unwrap();
    std::fs::write(&table, render::csv(&view, &filter)).unwrap();
    let script = "
import duckdb, sys
group = 'select type, priority, count(*), count(distinct employee_id) from {} group by all order by all'
lines, table = (duckdb.sql(group.format(f\"'{path}'\")).fetchall() for path in sys.argv[1:])
assert lines == table, (lines, table)
one = duckdb.sql(f\"select employee_id, source_ip, other from read_csv('{sys.argv[2]}', all_varchar=true) where type = 'misuse'\").fetchall()
assert one == [('5', \"'=1\", '{\"note\":\"a\\\\n\\\\\"b\\\\\",é\",\"more\":[1,2]}')], one
print(sum(row[2] for row in lines))
";
    let output =
        Command::new(python).arg("-c").arg(script).args([&lines, &table]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let executables: usize = view.index().counts()[2].iter().sum();
    assert_eq!(counted, view.index().incident_count() - executables);
}
