//! HTTP/2 to the upstream, as a TLS handshake agrees on it: all sources share a connection, and
//! what happens to one stream happens to no other.
//!
//! Which authorities are trusted comes from the process's environment, so the gateway is the built
//! binary, a process of its own that is told to trust the test's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::client::get;
use crate::support::gateway::{GOOD, document, path};
use crate::support::h2_upstream::{Act, H2Upstream};
use crate::support::process::Process;
use h2::Reason;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::time::sleep;

/// The source whose streams go wrong.
const SOURCE: usize = 4;

struct TestSetup {
    server: H2Upstream,
    gateway: Process,
    _folder: tempfile::TempDir,
}

impl TestSetup {
    /// A gateway that has all sources, and asks for them again and again.
    async fn start(retries: &str) -> Self {
        Self::with_max_concurrent_streams(retries, 100).await
    }

    async fn with_max_concurrent_streams(retries: &str, max_concurrent_streams: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("trusted.pem");
        let authority = Authority::new("one");
        std::fs::write(&trusted, authority.pem()).unwrap();
        let tls = authority.server(b"h2", &["127.0.0.1"], |_| {});
        let server = H2Upstream::start(tls, max_concurrent_streams).await;
        for (source, (_, body)) in GOOD.iter().enumerate() {
            server.script(&path(source), [Act::Answer(body)]);
        }
        let variables = [
            ("CACHE__TTL", "300ms"),
            ("UPSTREAM__TIMEOUT", "1s"),
            ("UPSTREAM__CONCURRENCY", "8"),
            ("UPSTREAM__MAX_BODY", "64KiB"),
            ("UPSTREAM__RETRIES", retries),
        ];
        let gateway = Process::serve_trusting(&trusted, &server.base_url(), &variables).await;
        let setup = Self { server, gateway, _folder: folder };
        setup.wait_until_complete("at first").await;
        setup
    }

    async fn wait_until(&self, what: &str, wanted: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !wanted().await {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "never {what}: {:#}",
                self.sources().await
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_until_complete(&self, what: &str) {
        self.wait_until(what, async || self.sources().await["completeness"] == "complete").await;
        assert_eq!(
            get(self.gateway.address, "/incidents").await.text(),
            document(|_| true),
            "{what}"
        );
    }

    async fn sources(&self) -> Value {
        get(self.gateway.address, "/sources").await.json()
    }

    /// How many calls of a source ended so.
    async fn calls(&self, source: usize, outcome: &str) -> u64 {
        let labels = format!("source=\"{}\",outcome=\"{outcome}\"", GOOD[source].0);
        self.metric(&format!("incident_gateway_upstream_requests_total{{{labels}}} ")).await
    }

    async fn retries(&self) -> u64 {
        self.metric(&format!(
            "incident_gateway_upstream_retries_total{{source=\"{}\"}} ",
            GOOD[SOURCE].0
        ))
        .await
    }

    async fn metric(&self, series: &str) -> u64 {
        let page = get(self.gateway.admin_address, "/metrics").await;
        page.text().lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
    }

    /// The connection that the last call came over.
    fn connection(&self) -> usize {
        self.server.seen().last().unwrap().0
    }
}

#[tokio::test]
async fn all_sources_share_one_connection() {
    let setup = TestSetup::start("0").await;
    let barrier = Arc::new(Barrier::new(GOOD.len()));
    for (source, (_, body)) in GOOD.iter().enumerate() {
        setup.server.script(
            &path(source),
            [Act::AnswerTogether(Arc::clone(&barrier), body), Act::Answer(body)],
        );
    }
    let before = setup.server.seen().len();
    setup
        .wait_until("refreshed", async || setup.server.seen().len() >= before + 3 * GOOD.len())
        .await;
    setup.wait_until_complete("at last").await;
    let connection = setup.connection();
    for (its, path) in setup.server.seen().split_off(before) {
        assert_eq!(its, connection, "{path}");
    }
    for (source, (name, _)) in GOOD.iter().enumerate() {
        assert_eq!(
            setup.calls(source, "timeout").await,
            0,
            "{name} waits for all the others to be in flight"
        );
    }
}

#[tokio::test]
async fn a_failed_stream_affects_no_other_stream() {
    let setup = TestSetup::start("0").await;
    let (_, good) = GOOD[SOURCE];
    let connection = setup.connection();
    let faults = [
        ("hangs before headers", Act::Hang, "timeout"),
        ("hangs in body", Act::HangInBody(good), "timeout"),
        ("resets before headers", Act::Reset(Reason::INTERNAL_ERROR), "body"),
        ("resets in body", Act::ResetInBody(good, Reason::CANCEL), "body"),
        ("resets in body as if all were well", Act::ResetInBody(good, Reason::NO_ERROR), "body"),
        ("announces too much", Act::Announce(1 << 40), "too_large"),
    ];
    for (name, act, outcome) in faults {
        let before = setup.calls(SOURCE, outcome).await;
        setup.server.script(&path(SOURCE), [act, Act::Answer(good)]);
        setup.wait_until(name, async || setup.calls(SOURCE, outcome).await > before).await;
        setup.wait_until_complete(name).await;
        assert_eq!(setup.connection(), connection, "{name}");
    }
    // What came of a body before it was too much must not be held against the connection: four
    // times it would be full.
    setup.server.script(
        &path(SOURCE),
        [Act::Endless, Act::Endless, Act::Endless, Act::Endless, Act::Answer(good)],
    );
    setup.wait_until("endless", async || setup.calls(SOURCE, "too_large").await == 5).await;
    setup.wait_until_complete("after all").await;
    assert_eq!(setup.connection(), connection);
    for (source, (name, _)) in GOOD.iter().enumerate() {
        for outcome in
            ["timeout", "connect", "status", "body", "decode", "too_large", "circuit_open"]
        {
            assert!(
                source == SOURCE || setup.calls(source, outcome).await == 0,
                "{name}: {outcome}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_and_counts_as_no_failure() {
    let setup = TestSetup::start("2").await;
    let (_, good) = GOOD[SOURCE];
    let before = setup.calls(SOURCE, "ok").await;
    setup.server.script(&path(SOURCE), [Act::Reset(Reason::REFUSED_STREAM), Act::Answer(good)]);
    setup.wait_until("refreshed", async || setup.calls(SOURCE, "ok").await >= before + 2).await;
    assert_eq!((setup.calls(SOURCE, "body").await, setup.retries().await), (0, 0));
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced() {
    let setup = TestSetup::start("0").await;
    let (_, good) = GOOD[SOURCE];
    let mut connection = setup.connection();
    for (name, act) in [("goes away", Act::AnswerAndGoAway(good)), ("breaks", Act::Abort)] {
        setup.server.script(&path(SOURCE), [act, Act::Answer(good)]);
        setup.wait_until(name, async || setup.connection() != connection).await;
        // Only a connection that has carried an answer counts as reused.
        let seen = setup.server.seen().len();
        setup.wait_until(name, async || setup.server.seen().len() >= seen + 2 * GOOD.len()).await;
        setup.wait_until_complete(name).await;
        connection = setup.connection();
        assert_eq!(
            setup.calls(SOURCE, "body").await,
            0,
            "{name}: the request is sent again unseen"
        );
    }
}

#[tokio::test]
async fn requests_that_wait_for_a_stream_are_sent_again_when_the_connection_goes_away() {
    let setup = TestSetup::with_max_concurrent_streams("0", 1).await;
    for (source, (_, body)) in GOOD.iter().enumerate() {
        setup.server.script(&path(source), [Act::AnswerAndGoAway(body)]);
    }
    let seen = setup.server.seen().len();
    setup
        .wait_until("refreshed", async || setup.server.seen().len() >= seen + 6 * GOOD.len())
        .await;
    for (source, (name, _)) in GOOD.iter().enumerate() {
        for outcome in ["body", "connect", "timeout", "circuit_open"] {
            assert_eq!(setup.calls(source, outcome).await, 0, "{name}: {outcome}");
        }
    }
}

#[tokio::test]
async fn many_header_fields_are_taken() {
    let setup = TestSetup::start("0").await;
    let (_, good) = GOOD[SOURCE];
    let before = setup.calls(SOURCE, "ok").await;
    setup.server.script(&path(SOURCE), [Act::AnswerWithFields(2000, good)]);
    setup.wait_until("refreshed", async || setup.calls(SOURCE, "ok").await >= before + 2).await;
    assert_eq!(setup.calls(SOURCE, "body").await, 0);
}
