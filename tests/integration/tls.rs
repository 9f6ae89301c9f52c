//! TLS on the listeners: versions, protocols, client certificates, resumption, and what a reload
//! changes for open connections.

mod client_certificates;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::{Ran, run};
use crate::support::authority::Authority;
use crate::support::captured_log::CapturedLog;
use crate::support::client::{Client, get};
use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, client, connect, http1};
use crate::support::tls_listener::TlsListener;
use incident_gateway::config::{Admin, Config};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Level;

/// Long enough for anything that is not meant to wait.
const AT_ONCE: Duration = Duration::from_secs(10);

const VERSIONS: [(&SupportedProtocolVersion, ProtocolVersion); 2] =
    [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_http_1_1_and_http_2() {
    let authority = Authority::new("one");
    let listener = TlsListener::start(Some(&authority.gateway(None)), |_| {}).await;
    for (version, name) in VERSIONS {
        for (protocols, chosen) in [
            (&[H2, HTTP_1_1][..], Some(H2)),
            (&[HTTP_1_1, H2], Some(H2)),
            (&[HTTP_1_1], Some(HTTP_1_1)),
            (&[b"spdy/3", HTTP_1_1], Some(HTTP_1_1)),
            (&[], None),
        ] {
            let config = client(&authority, protocols, None, &[version]);
            let stream = connect(listener.address, &config).await.unwrap();
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(name));
            assert_eq!(session.alpn_protocol(), chosen, "{protocols:?}");
            if chosen == Some(H2) {
                let client = H2Client::connect(listener.address, &config).await;
                assert_eq!(client.get("/incidents").await.unwrap().status, 200);
            } else {
                let mut client = Client::over(stream);
                assert_eq!(client.get("/incidents", &[]).await.unwrap().status, 200);
                assert_eq!(client.get("/healthz", &[]).await.unwrap().text(), "ok");
            }
        }
        let config = client(&authority, &[b"spdy/3"], None, &[version]);
        assert!(connect(listener.address, &config).await.is_err(), "no common protocol");
    }
}

#[tokio::test]
async fn an_answer_over_tls_is_the_answer_without() {
    let authority = Authority::new("one");
    let listener = TlsListener::start(Some(&authority.gateway(None)), |_| {}).await;
    let config = any_version(&authority, &[HTTP_1_1], None);
    let mut client = http1(listener.address, &config).await.unwrap();
    for path in ["/incidents", "/incidents?priority=low", "/summary", "/nowhere", "/"] {
        let id = [("x-request-id", "the-one")];
        let plain = listener.gateway.get_with(path, &id).await;
        let answer = client.get(path, &id).await.unwrap();
        assert_eq!(answer.body, plain.body, "{path}");
        assert_eq!(answer.header("etag"), plain.header("etag"), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_ended_and_disturbs_nobody() {
    let authority = Authority::new("one");
    let change = |limits: &mut incident_gateway::config::Limits| {
        limits.header_timeout = Duration::from_millis(300);
    };
    let listener = TlsListener::start(Some(&authority.gateway(None)), change).await;
    let config = any_version(&authority, &[HTTP_1_1], None);
    // A whole ClientHello, of which most is held back.
    let hello = client_hello(&config);
    let openings: [&[u8]; 7] = [
        b"GET /incidents HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 100],
        &[0xff; 100],
        b"",
        &hello[..1],
        &hello[..hello.len() - 1],
    ];
    for opening in openings {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        stream.write_all(opening).await.unwrap();
        let began = Instant::now();
        let mut answer = Vec::new();
        let _ = timeout(AT_ONCE, stream.read_to_end(&mut answer)).await.expect("it is ended");
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
        if opening.starts_with(&hello[..1]) || opening.is_empty() {
            assert!(began.elapsed() >= Duration::from_millis(290), "the client has some time");
        }
        let mut client = http1(listener.address, &config).await.unwrap();
        assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
    }
    // Handshakes that stand still hold up no other one.
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        stream.write_all(&hello[..20]).await.unwrap();
        slow.push(stream);
    }
    let mut client = timeout(AT_ONCE, http1(listener.address, &config)).await.unwrap().unwrap();
    assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
}

/// The first message of a handshake.
fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
    let mut session = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_plain_listener_refuses_tls() {
    let authority = Authority::new("one");
    let listener = TlsListener::start(None, |_| {}).await;
    let config = any_version(&authority, &[HTTP_1_1], None);
    let error = timeout(AT_ONCE, connect(listener.address, &config)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_failed_handshake_is_logged_for_debugging_only() {
    let log = CapturedLog::new();
    let _capturing = log.capture(Level::DEBUG);
    let authority = Authority::new("one");
    let listener = TlsListener::start(Some(&authority.gateway(None)), |_| {}).await;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = timeout(AT_ONCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    let text = log.text();
    let of_gateway = |line: &&str| line.contains("\"target\":\"incident_gateway");
    let lines: Vec<_> = text.lines().filter(of_gateway).collect();
    assert_eq!(lines.len(), 5, "{text}");
    for line in lines {
        assert!(line.contains("DEBUG") && line.contains("a TLS handshake failed"), "{line}");
    }
}

#[tokio::test]
async fn the_admin_listener_speaks_tls_where_it_is_told_to() {
    let authority = Authority::new("one");
    let config = any_version(&authority, &[H2, HTTP_1_1], None);
    for admin_tls in [false, true] {
        let tls = authority.gateway(None);
        let server = good_upstream().await;
        let gateway = Gateway::start(&Config {
            tls: Some(tls),
            admin: Admin { tls: admin_tls, auth: false },
            ..quick(&server.base_url())
        });
        let client = H2Client::connect(gateway.running.address, &config).await;
        client.wait_until_complete().await;
        let admin = gateway.running.admin_address;
        if admin_tls {
            let client = H2Client::connect(admin, &config).await;
            assert_eq!(client.get("/readyz").await.unwrap().status, 200);
            assert_eq!(client.get("/metrics").await.unwrap().status, 200);
        } else {
            assert_eq!(get(admin, "/readyz").await.status, 200);
        }
        // The health check says what to change where the scheme is the wrong one.
        let check = async |scheme: &str| {
            let url = format!("{scheme}://{admin}");
            let run = move || run(&["healthcheck", "--url", &url], &[]);
            tokio::task::spawn_blocking(run).await.unwrap()
        };
        let (right, wrong) = if admin_tls { ("https", "http") } else { ("http", "https") };
        let (Ran { code, stderr, .. }, wrong) = (check(right).await, check(wrong).await);
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(wrong.code, Some(1));
        let says = if admin_tls { "speaks TLS; ask it by https" } else { "does not speak TLS" };
        assert!(wrong.stderr.contains(says), "{}", wrong.stderr);
    }
}

/// Whether the server ends the connection within a second or so.
async fn is_ended(client: &mut Client<tokio_rustls::client::TlsStream<TcpStream>>) -> bool {
    client.is_ended_within(Duration::from_secs(2)).await
}

#[tokio::test]
async fn a_renewed_certificate_leaves_connections_alone() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let listener = TlsListener::start(Some(&first.gateway(None)), |_| {}).await;
    let old = any_version(&first, &[HTTP_1_1], None);
    let new = any_version(&second, &[HTTP_1_1], None);
    let mut open = http1(listener.address, &old).await.unwrap();
    let open_h2 = H2Client::connect(listener.address, &any_version(&first, &[H2], None)).await;
    assert_eq!(open.get("/healthz", &[]).await.unwrap().status, 200);
    listener.set_tls(&second.gateway(None));
    for _ in 0..3 {
        assert_eq!(open.get("/incidents", &[]).await.unwrap().header("connection"), "");
        assert_eq!(open_h2.get("/incidents").await.unwrap().status, 200);
        let mut client = http1(listener.address, &new).await.unwrap();
        assert_eq!(client.get("/incidents", &[]).await.unwrap().status, 200);
        assert!(http1(listener.address, &old).await.is_err(), "the old certificate is gone");
    }
    assert!(!is_ended(&mut open).await);
}

#[tokio::test]
async fn the_limit_of_connections_follows_the_settings() {
    let authority = Authority::new("one");
    let change = |limits: &mut incident_gateway::config::Limits| limits.max_connections = 1;
    let listener = TlsListener::start(Some(&authority.gateway(None)), change).await;
    let config = any_version(&authority, &[HTTP_1_1], None);
    let status = async || {
        let mut client = http1(listener.address, &config).await.unwrap();
        let status = client.get("/incidents", &[]).await.unwrap().status;
        (client, status)
    };
    let (first, is_served) = status().await;
    assert_eq!(is_served, 200);
    let (_, is_served) = status().await;
    assert_eq!(is_served, 503);
    listener.settings.send_modify(|settings| settings.limits.max_connections = 2);
    let (second, is_served) = status().await;
    assert_eq!(is_served, 200, "the raised limit holds at once");
    listener.settings.send_modify(|settings| settings.limits.max_connections = 1);
    drop(second);
    let (_, is_served) = status().await;
    assert_eq!(is_served, 503, "the first connection takes the only place");
    drop(first);
    let began = Instant::now();
    while status().await.1 != 200 {
        assert!(began.elapsed() < AT_ONCE, "no place is lost");
    }
}
