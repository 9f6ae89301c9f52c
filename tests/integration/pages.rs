//! Lists of many pages, against a scripted upstream over real sockets.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::mapped_gateway::{ids, source, start};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

/// The source `api`, whose list is read in this way.
fn api(list: &str) -> String {
    format!(
        "sources:\n  - {{ name: api, upstream: api, path: /list, {list},\n      id: id, priority: \
         {{ default: low }}, timestamp: at, identity: {{ at: who, as: employee_id }} }}\n"
    )
}

fn records(numbers: &[u32]) -> String {
    let mut text = String::new();
    for number in numbers {
        let comma = if text.is_empty() { "" } else { "," };
        write!(
            text,
            "{comma}{{\"id\":\"r{number}\",\"who\":\"ada\",\"at\":{}}}",
            1_772_000_000 + number
        )
        .unwrap();
    }
    text
}

/// A page with these records and further members.
fn page(numbers: &[u32], members: &str) -> Script {
    Script::json(format!(r#"{{"results":[{}]{members}}}"#, records(numbers)))
}

fn linked(numbers: &[u32], next: &str) -> Script {
    let body = format!(r#"{{"results":[{}]}}"#, records(numbers));
    Reply::json(body).header("Link", &format!("<{next}>; rel=\"next\"")).into()
}

async fn all_come(gateway: &Gateway, pages: usize) {
    gateway.wait_until_complete("all pages").await;
    assert_eq!(ids(gateway).await, ["r1", "r2", "r3"]);
    let sources = gateway.get("/sources").await.json();
    assert_eq!(source(&sources, "api")["pages"], pages, "{sources:#}");
    assert_eq!(source(&sources, "api")["records"], 3);
    assert_eq!(source(&sources, "api")["truncated"], false);
}

/// What was asked for first, as method, path and body.
fn asked(server: &ScriptedUpstream, first: usize) -> Vec<String> {
    let request = |seen: &crate::support::scripted_upstream::Seen| {
        format!("{} {} {}", seen.method, seen.path, seen.body).trim_end().to_owned()
    };
    server.seen().iter().take(first).map(request).collect()
}

#[tokio::test]
async fn every_kind_of_page_is_followed_to_its_end() {
    for (list, pages) in [
        (
            "next: link",
            vec![
                ("/list", linked(&[1], "/list?after=a")),
                ("/list?after=a", linked(&[2, 3], "/elsewhere")),
                ("/elsewhere", linked(&[], "/elsewhere")),
            ],
        ),
        (
            "next: { url: /paging/next }",
            vec![
                ("/list", page(&[1], r#","paging":{"next":"?p=2"}"#)),
                ("/list?p=2", page(&[], r#","paging":{"next":"/list?p=3"}"#)),
                ("/list?p=3", page(&[2, 3], r#","paging":{"next":null}"#)),
            ],
        ),
        (
            "next: { cursor: /meta/after, query: cursor }, query: { limit: 2 }",
            vec![
                ("/list?limit=2", page(&[1], r#","meta":{"after":"x/y="}"#)),
                ("/list?limit=2&cursor=x%2Fy%3D", page(&[2], r#","meta":{"after":[1.0,"b"]}"#)),
                ("/list?limit=2&cursor=%5B1.0%2C%22b%22%5D", page(&[3], r#","meta":{}"#)),
            ],
        ),
        (
            "next: { offset: skip, size: 2 }",
            vec![("/list?skip=0", page(&[1, 2], "")), ("/list?skip=2", page(&[3], ""))],
        ),
        (
            "next: { offset: skip, size: 2, more: /more }",
            vec![
                ("/list?skip=0", page(&[1], r#","more":true"#)),
                ("/list?skip=1", page(&[2, 3], r#","more":true"#)),
                ("/list?skip=3", page(&[], r#","more":true"#)),
            ],
        ),
        (
            "next: { page: page }",
            vec![
                ("/list?page=1", page(&[1, 2], "")),
                ("/list?page=2", page(&[3], "")),
                ("/list?page=3", page(&[], "")),
            ],
        ),
    ] {
        let server = ScriptedUpstream::start().await;
        for (path, script) in &pages {
            server.script(path, script.clone());
        }
        let gateway = start(&server, &api(list));
        all_come(&gateway, pages.len()).await;
        let expected: Vec<_> = pages.iter().map(|(path, _)| format!("GET {path}")).collect();
        assert_eq!(asked(&server, pages.len()), expected, "one page after the other");
    }
}

#[tokio::test]
async fn a_plain_source_may_have_pages_too() {
    let server = ScriptedUpstream::start().await;
    let record = |number: u32| {
        format!(r#"{{"priority":"low","who":{number},"timestamp":{number}.50,"note":"\u00e5"}}"#)
    };
    let page = |number: u32, next: &str| {
        Script::json(format!(r#" {{"next":{next},"count":9,"results":[ {} ]}} "#, record(number)))
    };
    let next = format!("\"{}/plain?p=2\"", server.base_url());
    server.script("/plain", page(1, &next));
    server.script("/plain?p=2", page(2, "null"));
    let source_of =
        "sources:\n  - { name: plain, upstream: api, path: /plain, identity: who, next: {";
    let gateway = start(&server, &format!("{source_of} url: /next }} }}\n"));
    gateway.wait_until_complete("both pages").await;
    let document = gateway.get("/incidents").await;
    for number in [1, 2] {
        let incident = format!("{{\"type\":\"plain\",{}", &record(number)[1..]);
        assert!(document.text().contains(&incident), "{incident} in {}", document.text());
    }
    let sources = gateway.get("/sources").await.json();
    let plain = source(&sources, "plain");
    assert_eq!((&plain["pages"], &plain["truncated"]), (&json!(2), &json!(false)), "{plain:#}");
}

#[tokio::test]
async fn pages_of_a_post_request_are_asked_for_in_its_body() {
    let server = ScriptedUpstream::start().await;
    server.script_each("/list", [page(&[1, 2], ""), page(&[3], "")]);
    let gateway = start(
        &server,
        &api(
            "body: { filter: { from: 0 }, sort: [a] }, every: 1h, next: { offset: /request/from, \
              size: 2, end: /request/to }",
        ),
    );
    all_come(&gateway, 2).await;
    assert_eq!(
        asked(&server, 2),
        [
            r#"POST /list {"filter":{"from":0},"sort":["a"],"request":{"from":0,"to":2}}"#,
            r#"POST /list {"filter":{"from":0},"sort":["a"],"request":{"from":2,"to":4}}"#
        ]
    );
    assert_eq!(server.seen()[0].header("content-type"), Some("application/json"));

    let server = ScriptedUpstream::start().await;
    server.script_each("/list", [page(&[1, 2], r#","next":7"#), page(&[3], "")]);
    let gateway =
        start(&server, &api("form: { search: a b }, every: 1h, next: { cursor: next, form: at }"));
    all_come(&gateway, 2).await;
    assert_eq!(asked(&server, 2), ["POST /list search=a%20b", "POST /list search=a%20b&at=7"]);
    let content_type = server.seen()[0].header("content-type").map(str::to_owned);
    assert_eq!(content_type.as_deref(), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn times_are_the_same_for_all_pages() {
    let server = ScriptedUpstream::start().await;
    server.script_each("/list", [page(&[1], r#","next":1"#), page(&[2, 3], "")]);
    let list = r#"body: { from: "{since:unix}", to: "{now:unix}", at: "{now}" }, window: 2h,
        every: 1h, next: { cursor: next, body: /cursor }"#;
    let gateway = start(&server, &api(list));
    all_come(&gateway, 2).await;
    let bodies: Vec<Value> =
        server.seen().iter().map(|seen| serde_json::from_str(&seen.body).unwrap()).collect();
    for member in ["from", "to", "at"] {
        assert_eq!(bodies[0][member], bodies[1][member]);
    }
    let (from, to) = (bodies[0]["from"].as_i64().unwrap(), bodies[0]["to"].as_i64().unwrap());
    assert_eq!(to - from, 7200);
    let at: jiff::Timestamp = bodies[0]["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(at.as_second(), to);
    let age = jiff::Timestamp::now().as_second() - to;
    assert!((0..60).contains(&age), "{age}");
}

/// A page of a list of three, of which the first is wide.
fn good(path: &str) -> Script {
    match path {
        "/list" => {
            let wide = "x".repeat(30 << 10);
            Reply::json(format!(r#"{{"results":[{}],"wide":"{wide}"}}"#, records(&[1])))
                .header("Link", "</list?p=2>; rel=\"next\"")
                .into()
        }
        "/list?p=2" => linked(&[2], "/list?p=3"),
        _ => page(&[3], ""),
    }
}

#[derive(Clone)]
struct Fault {
    name: &'static str,
    outcome: &'static str,
    script: Script,
}

fn faults() -> Vec<Fault> {
    let fault = |name, outcome, script| Fault { name, outcome, script };
    let answer = || b"{\"results\":[]}".to_vec();
    let wide = format!(r#","wide":"{}""#, "x".repeat(40 << 10));
    vec![
        fault("a status", "status", Script::status(500)),
        fault("an end", "body", Script::Close),
        fault("a reset", "body", Script::ResetInBody(answer())),
        fault("a cut", "body", Script::CutOff(answer())),
        fault("no JSON", "decode", Script::json("{\"results\":[")),
        fault("no list", "answer", Script::json(r#"{"results":{}}"#)),
        fault("an error", "answer", page(&[9], r#","errors":["no"]"#)),
        fault("another host", "pages", linked(&[9], "http://127.0.0.2/list?p=3")),
        fault("user information", "pages", linked(&[9], "http://me@127.0.0.1/list?p=3")),
        fault("too many pages", "pages", linked(&[9], "/more?p=4")),
        fault("too much in all", "too_large", page(&[9], &wide)),
    ]
}

/// The source fails at this page and recovers, and keeps its last good data all the while.
async fn fail_and_recover(fault: Fault, failing: &str) {
    let Fault { name, outcome, script } = fault;
    let server = ScriptedUpstream::start().await;
    for path in ["/list", "/list?p=2", "/list?p=3"] {
        server.script(path, good(path));
    }
    for number in 4..=9 {
        let next = linked(&[number], &format!("/more?p={}", number + 1));
        server.script(&format!("/more?p={number}"), next);
    }
    let list = "next: link, max_pages: 5, every: 300ms, fail_if: [ /errors ]";
    let gateway = start(&server, &api(list));
    all_come(&gateway, 3).await;
    let before = gateway.get("/incidents").await.body;
    server.script(failing, script);
    let what = format!("{name} at {failing}");
    let expected = format!("{outcome}: ");
    let sources = gateway
        .wait_until(&what, |sources| {
            let error = source(sources, "api")["last_error"].as_str().unwrap_or_default();
            error.starts_with(&expected)
        })
        .await;
    let api = source(&sources, "api");
    assert_eq!((&api["state"], &api["records"]), (&json!("stale"), &json!(3)), "{what}");
    assert_eq!(gateway.get("/incidents").await.body, before, "{what}");
    let error = api["last_error"].as_str().unwrap();
    assert!(!error.contains("127.0.0.2") && !error.contains("me@"), "{error}");
    server.script(failing, good(failing));
    gateway.wait_until_complete(&what).await;
    assert_eq!(gateway.get("/incidents").await.body, before, "{what}");
}

#[tokio::test]
async fn a_list_comes_whole_or_not_at_all() {
    let pages = ["/list", "/list?p=2", "/list?p=3"];
    let cases = faults().into_iter().flat_map(|fault| pages.map(|page| (fault.clone(), page)));
    // Alone the first page is not too large.
    let cases = cases.filter(|(fault, page)| fault.outcome != "too_large" || *page != "/list");
    let tests: Vec<_> = cases.map(|(fault, page)| fail_and_recover(fault, page)).collect();
    stream::iter(tests).buffer_unordered(8).collect::<()>().await;
}

#[tokio::test]
async fn a_wait_in_the_middle_of_a_list_is_waited_out() {
    let server = ScriptedUpstream::start().await;
    server.script("/list", linked(&[1], "/list?p=2"));
    let busy = Reply::json("{}").header("Retry-After", "1");
    server.script_each("/list?p=2", [Reply { status: 429, ..busy }.into(), page(&[2, 3], "")]);
    let gateway = start(&server, &api("next: link, every: 1h"));
    all_come(&gateway, 2).await;
    assert_eq!(server.calls("/list"), 1, "the pages that came are not asked for again");
    assert_eq!(server.calls("/list?p=2"), 2);
}

#[tokio::test]
async fn an_upstream_that_keeps_asking_for_no_wait_is_not_called_without_pauses() {
    let server = ScriptedUpstream::start().await;
    server.script("/list", linked(&[1], "/list?p=2"));
    let busy = Reply { status: 429, ..Reply::json("{}") }.header("Retry-After", "0");
    let refusals = std::iter::repeat_n(Script::from(busy), 6);
    server.script_each("/list?p=2", refusals.chain([page(&[2, 3], "")]));
    let began = Instant::now();
    let gateway = start(&server, &api("next: link, every: 1h"));
    all_come(&gateway, 2).await;
    assert_eq!((server.calls("/list"), server.calls("/list?p=2")), (1, 7));
    assert!(began.elapsed() >= Duration::from_secs(2), "a pause after every third refusal");
}

#[tokio::test]
async fn an_unchanged_list_of_one_page_is_not_sent_again() {
    for (validator, value, asks) in [
        ("ETag", "W/\"v1\"", "if-none-match"),
        ("Last-Modified", "Sun, 01 Mar 2026 08:49:37 GMT", "if-modified-since"),
    ] {
        let server = ScriptedUpstream::start().await;
        let body = format!(r#"{{"results":[{}]}}"#, records(&[1, 2, 3]));
        let reply = Reply::json(body).header(validator, value);
        let unchanged = Reply { status: 304, ..Reply::json("") };
        server.script_each("/list", [reply.into(), unchanged.into()]);
        let gateway = start(&server, &api("every: 300ms"));
        all_come(&gateway, 1).await;
        gateway.wait_until("asked thrice", |_| server.calls("/list") >= 3).await;
        all_come(&gateway, 1).await;
        let seen = server.seen();
        assert_eq!(seen[0].header(asks), None);
        assert!(seen[1..].iter().all(|seen| seen.header(asks) == Some(value)), "{seen:?}");
        let sources = gateway.get("/sources").await.json();
        let age = source(&sources, "api")["age_seconds"].as_f64().unwrap();
        assert!(age < 2.0 && source(&sources, "api")["state"] == "fresh", "{sources:#}");
        server.script("/list", page(&[1, 2, 3, 4], ""));
        gateway.wait_until("changed", |sources| source(sources, "api")["records"] == 4).await;
        assert_eq!(ids(&gateway).await, ["r1", "r2", "r3", "r4"]);
        let calls = server.seen().len();
        gateway.wait_until("again", |_| server.seen().len() > calls + 1).await;
        let last = server.seen().pop().unwrap();
        assert_eq!(last.header(asks), None, "the last answer had no validator");
    }
}

#[tokio::test]
async fn a_table_is_read_page_by_page() {
    let server = ScriptedUpstream::start().await;
    let user = |id: u32, mail: &str| format!(r#"{{"id":{id},"mail":"{mail}"}}"#);
    let users = |users: &[String], next: &str| {
        Script::json(format!(r#"{{"value":[{}],"next":{next}}}"#, users.join(",")))
    };
    server.script("/users", users(&[user(7, "Ada@example.test")], "\"/users?p=2\""));
    server.script(
        "/users?p=2",
        users(&[user(8, "bob@example.test"), user(9, "ada@example.test")], "null"),
    );
    let record = |id: &str, who: &str| format!(r#"{{"id":"{id}","who":"{who}","at":1772000001}}"#);
    let list = [record("a", "ada@example.test"), record("b", "BOB@example.test")].join(",");
    server.script("/list", Script::json(format!(r#"{{"results":[{list}]}}"#)));
    let gateway = start(
        &server,
        "sources:\n  - { name: api, upstream: api, path: /list, id: id, priority: { default: low \
         },\n      timestamp: at, identity: { at: who, as: email } }\nidentities:\n  - { upstream: \
         api, path: /users, records: /value, next: { url: /next }, employee: id, email: mail }\n",
    );
    gateway.wait_until_complete("both").await;
    let document = gateway.get("/incidents").await.json();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["7", "8"]);
    let sources = gateway.get("/sources").await.json();
    let table = source(&sources, "identities");
    assert_eq!((&table["pages"], &table["conflicts"]), (&json!(2), &json!(1)), "{table:#}");
    assert_eq!(table["records"], 3);
}

#[tokio::test]
async fn an_answer_is_fresh_until_its_first_source_is_due() {
    let server = ScriptedUpstream::start().await;
    server.script("/list", page(&[1, 2, 3], ""));
    server.script("/other", page(&[], ""));
    let other = "  - { name: other, upstream: api, path: /other, identity: who, every: 20s }\n";
    let gateway = start(&server, &(api("every: 5m") + other));
    all_come(&gateway, 1).await;
    let answer = gateway.get("/incidents").await;
    let ttl: u64 = answer.header("cache-status").rsplit_once("ttl=").unwrap().1.parse().unwrap();
    assert!((10..=20).contains(&ttl), "{ttl}");
    assert!(
        answer.header("cache-control").contains("stale-while-revalidate=20, "),
        "{}",
        answer.header("cache-control")
    );
}
