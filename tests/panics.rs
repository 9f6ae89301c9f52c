//! A panic in a handler ends its own request, and neither its connection nor the process.

mod support;
mod web;

use std::sync::Arc;
use std::time::Duration;

use incident_gateway::http::Server;
use incident_gateway::snapshot::{Policy, Snapshot, View};
use support::client::Client;
use tokio::net::TcpListener;
use web::Site;

#[tokio::test]
async fn a_panic_is_answered_500_and_the_next_request_as_if_nothing_had_been() {
    let site = Site::with_fixtures();
    let good = Arc::clone(&site.snapshots.borrow());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Arc::clone(&site.gateway);
    let server = Server::new(listener, site.config.limits, site.phase.subscribe());
    tokio::spawn(server.run(move |request| Arc::clone(&gateway).answer(request)));
    let mut client = Client::connect(address).await.unwrap();

    // Invalid snapshots, such as configuration and refresh never make: times that overflow when they are added, which
    // panics in the handler; and a view whose sources have no names, which panics on the thread that renders.
    let overflows = Policy { ttl: Duration::MAX, ..good.policy };
    let names: Arc<[Arc<str>]> = Arc::new([]);
    let nameless = View::new(u64::MAX, names, None, good.view.batches().into());
    let bad =
        [Snapshot { policy: overflows, ..(*good).clone() }, Snapshot { view: Arc::new(nameless), ..(*good).clone() }];
    for bad in bad {
        site.snapshots.send_replace(Arc::new(bad));
        let answer = client.get("/incidents", &[("X-Request-Id", "the-one")]).await.unwrap();
        assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"));
        assert_eq!(answer.json()["request_id"], "the-one");
        assert_eq!(client.get("/healthz", &[]).await.unwrap().text(), "ok");
        site.snapshots.send_replace(Arc::clone(&good));
        assert_eq!(client.get("/incidents", &[]).await.unwrap().status, 200, "over the same connection");
    }
}
