//! What the upstream is asked, with which headers, and what is made of a good answer, over real
//! sockets.

use std::collections::BTreeSet;

use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::one_source::{GOOD, OneSource, PATH, SECRET_ENCODED, one_source, settings};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream, gzip};
use incident_gateway::config::{self, Config};
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;
use incident_gateway::trace_context::TraceContext;
use incident_gateway::upstream::{CallContext, UpstreamMetrics, Upstreams};

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let (server, source) = one_source().await;
    let most = vec![b'x'; 64 << 10];
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
        &most[..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let packed = Reply { body: gzip(&most), ..Reply::json("") }.header("Content-Encoding", "gzip");
    for script in [Script::json(most.clone()), Script::Raw(chunked), packed.into()] {
        server.script(PATH, script);
        let fetched = source.call(CallContext::default()).await.unwrap();
        assert_eq!(fetched.body().len(), 64 << 10);
        let _ = fetched.accept();
    }
    for empty in
        [Script::json(""), Script::Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec())]
    {
        server.script(PATH, empty);
        assert_eq!(
            source.fetch().await.unwrap(),
            b"",
            "whether that will do is for the next stage to say"
        );
    }
}

#[tokio::test]
async fn compressed_bodies_are_requested_and_decoded() {
    let brotli = [
        0x1b, 0x8b, 0x01, 0xf8, 0x1d, 0x07, 0x76, 0x0c, 0xf9, 0x07, 0x71, 0x38, 0x68, 0x9e, 0x36,
        0xb5, 0xc8, 0xde, 0x56, 0xdf, 0x64, 0x7b, 0xbb, 0x6b, 0x16, 0x9d, 0xae, 0x3e, 0x5d, 0x89,
        0x26, 0xae, 0xf0, 0xa6, 0x44, 0xe8, 0x85, 0x88, 0xcb, 0x3f, 0x09, 0x69, 0xc3, 0x37,
    ];
    let plain = format!(r#"{{"results":[{}{{}}]}}"#, r#"{"priority":"low"},"#.repeat(20));
    let zstd = zstd::stream::encode_all(plain.as_bytes(), 3).unwrap();
    let (server, source) = one_source().await;
    for (coding, body) in
        [("gzip", gzip(plain.as_bytes())), ("br", brotli.to_vec()), ("zstd", zstd)]
    {
        server.script(PATH, Reply { body, ..Reply::json("") }.header("Content-Encoding", coding));
        assert_eq!(source.fetch().await.unwrap(), plain.as_bytes(), "{coding}");
    }
    let asked = server.seen()[0].header("accept-encoding").unwrap().to_owned();
    for coding in ["gzip", "br", "zstd"] {
        assert!(asked.split(',').any(|one| one.trim() == coding), "{asked}");
    }
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn credentials_go_to_the_base_url_and_nowhere_else() {
    let (server, source) = one_source().await;
    let elsewhere = ScriptedUpstream::start().await;
    let port = elsewhere.address().port();
    elsewhere.script("/stolen", Script::json(GOOD));
    let hosts = [
        (format!("http://localhost:{port}/stolen"), "another host"),
        (format!("//localhost:{port}/stolen"), "another host"),
        (format!("http://127.0.0.1:{port}/stolen"), "another scheme or port"),
        (format!("https://{}/stolen", server.address()), "another scheme or port"),
    ];
    for (to, says) in hosts {
        server.script(PATH, Script::Redirect(to.clone()));
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind, Outcome::Status, "{to}");
        assert!(
            error.detail.contains(says) && error.detail.contains("not followed"),
            "{to}: {error}"
        );
        server.script(PATH, Script::json(GOOD));
        source.fetch().await.unwrap();
    }
    assert_eq!(elsewhere.connections(), 0);

    for to in ["/moved/".to_owned(), format!("{}/moved/", server.base_url())] {
        server.script(PATH, Script::Redirect(to));
        server.script("/moved/", Script::json(GOOD));
        assert_eq!(
            source.fetch().await.unwrap(),
            GOOD.as_bytes(),
            "within its origin a redirect is followed"
        );
    }
    let expected = format!("Basic {SECRET_ENCODED}");
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == Some(&expected)));
}

#[tokio::test]
async fn a_redirect_loop_is_bounded() {
    let (server, source) = one_source().await;
    server.script(PATH, Script::redirect_loop(PATH));
    source.fetch().await.unwrap_err();
    assert_eq!(server.calls(PATH), 6, "the call and five redirects");
}

#[tokio::test]
async fn requests_carry_the_expected_headers() {
    let server = ScriptedUpstream::start().await;
    server.script("/api/v1/incidents/denial/", Script::json(GOOD));
    for base in ["/api/v1", "/api/v1/"] {
        let settings = config::Upstream {
            username: None,
            password: None,
            ..settings(&(server.base_url() + base))
        };
        assert_eq!(OneSource::new(&settings).fetch().await.unwrap(), GOOD.as_bytes(), "{base}");
    }
    for seen in server.seen() {
        assert_eq!(seen.method, "GET");
        assert_eq!(seen.header("authorization"), None, "none are configured");
        assert_eq!(
            seen.header("user-agent"),
            Some(concat!("incident-gateway/", env!("CARGO_PKG_VERSION")))
        );
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert!(
            seen.header("traceparent").and_then(TraceContext::parse).is_some(),
            "a trace of its own"
        );
        assert_eq!(seen.header("referer"), None);
    }
}

#[tokio::test]
async fn each_attempt_sends_the_trace_with_a_span_of_its_own() {
    let server = ScriptedUpstream::start().await;
    // Four calls earn the retry that the last of them needs.
    let good = || Script::json(GOOD);
    server.script_each(PATH, [good(), good(), good(), Script::status(503), good()]);
    let source = OneSource::new(&config::Upstream { retries: 2, ..settings(&server.base_url()) });
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let caller = CallContext { trace: TraceContext::parse(parent), ..CallContext::default() };
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let fetched = source.call(caller.clone()).await.unwrap();
        attempts.push(fetched.attempts());
        let _ = fetched.accept();
    }
    assert_eq!(attempts, [1, 1, 1, 2]);
    let sent: Vec<_> =
        server.seen().iter().map(|seen| seen.header("traceparent").unwrap().to_owned()).collect();
    assert!(sent.iter().all(|sent| TraceContext::parse(sent) == caller.trace), "{sent:?}");
    let spans: BTreeSet<_> = sent.iter().map(String::as_str).chain([parent]).collect();
    assert_eq!(spans.len(), 6, "five tries and the caller: {spans:?}");
}

#[tokio::test]
async fn a_path_outside_the_base_url_is_refused() {
    for path in ["", "incidents/", "@elsewhere.example/"] {
        let sources = vec![config::Source::plain("denial", path, &["ip"])];
        let config =
            Config { upstream: settings("http://127.0.0.1:1"), sources, ..Config::default() };
        let metrics = UpstreamMetrics::register(&mut metrics::registry());
        let error = Upstreams::new(&config, &metrics, 1).unwrap_err().to_string();
        assert!(error.contains("source denial: path"), "{error}");
    }
}

#[tokio::test]
async fn unusual_but_unambiguous_header_fields_are_accepted() {
    let field = |i: usize, length| format!("X-Field-{i}: {}\r\n", "x".repeat(length));
    let many = |count| (0..count).fold(String::new(), |fields, i| fields + &field(i, 5));
    let long = (0..30).fold(String::new(), |fields, i| fields + &field(i, 10_000));
    let fields: [(&str, String); 8] = [
        ("a folded field", "X-Folded: one\r\n two\r\n\tthree\r\n".to_owned()),
        ("a folded last field", "X-Folded:\r\n one\r\n".to_owned()),
        ("101 fields", many(101)),
        ("500 fields", many(500)),
        ("4,000 fields", many(4000)),
        ("300 kB of fields", long),
        ("a space before the colon", "X-Spaced : value\r\n".to_owned()),
        ("names in any case", "cONTENT-tYPE: APPLICATION/json; CHARSET=utf-8\r\n".to_owned()),
    ];
    let (server, source) = one_source().await;
    for (name, fields) in fields {
        let length = GOOD.len();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{GOOD}");
        server.script(PATH, Script::Raw(head.into_bytes()));
        assert_eq!(source.fetch().await.expect(name), GOOD.as_bytes(), "{name}");
    }
}

#[tokio::test]
async fn content_codings_compare_without_case_and_may_be_lists() {
    let (server, source) = one_source().await;
    let plain = || GOOD.as_bytes().to_vec();
    let twice = gzip(&gzip(GOOD.as_bytes()));
    let (head, tail) = GOOD.as_bytes().split_at(9);
    let members = [gzip(head), gzip(tail)].concat();
    let cases: [(&str, Vec<u8>); 9] = [
        ("GZIP", gzip(GOOD.as_bytes())),
        ("x-gzip", gzip(GOOD.as_bytes())),
        ("gzip, identity", gzip(GOOD.as_bytes())),
        ("gzip, GZip", twice),
        ("gzip", members),
        ("ZSTD", zstd::stream::encode_all(GOOD.as_bytes(), 3).unwrap()),
        ("", plain()),
        ("identity", plain()),
        ("Identity", plain()),
    ];
    for (coding, body) in cases {
        let reply = Reply { body, ..Reply::json("") }.header("Content-Encoding", coding);
        server.script(PATH, reply);
        assert_eq!(source.fetch().await.expect(coding), GOOD.as_bytes(), "{coding:?}");
    }
    for (coding, body) in [
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(GOOD.as_bytes())))),
        ("gzip", [gzip(GOOD.as_bytes()), b"x".to_vec()].concat()),
        ("gzip", plain()),
        ("deflate", plain()),
    ] {
        let reply = Reply { body, ..Reply::json("") }.header("Content-Encoding", coding);
        server.script(PATH, reply);
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind, Outcome::Decode, "{coding:?}");
    }
}

#[tokio::test]
async fn a_callers_trace_is_not_used_by_the_refresh() {
    let server = good_upstream().await;
    let gateway = Gateway::start(&quick(&server.base_url()));
    gateway.wait_until("complete", |sources| sources["completeness"] == "complete").await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-ff");
    let answer = gateway.get_with("/incidents", &[("traceparent", &traceparent)]).await;
    let returned = answer.header("traceparent");
    assert!(returned.contains(trace_id) && returned.ends_with("-03"), "{returned}");

    let calls = server.seen().len();
    gateway.wait_until("refreshed", |_| server.seen().len() >= calls + 16).await;
    let seen = server.seen().split_off(calls);
    let trace = |i: usize| TraceContext::parse(seen[i].header("traceparent").unwrap()).unwrap();
    let traces: BTreeSet<_> = (0..16).map(|i| trace(i).trace_id().as_u128()).collect();
    assert!(!traces.iter().any(|trace| format!("{trace:032x}") == trace_id));
    assert!(traces.len() <= 3, "one trace for each refresh: {traces:?}");
}
