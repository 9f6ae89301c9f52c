//! Every answer of a gateway with a plain and a mapped source, from a configuration file over
//! sockets to the bytes of each format.

use std::time::Duration;

use incident_gateway::config::{self, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::gateway::{Gateway, quick};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const SOURCES: &str = r"
identities:
  - { path: /people, records: /people, employee: /no, email: /mail, hostname: /host, name: /name }
sources:
  - { name: misuse, path: /misuse, identity: employee_id }
  - name: alerts
    path: /alerts
    records: /data/alerts
    id: [/key/tenant, /key/number]
    priority: { at: /severity, values: { P1: critical, P4: low } }
    timestamp: { at: /seen, unit: ms }
    identity: [{ at: /user, as: email }, { at: /host, as: hostname }]
    title: /title
    url: /link
";

const PEOPLE: &str = r#"{"people":[
    {"no":7,"mail":"Ada.Berg@corp.example","host":"lt-7","name":"Ada \"A\" <Berg>"},
    {"no":"x1","mail":"bo@corp.example","host":null,"name":null},
    {"no":8,"mail":"ada.berg@corp.example"}
]}"#;

const MISUSE: &str = r#"{"results":[{"employee_id":7,"priority":"low","timestamp":1772449200.5}]}"#;

/// As spelled by the upstream, with spaces and line breaks.
const ADA: &str = r#"{ "key": {"tenant": "t", "number": 1}, "severity": "p1", "seen": 1772449200230,
  "user": "ADA.BERG@corp.example", "title": "<img src=x onerror=alert(1)>", "link": "https://portal.example/1?a=1&b=2",
  "type": "theirs", "n": 1.50, "\u0061": "\u00e9" }"#;
const BO: &str = r#"{"key":{"tenant":"t","number":2},"severity":"P4","seen":"1772449201000","user":"bo@corp.example","title":"=1+1","link":"javascript:alert(1)"}"#;
const BY_HOST: &str =
    r#"{"severity":"high","seen":1772449202999,"user":"-","host":"LT-7.corp.example:443"}"#;
const UNKNOWN: &str = r#"{"key":{"tenant":"t","number":4},"severity":"P1","seen":1772449203000,"user":"who@else.example"}"#;
const UNMAPPED: &str = r#"{"key":{"tenant":"t","number":5},"severity":"P9","seen":1772449204000,"user":"bo@corp.example"}"#;
const NO_OBJECT: &str = r#""t/6""#;

fn alerts(records: &[&str]) -> String {
    format!(r#"{{"data":{{"alerts":[{}]}}}}"#, records.join(",\n"))
}

/// A gateway that reads these alerts, and its upstream.
async fn gateway(records: &[&str]) -> (Gateway, ScriptedUpstream) {
    let upstream = ScriptedUpstream::start().await;
    upstream.script("/people", Script::json(PEOPLE));
    upstream.script("/misuse", Script::json(MISUSE));
    upstream.script("/alerts", Script::json(alerts(records)));
    let Config { sources, identities, .. } = config::from_yaml("test", SOURCES).unwrap();
    let config = Config { sources, identities, ..quick(&upstream.base_url()) };
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("fetched").await;
    (gateway, upstream)
}

const ALL: [&str; 6] = [ADA, BO, BY_HOST, UNKNOWN, UNMAPPED, NO_OBJECT];

#[tokio::test]
async fn json_and_ndjson_have_the_envelope_with_the_record_byte_for_byte() {
    let (gateway, _upstream) = gateway(&ALL).await;
    let ada = format!(
        r#""priority":"critical","timestamp":1772449200.230000,"id":"t/1","title":"<img src=x onerror=alert(1)>","url":"https://portal.example/1?a=1&b=2","record":{ADA}}}"#
    );
    let by_host =
        format!(r#""priority":"high","timestamp":1772449202.999000,"record":{BY_HOST}}}"#);
    let bo = format!(
        r#""priority":"low","timestamp":1772449201.000000,"id":"t/2","title":"=1+1","url":"javascript:alert(1)","record":{BO}}}"#
    );
    let none = r#"{"count":0,"incidents":[]}"#;
    let one = |member: &str, record: &str| {
        format!(r#""{member}":{{"count":1,"incidents":[{{"type":"alerts",{record}]}}"#)
    };
    let expected = format!(
        r#"{{"7":{{"low":{{"count":1,"incidents":[{{"type":"misuse","employee_id":7,"priority":"low","timestamp":1772449200.5}}]}},"medium":{none},{},{}}},"x1":{{{},"medium":{none},"high":{none},"critical":{none}}}}}"#,
        one("high", &by_host),
        one("critical", &ada),
        one("low", &bo),
    );
    assert_eq!(gateway.get("/incidents").await.text(), expected);

    let lines = gateway.get_with("/incidents", &[("accept", "application/x-ndjson")]).await;
    let head = r#"{"type":"alerts","employee_id""#;
    let expected = [
        r#"{"type":"misuse","employee_id":"7","priority":"low","timestamp":1772449200.5}"#
            .to_owned(),
        format!("{head}:\"7\",{by_host}"),
        format!("{head}:\"7\",{}", ada.replace('\n', "")),
        format!("{head}:\"x1\",{bo}"),
    ];
    assert_eq!(lines.text(), expected.map(|line| line + "\n").concat());
}

#[tokio::test]
async fn unattributed_records_stand_in_an_envelope_without_what_they_do_not_yield() {
    let (gateway, _upstream) = gateway(&ALL).await;
    let expected = [
        (
            "unknown_identity",
            format!(
                r#""priority":"critical","timestamp":1772449203.000000,"id":"t/4","record":{UNKNOWN}"#
            ),
        ),
        (
            "invalid_priority",
            format!(r#""timestamp":1772449204.000000,"id":"t/5","record":{UNMAPPED}"#),
        ),
        ("not_an_object", format!(r#""record":{NO_OBJECT}"#)),
    ];
    let expected = expected.map(|(reason, members)| {
        format!(
            r#"{{"source":"alerts","reason":"{reason}","incident":{{"type":"alerts",{members}}}}}"#
        )
    });
    let document = format!(r#"{{"count":3,"incidents":[{}]}}"#, expected.join(","));
    let answer = gateway.get("/unattributed").await;
    assert_eq!(answer.text(), document);
    assert_eq!(answer.header("incident-unattributed"), "3");
}

#[tokio::test]
async fn csv_has_columns_for_the_envelope_and_the_record_as_json() {
    let (gateway, _upstream) = gateway(&ALL).await;
    let answer = gateway.get_with("/incidents", &[("accept", "text/csv")]).await;
    let quoted = |record: &str| record.replace('\n', "").replace('"', "\"\"");
    let expected = [
        "type,employee_id,priority,timestamp,source_ip,id,title,url,record,other".to_owned(),
        "misuse,7,low,1772449200.5,,,,,,".to_owned(),
        format!("alerts,7,high,1772449202.999000,,,,,\"{}\",", quoted(BY_HOST)),
        format!(
            "alerts,7,critical,1772449200.230000,,t/1,<img src=x onerror=alert(1)>,https://portal.example/1?a=1&b=2,\"{}\",",
            quoted(ADA)
        ),
        format!(
            "alerts,x1,low,1772449201.000000,,t/2,'=1+1,javascript:alert(1),\"{}\",",
            quoted(BO)
        ),
    ];
    assert_eq!(answer.text(), expected.map(|line| line + "\r\n").concat());
}

#[tokio::test]
async fn summary_and_sources_know_names_and_what_was_noticed() {
    let (gateway, _upstream) = gateway(&[ADA, BO, BO, UNMAPPED]).await;
    let summary = gateway.get("/summary").await.json();
    let top = &summary["employees"]["top"];
    assert_eq!(
        (&top[0]["employee_id"], &top[0]["name"]),
        (&json!("7"), &json!("Ada \"A\" <Berg>"))
    );
    assert_eq!((&top[1]["employee_id"], top[1].get("name")), (&json!("x1"), None));
    assert_eq!(summary["by_type"]["alerts"]["latest"], json!(1_772_449_201.0));

    let sources = gateway.get("/sources").await.json();
    let source = |name: &str| -> Value {
        let mut sources = sources["sources"].as_array().unwrap().iter();
        sources.find(|source| source["name"] == name).unwrap().clone()
    };
    let alerts = source("alerts");
    assert_eq!(alerts["records"], 3);
    assert_eq!((&alerts["pages"], &alerts["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(alerts["unmapped"], json!({"P9": 1}));
    assert_eq!(alerts["upstream"], "default");
    assert_eq!(source("identities")["conflicts"], 1);
    assert_eq!(source("misuse")["unmapped"], json!({}));
}

#[tokio::test]
async fn the_page_shows_names_titles_and_only_links_of_the_web() {
    let (gateway, _upstream) = gateway(&ALL).await;
    let browser = [("accept", "text/html")];
    let overview = gateway.get_with("/", &browser).await;
    assert!(
        overview.text().contains(r#"<bdi class="person">Ada &#34;A&#34; &#60;Berg&#62;</bdi>"#)
    );
    for reason in ["unknown_identity", "invalid_priority", "not_an_object"] {
        assert!(overview.text().contains(reason), "{reason}");
    }
    let ada = gateway.get_with("/employees/7", &browser).await;
    let ada = ada.text();
    assert!(
        ada.contains(
            "<title>Employee 7 (Ada &#34;A&#34; &#60;Berg&#62;) · incident-gateway</title>"
        )
    );
    assert!(ada.contains(
        r#"<a href="https://portal.example/1?a=1&#38;b=2" rel="noopener noreferrer nofollow"><bdi>&#60;img src=x onerror=alert(1)&#62;</bdi></a>"#
    ));
    for detail in ["<b>id</b> t/1", "<b>key.number</b> 1", "<b>severity</b> p1", "<b>host</b> LT-7"]
    {
        assert!(ada.contains(detail), "{detail}");
    }
    assert!(!ada.contains("<b>record</b>") && !ada.contains("<img"));
    let bo = gateway.get_with("/employees/x1", &browser).await;
    assert!(bo.text().contains("<p class=\"title\"><bdi>=1+1</bdi></p>"));
    assert!(bo.text().contains("<b>url</b> javascript:alert(1)"));
    assert!(!bo.text().contains("href=\"javascript"));
    assert!(bo.text().contains("<h1>Employee <span class=\"id\">x1</span></h1>"));
}

/// Reads until the words have come this often, and the event that they begin has ended.
async fn read_until(stream: &mut TcpStream, text: &mut String, words: &str, times: usize) {
    let wait = async {
        while text.matches(words).count() < times || !text.ends_with("\n\n") {
            let mut bytes = vec![0; 64 << 10];
            let length = stream.read(&mut bytes).await.unwrap();
            assert!(length > 0, "the stream ended: {text}");
            text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    };
    timeout(Duration::from_secs(30), wait).await.expect(words);
}

#[tokio::test]
async fn events_carry_the_envelope() {
    let (gateway, upstream) = gateway(&[BO]).await;
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    // The body of an answer to HTTP/1.0 has no chunks.
    stream.write_all(b"GET /events HTTP/1.0\r\nhost: test\r\n\r\n").await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "event: connected", 1).await;
    upstream.script("/alerts", Script::json(alerts(&[BO, ADA, NO_OBJECT])));
    read_until(&mut stream, &mut text, "event: incidents", 2).await;
    let ada = format!(
        r#"data: {{"type":"alerts","employee_id":"7","priority":"critical","incident":{{"type":"alerts","priority":"critical","timestamp":1772449200.230000,"id":"t/1","title":"<img src=x onerror=alert(1)>","url":"https://portal.example/1?a=1&b=2","record":{}}}}}"#,
        ADA.replace('\n', "")
    );
    assert!(text.contains(&ada), "{text}");
    assert!(text.contains(
        r#"data: {"type":"alerts","employee_id":null,"priority":null,"reason":"not_an_object","incident":{"type":"alerts","record":"t/6"}}"#
    ), "{text}");
}
