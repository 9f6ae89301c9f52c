//! Every fault × every source (identities included) × cold and warm, against whole gateways over
//! real sockets.
//!
//! Each pair of fault and source has a gateway and an upstream of its own. The source fails from
//! the start (cold), is mended, fails again (warm) and is mended again; the other sources answer
//! well all the time.

use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::{GOOD, Gateway, document, good_upstream, path, quick};
use crate::support::scripted_upstream::{AcceptMode, Reply, Script, ScriptedUpstream};
use futures::future;
use futures::stream::{self, StreamExt as _};
use incident_gateway::config::{Config, Upstream};
use serde_json::Value;

/// How many gateways run at once whose faults show immediately. Few, so that a busy machine delays
/// none of them beyond a deadline.
const MAX_BUSY_GATEWAYS: usize = 8;

/// How many gateways run at once whose faults show by a timeout: all of them, since they mostly
/// wait.
const MAX_WAITING_GATEWAYS: usize = 64;

/// The timeout of calls that are meant to run into it. Far above what a good answer takes even on a
/// busy machine.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// A body that a fault replaces or breaks, and where it is served.
pub(crate) struct Target<'a> {
    pub path: &'a str,
    pub good: &'a str,
    /// Whether it is the identity table.
    pub is_table: bool,
}

#[derive(Clone)]
pub(crate) struct Fault {
    pub name: &'static str,
    pub outcome: &'static str,
    pub script: Arc<dyn Fn(&Target<'_>) -> Script + Send + Sync>,
}

fn faults(elsewhere: &str) -> Vec<Fault> {
    fn fault(
        name: &'static str,
        outcome: &'static str,
        script: impl Fn(&Target<'_>) -> Script + Send + Sync + 'static,
    ) -> Fault {
        Fault { name, outcome, script: Arc::new(script) }
    }
    fn good(target: &Target<'_>) -> Vec<u8> {
        target.good.as_bytes().to_vec()
    }
    fn half(target: &Target<'_>) -> Vec<u8> {
        good(target)[..target.good.len() / 2].to_vec()
    }
    let elsewhere = elsewhere.to_owned();
    let mut faults = vec![
        fault("closes", "body", |_| Script::Close),
        fault("resets before headers", "body", |_| Script::ResetBeforeHeaders),
        fault("resets in headers", "body", |_| Script::ResetInHeaders),
        fault("resets in body", "body", |target| Script::ResetInBody(good(target))),
        fault("hangs before headers", "timeout", |_| Script::HangBeforeHeaders),
        fault("hangs in headers", "timeout", |_| Script::HangInHeaders),
        fault("hangs in body", "timeout", |target| Script::HangInBody(good(target))),
        fault("drips", "timeout", |target| Script::Drip {
            body: good(target),
            every: CALL_TIMEOUT / 20,
        }),
        fault("cut off", "body", |target| Script::CutOff(good(target))),
        fault("cut off in a chunk", "body", |target| Script::CutOffInChunk(good(target))),
        fault("wrong length", "decode", |target| Script::TooLong {
            body: good(target),
            announced: good(target).len() / 2,
        }),
        fault("no HTTP", "body", |_| Script::Raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec())),
        fault("too large", "too_large", |_| Script::json(vec![b' '; 100 << 10])),
        fault("announces too much", "too_large", |_| Script::Announce(1 << 60)),
        fault("endless", "too_large", |_| Script::Endless),
        fault("gzip bomb", "too_large", |_| Script::GzipBomb(8 << 20)),
        fault("zstd bomb", "too_large", |_| Script::ZstdBomb(8 << 20)),
        fault("bad gzip", "decode", |_| Script::BadGzip),
        fault("cut off gzip", "decode", |target| Script::CutOffGzip(good(target))),
        fault("redirect loop", "status", |target| Script::redirect_loop(target.path)),
        fault("redirect elsewhere", "status", move |target| {
            Script::Redirect(format!("{elsewhere}{}", target.path))
        }),
        fault("empty", "decode", |_| Script::json("")),
        fault("half of the JSON", "decode", |target| Script::json(half(target))),
        fault("more than the JSON", "decode", |target| {
            Script::json([&good(target)[..], b"]"].concat())
        }),
        fault("trailing comma", "decode", |target| {
            let body = String::from_utf8(good(target)).unwrap();
            Script::json(format!("{},}}", &body[..body.len() - 1]))
        }),
        fault("array", "decode", |_| Script::json("[]")),
        fault("null", "decode", |_| Script::json("null")),
        fault("an error that says 200", "decode", |_| {
            Script::json(r#"{"detail":"down for maintenance"}"#)
        }),
        fault("results that are an object", "decode", |_| {
            Script::json(r#"{"results":{"17.0.0.1":1}}"#)
        }),
        fault("invalid UTF-8", "decode", |target| {
            let mut body = good(target);
            let quote = body.iter().position(|byte| *byte == b'"').unwrap();
            body[quote + 1] = 0xff;
            Script::json(body)
        }),
        fault("nests 10,000 deep", "decode", |target| {
            let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
            Script::json(if target.is_table {
                format!(r#"{{"17.0.0.1":{deep}}}"#)
            } else {
                format!(r#"{{"results":[{deep}]}}"#)
            })
        }),
        fault("HTML that says 200", "decode", |_| {
            Reply::json("<!doctype html><title>Sign in</title>")
                .header("X-Content-Type", "text/html")
                .into()
        }),
    ];
    for status in [204, 206, 304, 401, 403, 404, 429, 500, 502, 503] {
        faults.push(fault(format!("{status}").leak(), "status", move |_| Script::status(status)));
    }
    faults
}

fn settings(server: &ScriptedUpstream, fault: &Fault) -> Config {
    let quick = quick(&server.base_url());
    let timeout = if fault.outcome == "timeout" { CALL_TIMEOUT } else { quick.upstream.timeout };
    Config { upstream: Upstream { timeout, ..quick.upstream }, ..quick }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_reaches_beyond_its_source_or_outlasts_its_cause() {
    play_all(GOOD.len(), play).await;
}

/// Plays each fault at each of the places `0..places`. A fault may redirect to an upstream of
/// another origin, which must not be called.
pub(crate) async fn play_all<F>(places: usize, play: impl Fn(Fault, usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let elsewhere = good_upstream().await;
    let pairs = faults(&elsewhere.base_url())
        .into_iter()
        .flat_map(|fault| (0..places).map(move |place| (fault.clone(), place)));
    let (waiting, busy): (Vec<_>, Vec<_>) =
        pairs.partition(|(fault, _)| fault.outcome == "timeout");
    let run = |pairs: Vec<(Fault, usize)>, at_once| {
        stream::iter(pairs)
            .map(|(fault, place)| tokio::spawn(play(fault, place)))
            .buffer_unordered(at_once)
            .collect::<Vec<_>>()
    };
    let (mut results, others) =
        future::join(run(waiting, MAX_WAITING_GATEWAYS), run(busy, MAX_BUSY_GATEWAYS)).await;
    results.extend(others);
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), results.len());
    assert!(
        elsewhere.seen().is_empty(),
        "credentials stay home: a redirect to another host is not followed"
    );
}

async fn play(fault: Fault, source: usize) {
    let name = format!("{} at {}", fault.name, GOOD[source].0);
    let server = good_upstream().await;
    let path = path(source);
    let target = Target { path: &path, good: GOOD[source].1, is_table: source == 0 };
    server.script(&path, (fault.script)(&target));
    let gateway = Gateway::start(&settings(&server, &fault));
    let whole = document(|_| true);
    for (temperature, standing) in [("cold", "missing"), ("warm", "stale")] {
        let name = format!("{name}, {temperature}");
        server.script(&path, (fault.script)(&target));
        let sources = gateway
            .wait_until(&name, |sources| {
                let hit = &sources["sources"][source];
                hit["consecutive_failures"].as_u64() > Some(0)
                    && hit["state"] == standing
                    && others_are_there(sources)
            })
            .await;
        check_sources(&name, &sources, source, fault.outcome);
        let completeness = if standing == "stale" { "stale" } else { "partial" };
        let answer = gateway.wait_for_completeness(&name, completeness).await;
        if standing == "stale" {
            assert_eq!(answer.text(), whole, "{name}: last good data stands, byte for byte");
        } else {
            assert_eq!(answer.header("cache-control"), "private, max-age=0", "{name}");
            assert_eq!(answer.text(), document(|other| other != source), "{name}: all the others");
        }
        let item = format!("{};state={standing}", GOOD[source].0);
        let states = answer.header("incident-sources");
        assert!(
            states.contains(&item) && states.contains(&format!(";error={}", fault.outcome)),
            "{name}: {states}"
        );

        server.script(&path, Script::json(GOOD[source].1));
        let answer = gateway.wait_for_completeness(&format!("{name}, mended"), "complete").await;
        assert_eq!(answer.text(), whole, "{name}, mended");
    }
    check_metrics(&name, gateway.admin("/metrics").await.text(), source, fault.outcome);
    // What the sockets' buffers hold, but not what an endless body would make of it.
    assert!(
        server.sent() < 256 << 20,
        "{name}: {} bytes were read of a body that may have 64 KiB",
        server.sent()
    );
}

fn others_are_there(sources: &Value) -> bool {
    sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|source| source["state"] == "fresh")
        .count()
        == GOOD.len() - 1
}

fn check_sources(name: &str, sources: &Value, source: usize, outcome: &str) {
    for (index, (expected, _)) in GOOD.iter().enumerate() {
        let entry = &sources["sources"][index];
        assert_eq!(entry["name"], *expected, "{name}");
        if index == source {
            let error = entry["last_error"].as_str().unwrap();
            assert!(error.starts_with(&format!("{outcome}: ")), "{name}: {error}");
            assert!(!error.contains("127.0.0.1") && !error.contains("secret"), "{name}: {error}");
        } else {
            assert_eq!(entry["consecutive_failures"], 0, "{name}: {entry}");
            assert_eq!(entry["last_error"], Value::Null, "{name}: {entry}");
            assert_eq!(entry["breaker"], "closed", "{name}: {entry}");
            assert!(entry["records"].as_u64() > Some(0), "{name}: {entry}");
        }
    }
}

fn check_metrics(name: &str, page: &str, source: usize, expected: &str) {
    for (index, (other, _)) in GOOD.iter().enumerate() {
        let prefix =
            format!("incident_gateway_upstream_requests_total{{source=\"{other}\",outcome=\"");
        let outcomes =
            page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
        for (outcome, calls) in outcomes {
            let calls: u64 = calls.parse().unwrap();
            let wanted = match outcome {
                "ok" => calls >= 2,
                _ if index == source && outcome == expected => calls >= 2,
                // On a busy machine it fails often enough to be left alone for a while.
                "circuit_open" => calls == 0 || index == source,
                _ => calls == 0,
            };
            assert!(wanted, "{name}: {calls} calls of {other} ended with {outcome}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_loses_nothing() {
    for mode in [AcceptMode::Refuse, AcceptMode::Close, AcceptMode::Reset] {
        let server = good_upstream().await;
        for (source, (_, body)) in GOOD.iter().enumerate() {
            // Kept-alive connections would not notice the mode.
            server.script(&path(source), Reply::json(*body).header("Connection", "close"));
        }
        server.set_accept_mode(mode).await;
        let gateway = Gateway::start(&quick(&server.base_url()));
        let all = |state: &'static str| {
            move |sources: &Value| {
                sources["sources"].as_array().unwrap().iter().all(|source| source["state"] == state)
            }
        };
        gateway
            .wait_until("cold", |sources| {
                sources["sources"][7]["consecutive_failures"].as_u64() > Some(0)
            })
            .await;
        let answer = gateway.get("/incidents").await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "no-data"), "{mode:?}");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert_eq!(gateway.get("/readyz").await.status, 503);
        server.set_accept_mode(AcceptMode::Serve).await;
        gateway.wait_until_complete("mended").await;
        server.set_accept_mode(mode).await;
        gateway.wait_until("warm", all("stale")).await;
        let answer = gateway.get("/incidents").await;
        assert_eq!((answer.status, answer.text()), (200, &*document(|_| true)), "{mode:?}");
        assert_eq!(
            gateway.get("/readyz").await.status,
            200,
            "data stands in, so the process serves"
        );
        server.set_accept_mode(AcceptMode::Serve).await;
        gateway.wait_until_complete("mended again").await;
    }
}

#[tokio::test]
async fn a_flapping_source_never_shows_half_of_itself() {
    let server = good_upstream().await;
    let gateway = Gateway::start(&quick(&server.base_url()));
    gateway.wait_until_complete("at first").await;
    let whole = document(|_| true);
    for source in [0, 4, 7] {
        let good = Script::json(GOOD[source].1);
        let bad = [
            Script::status(500),
            Script::CutOff(GOOD[source].1.into()),
            Script::json("[]"),
            Script::Close,
        ];
        let flapping = bad.into_iter().flat_map(|bad| [bad, good.clone()]);
        server.script_each(&path(source), flapping);
    }
    let before = server.calls(&path(4));
    while server.calls(&path(4)) < before + 9 {
        let answer = gateway.get("/incidents").await;
        assert_eq!((answer.status, answer.text()), (200, &*whole));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.wait_until_complete("at last").await;
}
