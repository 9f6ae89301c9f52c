//! The service by the newest gateway, as the listeners have it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use incident_gateway::access::Access;
use incident_gateway::config::Config;
use incident_gateway::http::current_service::public_service;
use incident_gateway::http::{Body, HttpService};
use incident_gateway::metrics;
use incident_gateway::upstream::{UpstreamMetrics, Upstreams};
use tokio::sync::watch;

use crate::support::snapshot_gateway::SnapshotGateway;

async fn ask(connection: &mut impl HttpService<()>, path: &str) -> Response<Body> {
    let request = Request::get(path).header("host", "test").body(()).unwrap();
    let response: Result<_, Infallible> = connection.call(request).await;
    response.unwrap()
}

#[tokio::test]
async fn a_replaced_gateway_goes_although_its_event_streams_go_on() {
    let SnapshotGateway { inner, cache, phase: _phase, snapshots: _snapshots, .. } =
        SnapshotGateway::new();
    let replaced = Arc::downgrade(&inner);
    let (gateways, receiver) = watch::channel(inner);
    let listener = public_service(receiver);
    let mut connection = listener.clone();
    let stream = ask(&mut connection, "/events").await;
    // Over HTTP/2 further requests come while the stream is open.
    assert_eq!(ask(&mut connection, "/openapi.json").await.status(), 200);

    let config = Config { allowed_hosts: Some(["other".to_owned()].into()), ..Config::default() };
    let upstream_metrics = UpstreamMetrics::register(&mut metrics::registry());
    let upstreams = Arc::new(Upstreams::new(&config, &upstream_metrics, 1).unwrap());
    let next = gateways.borrow().reconfigured(&config, cache, upstreams, Access::open());
    gateways.send_replace(Arc::new(next));
    assert!(replaced.upgrade().is_none());

    let mut events = stream.into_body();
    let opening = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(opening.starts_with(b"retry: "));
    for mut connection in [connection, listener.clone()] {
        assert_eq!(ask(&mut connection, "/openapi.json").await.status(), 421);
    }
}
