//! When the gateway is ready, and what is ready for a caller who waits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::web::Site;
use http::Method;
use incident_gateway::cache::Resource;
use incident_gateway::http::Phase;
use incident_gateway::render::compress::Coding;
use incident_gateway::render::{Document, Format};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn ready_from_the_first_data_until_the_stop_whatever_becomes_of_the_data() {
    let site = Site::new();
    assert_eq!(site.get("/readyz").await.status, 503);
    site.publish_named(&[]);
    assert_eq!(site.get("/readyz").await.status, 200);
    // All of it has grown too old: the answers say so, and readiness does not take every replica
    // out at once.
    site.publish(None, vec![None; site.config.sources.len()]);
    site.publish_states(|source| source.last_success = Some(SystemTime::now()));
    assert_eq!(site.get("/incidents").await.status, 503);
    assert_eq!(site.get("/readyz").await.status, 200);
    site.phase.send_replace(Phase::Draining);
    assert_eq!(site.get("/readyz").await.status, 503);
    assert_eq!(site.get("/healthz").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_waiting_caller_asks_for_is_rendered_before_it_is_published() {
    let site = Site::new();
    let gateway = Arc::clone(&site.gateway);
    let request = http::Request::get("/incidents")
        .header("host", "test")
        .header("accept-encoding", "gzip")
        .body(())
        .unwrap();
    let waiting = tokio::spawn(async move { gateway.answer(request).await.status() });
    tokio::task::yield_now().await;

    let view =
        site.unpublished(Some("{}"), &vec![Some(r#"{"results":[]}"#); site.config.sources.len()]);
    site.cache.prerender(&view).await;
    let ask = |coding| {
        let deadline = Instant::now() + Duration::from_secs(1);
        let resource = Resource::Document(Document::Incidents(Format::Json));
        site.cache.get_or_render(&view, resource, coding, deadline, || b"late".to_vec())
    };
    let gzip_magic = [0x1f, 0x8b];
    let ready = ask(Coding::Gzip).await.unwrap();
    assert_eq!(ready.bytes()[..2], gzip_magic);
    // The plain document was not asked for, so it is made now; the compressed one is not made of
    // that.
    let plain = ask(Coding::Identity).await.unwrap();
    assert_eq!(plain.bytes(), b"late");
    let late = incident_gateway::render::compress::compress("late".into(), Coding::Gzip);
    assert_ne!(ready.bytes(), late);

    // Nothing was published: the caller is told so when its budget ends.
    assert_eq!(waiting.await.unwrap(), 503);
    assert_eq!(site.ask(Method::HEAD, "/healthz", &[]).await.status(), 200);
}
