//! Sign-in over HTTP/2.

use std::sync::Arc;

use http::{Method, Request};
use rustls::ClientConfig;
use tracing::Level;

use super::{ann, employee, ops};
use crate::support::authority::Authority;
use crate::support::captured_log::CapturedLog;
use crate::support::protected_gateway::{ProtectedGateway, TOKENS, USERS, basic, bearer};
use crate::support::tls_client::{H2, H2Client, any_version};

/// A gateway that speaks TLS, and a client of its.
async fn start(yaml: &str) -> (ProtectedGateway, Arc<ClientConfig>, H2Client) {
    let authority = Authority::new("one");
    let tls = authority.gateway(None);
    let protected = ProtectedGateway::configured(yaml, |config| config.tls = Some(tls)).await;
    let config = any_version(&authority, &[H2], None);
    let client = H2Client::connect(protected.gateway.running.address, &config).await;
    (protected, config, client)
}

async fn status(client: &H2Client, path: &str, authorization: &[&str]) -> u16 {
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
    client.send(Method::GET, path, &headers).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn each_stream_signs_in_by_itself() {
    let log = CapturedLog::new();
    let _guard = log.capture(Level::TRACE);
    let (_protected, _, client) = start("").await;
    for _ in 0..2 {
        for (authorization, path, expected) in [
            (&[][..], "/sources", 401),
            (&[ops().as_str()], "/sources", 200),
            (&[employee().as_str()], "/sources", 200),
            (&[employee().as_str()], "/unattributed", 403),
            (&[ann().as_str()], "/sources", 200),
            (&["Bearer wrong"], "/sources", 401),
            (&[ops().as_str(), ops().as_str()], "/sources", 400),
            (&[], "/healthz", 200),
        ] {
            assert_eq!(status(&client, path, authorization).await, expected);
        }
    }
    let lines = log.text();
    let encoded = ann();
    for secret in [TOKENS[0].1, TOKENS[1].1, USERS[0].1, &encoded[6..]] {
        assert_eq!(lines.lines().find(|line| line.contains(secret)), None);
    }
}

#[tokio::test]
async fn the_authority_is_the_host() {
    let (_protected, _, client) = start("allowed_hosts: [ gateway.example ]\n").await;
    for (authority, host, expected) in [
        ("gateway.example", None, 401),
        ("Gateway.Example", None, 401),
        ("gateway.example:443", None, 421),
        ("evil.example", None, 421),
        ("evil.example", Some("gateway.example"), 421),
    ] {
        let mut request = Request::get(format!("https://{authority}/incidents"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, _) = requests.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), expected, "{authority} {host:?}");
    }
}

#[tokio::test]
async fn the_streams_of_a_connection_share_the_limit_of_its_address() {
    let (protected, config, client) = start("").await;
    let guesses: Vec<String> = (0..90).map(|guess| basic("ann", &guess.to_string())).collect();
    let statuses = futures::future::join_all(guesses.iter().map(|guess| {
        let client = client.clone();
        async move { status(&client, "/", &[guess]).await }
    }))
    .await;
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 80);
    assert_eq!(status(&client, "/sources", &[&bearer(TOKENS[0].1)]).await, 200);
    let other = H2Client::connect(protected.gateway.running.address, &config).await;
    assert_eq!(status(&other, "/sources", &[&ann()]).await, 429);
}
