//! When the gateway is ready, and that documents are rendered before they are published.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::snapshot_gateway::SnapshotGateway;
use http::Method;
use incident_gateway::cache::Resource;
use incident_gateway::http::Phase;
use incident_gateway::render::compress::Coding;
use incident_gateway::render::{Document, Format};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn the_gateway_is_ready_from_the_first_data_until_it_drains_even_if_the_data_expires() {
    let gateway = SnapshotGateway::new();
    assert_eq!(gateway.get("/readyz").await.status, 503);
    gateway.publish_named(&[]);
    assert_eq!(gateway.get("/readyz").await.status, 200);
    // When all data has expired, requests get 503, but readiness must not take every replica out of
    // service at once.
    gateway.publish(None, vec![None; gateway.config.sources.len()]);
    gateway.publish_states(|source| source.last_success = Some(SystemTime::now()));
    assert_eq!(gateway.get("/incidents").await.status, 503);
    assert_eq!(gateway.get("/readyz").await.status, 200);
    gateway.phase.send_replace(Phase::Draining);
    assert_eq!(gateway.get("/readyz").await.status, 503);
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_a_caller_waits_for_is_rendered_before_publication() {
    let gateway = SnapshotGateway::new();
    let inner = Arc::clone(&gateway.inner);
    let request = http::Request::get("/incidents")
        .header("host", "test")
        .header("accept-encoding", "gzip")
        .body(())
        .unwrap();
    let waiting = tokio::spawn(async move { inner.answer(request).await.status() });
    tokio::task::yield_now().await;

    let view = gateway
        .unpublished(Some("{}"), &vec![Some(r#"{"results":[]}"#); gateway.config.sources.len()]);
    gateway.cache.prerender(&view).await;
    let ask = |coding| {
        let deadline = Instant::now() + Duration::from_secs(1);
        let resource = Resource::Document(Document::Incidents(Format::Json));
        gateway.cache.get_or_render(&view, resource, coding, deadline, || b"late".to_vec())
    };
    let gzip_magic = [0x1f, 0x8b];
    let ready = ask(Coding::Gzip).await.unwrap();
    assert_eq!(ready.bytes()[..2], gzip_magic);
    // The plain document was not requested, so it is rendered only now, and the compressed one does
    // not come from it.
    let plain = ask(Coding::Identity).await.unwrap();
    assert_eq!(plain.bytes(), b"late");
    let late = incident_gateway::render::compress::compress("late".into(), Coding::Gzip);
    assert_ne!(ready.bytes(), late);

    // Nothing was published, so the caller gets 503 when its budget ends.
    assert_eq!(waiting.await.unwrap(), 503);
    assert_eq!(gateway.ask(Method::HEAD, "/healthz", &[]).await.status(), 200);
}
