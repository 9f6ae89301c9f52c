//! The waits that answers ask for, by each of the header fields, over real sockets.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use incident_gateway::config::{
    self, Concurrency, Config, HttpOrigin, NamedUpstream, Origin, Rate, Source,
};
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;
use incident_gateway::request::Request;
use incident_gateway::sources::SourceId;
use incident_gateway::upstream::{CallContext, UpstreamError, UpstreamMetrics, Upstreams};

use serde_json::Value;

use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::one_source::{GOOD, OneSource, PATH, settings};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

/// 2 March 2026, 11:00:00 GMT.
const DATE: &str = "Mon, 02 Mar 2026 11:00:00 GMT";
const DATE_SECONDS: u64 = 1_772_449_200;

fn refusal(status: u16, fields: &[(&str, &str)]) -> Script {
    let reply = Reply { status, ..Reply::json("{}") };
    fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value)).into()
}

async fn asked(status: u16, fields: &[(&str, &str)]) -> (UpstreamError, OneSource) {
    let server = ScriptedUpstream::start().await;
    server.script(PATH, refusal(status, fields));
    let source = OneSource::new(&settings(&server.base_url()));
    (source.fetch().await.unwrap_err(), source)
}

#[tokio::test]
async fn each_header_field_is_obeyed() {
    let epoch = (DATE_SECONDS + 90).to_string();
    let cases: [(&[(&str, &str)], u64); 11] = [
        (&[("Retry-After", "90")], 90),
        (&[("Retry-After", "Mon, 02 Mar 2026 11:01:30 GMT")], 90),
        (&[("Retry-After", "86400")], 3600),
        (&[("RateLimit-Reset", "90")], 90),
        (&[("RateLimit-Reset", &epoch)], 90),
        (&[("X-RateLimit-Reset", "90")], 90),
        (&[("X-RateLimit-Reset", &epoch)], 90),
        (&[("X-Rate-Limit-Reset", "90")], 90),
        (&[("X-Rate-Limit-Reset", &epoch)], 90),
        (&[("X-RateLimit-Reset", "7"), ("Retry-After", "90")], 90),
        (&[("x-rate-limit-reset", "7"), ("ratelimit-reset", "90")], 90),
    ];
    for (fields, seconds) in cases {
        for (status, kind) in [(429, Outcome::RateLimited), (503, Outcome::Status)] {
            let fields: Vec<_> = fields.iter().copied().chain([("Date", DATE)]).collect();
            let (error, source) = asked(status, &fields).await;
            let expected = Some(Duration::from_secs(seconds));
            assert_eq!((error.kind, error.retry_after), (kind, expected), "{fields:?}");
            assert!(source.upstream.waits_until().is_some(), "{fields:?}");
        }
    }
}

#[tokio::test]
async fn without_a_date_a_time_is_compared_with_the_clock() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (error, _) = asked(429, &[("X-Rate-Limit-Reset", &(now + 90).to_string())]).await;
    let wait = error.retry_after.unwrap();
    assert!(wait > Duration::from_secs(80) && wait <= Duration::from_secs(90), "{wait:?}");
}

#[tokio::test]
async fn redirects_and_repeated_requests_take_a_turn_that_the_deadline_leaves_out() {
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&config::Upstream {
        rate: Some(Rate { requests: 4, per: Duration::from_secs(1) }),
        timeout: Duration::from_millis(600),
        ..settings(&server.base_url())
    });
    server.script(PATH, Script::Redirect("/2".to_owned()));
    server.script("/2", Script::Redirect("/3".to_owned()));
    server.script_each("/3", [Script::json(GOOD), Script::Close, Script::json(GOOD)]);
    let started = Instant::now();
    for _ in 0..2 {
        source.fetch().await.unwrap();
    }
    assert_eq!(server.seen().len(), 7);
    assert!(started.elapsed() >= Duration::from_millis(6 * 250), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_redirect_does_not_wait_behind_calls_that_wait_for_its_permit() {
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&config::Upstream {
        rate: Some(Rate { requests: 20, per: Duration::from_secs(1) }),
        concurrency: Concurrency::Fixed(1),
        ..settings(&server.base_url())
    });
    server.script(PATH, Script::Redirect("/2".to_owned()));
    server.script("/2", Script::json(GOOD));
    let results = join_all((0..3).map(|_| source.fetch())).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((server.seen().len(), server.most_in_flight()), (6, 1));
}

#[tokio::test]
async fn no_other_answer_and_no_other_field_asks_for_a_wait() {
    for (status, fields) in [
        (429, vec![]),
        (429, vec![("Retry-After", "soon"), ("X-Wait", "90")]),
        (500, vec![("Retry-After", "90")]),
        (403, vec![("X-RateLimit-Reset", "90")]),
    ] {
        let (error, source) = asked(status, &fields).await;
        assert_eq!(error.retry_after, None, "{status} {fields:?}");
        assert_eq!(source.upstream.waits_until(), None, "{status} {fields:?}");
    }
}

#[tokio::test]
async fn the_wait_of_an_upstream_is_shown_by_each_of_its_sources_and_by_no_other() {
    let (server, other) = (good_upstream().await, ScriptedUpstream::start().await);
    server.script(PATH, refusal(429, &[("Retry-After", "120")]));
    other.script("/extra", Script::json(GOOD));
    let mut config = quick(&server.base_url());
    config.upstreams.push(named("okta", &other));
    config.sources.push(source("extra", "okta"));
    let gateway = Gateway::start(&config);
    let in_seconds = |source: &Value| -> Option<i64> {
        let next: jiff::Timestamp = source["next_attempt"].as_str()?.parse().unwrap();
        Some(next.duration_since(jiff::Timestamp::now()).as_secs())
    };
    let waits = |source: &Value| in_seconds(source).is_some_and(|seconds| seconds > 100);
    let sources = gateway
        .wait_until("all wait", |sources| {
            let sources = sources["sources"].as_array().unwrap();
            sources.iter().all(|source| source["name"] == "extra" || waits(source))
        })
        .await;
    let find = |name: &str| {
        let sources = sources["sources"].as_array().unwrap();
        sources.iter().find(|source| source["name"] == name).unwrap().clone()
    };
    assert_eq!(
        find("denial")["last_error"],
        "rate_limited: the upstream asks for fewer calls (429)"
    );
    assert_eq!(find("probing")["last_error"], Value::Null);
    assert!(!waits(&find("extra")));
    let (called, extra) = (server.seen().len(), other.calls("/extra"));
    gateway.wait_until("extra is called on", |_| other.calls("/extra") >= extra + 3).await;
    assert_eq!(server.seen().len(), called);
}

fn named(name: &str, server: &ScriptedUpstream) -> NamedUpstream {
    let own = config::Upstream { username: None, password: None, ..settings(&server.base_url()) };
    NamedUpstream { name: name.to_owned(), settings: own }
}

fn source(name: &str, upstream: &str) -> Source {
    let path = format!("/{name}");
    let origin = HttpOrigin { upstream: upstream.to_owned(), ..HttpOrigin::endpoint(&path) };
    Source { origin: Origin::Http(origin), ..Source::plain(name, &path, &["ip"]) }
}

#[tokio::test]
async fn a_wait_holds_for_the_sources_of_its_upstream_alone() {
    let (okta, graph) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    for path in ["/a", "/b", "/c"] {
        okta.script(path, refusal(429, &[("Retry-After", "90")]));
        graph.script(path, Script::json(GOOD));
    }
    let config = Config {
        upstreams: vec![named("okta", &okta), named("graph", &graph)],
        identities: Vec::new(),
        sources: vec![source("a", "okta"), source("b", "okta"), source("c", "graph")],
        ..Config::default()
    };
    let mut registry = metrics::registry();
    let metrics = UpstreamMetrics::register(&mut registry);
    let upstreams = Upstreams::new(&config, &metrics, 1).unwrap();
    let fetch = async |index: usize| {
        let id = SourceId::Incidents(index);
        let url = upstreams.base_url(id).join(&config.sources[index].name).unwrap();
        let answer = upstreams.fetch(id, Request::get(url), CallContext::default()).await?;
        Ok::<_, UpstreamError>(answer.accept())
    };
    let waits = |index| upstreams.waits_until(SourceId::Incidents(index)).is_some();
    assert_eq!(fetch(0).await.unwrap_err().status.unwrap().as_u16(), 429);
    assert_eq!((waits(0), waits(1), waits(2)), (true, true, false));
    assert_eq!(fetch(1).await.unwrap_err().status, None, "it was not called");
    assert_eq!((okta.calls("/a"), okta.calls("/b")), (1, 0));
    assert_eq!(fetch(2).await.unwrap(), GOOD);
    // The default upstream is not used.
    let page = incident_gateway::metrics::encode(&registry);
    for (upstream, is_shown) in [("okta", true), ("graph", true), ("default", false)] {
        let series = format!("incident_gateway_upstream_in_flight{{upstream=\"{upstream}\"}} 0");
        assert_eq!(page.contains(&series), is_shown, "{page}");
    }
    assert_eq!(upstreams.load().limit, 16);
}
