//! TLS on the listeners: versions, protocols, client certificates, resumption, and what a reload
//! changes for open connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::{Ran, run};
use crate::support::authority::{Authority, Identity};
use crate::support::captured_log::{CapturedLog, ONE_AT_A_TIME};
use crate::support::client::{Answer, Client, get};
use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, client, connect, http1};
use crate::support::tls_listener::TlsListener;
use incident_gateway::config::{Admin, Config};
use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
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
    let _guard = ONE_AT_A_TIME.lock().await;
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

/// A gateway that has data, with this `tls`.
async fn gateway(change: impl FnOnce(&mut Config)) -> Gateway {
    let server = good_upstream().await;
    let mut config = quick(&server.base_url());
    // One refresh, after which the upstream may end.
    config.cache.ttl = Duration::from_mins(10);
    change(&mut config);
    let gateway = Gateway::start(&config);
    let began = Instant::now();
    while gateway.admin("/metrics").await.text().contains("_source_records{source=\"other\"} 0") {
        assert!(began.elapsed() < AT_ONCE);
    }
    gateway
}

/// The answer to a request of this client, or why it got none. Under TLS 1.3 a client learns only
/// when it reads that its certificate was refused.
async fn ask(gateway: &Gateway, config: &Arc<ClientConfig>, path: &str) -> io::Result<Answer> {
    let mut client = http1(gateway.running.address, config).await?;
    client.get(path, &[]).await
}

/// A common name beside another one; rcgen keeps one of each type.
fn another_common_name() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 3])
}

#[tokio::test]
async fn client_certificates_of_every_kind() {
    let (servers, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let tls = servers.gateway(Some(&clients));
    let gateway = gateway(|config| config.tls = Some(tls)).await;
    let alice = |change: fn(&mut CertificateParams)| {
        clients.identity(|params| {
            params.distinguished_name.push(DnType::CommonName, "alice");
            change(params);
        })
    };
    let intermediate = clients.intermediate("intermediate");
    let chained = intermediate.named("alice");
    let with_chain = Identity {
        chain: [chained.chain.clone(), vec![intermediate.der()]].concat(),
        ..chained.clone()
    };
    let self_signed = {
        let authority = Authority::new("alice");
        authority.named("alice")
    };
    let accepted = [
        ("a common name", alice(|_| {})),
        (
            "client authentication",
            alice(|params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        (
            "several names",
            alice(|params| params.distinguished_name.push(another_common_name(), "bob")),
        ),
        ("an intermediate", with_chain),
    ];
    let without_principal = [
        ("no name", clients.identity(|_| {})),
        (
            "another attribute",
            clients.identity(|params| {
                params.distinguished_name.push(DnType::OrganizationName, "alice");
            }),
        ),
        ("a NUL", clients.named("alice\0.example")),
        ("an empty name", clients.named("")),
        ("a long name", clients.named(&"x".repeat(257))),
        (
            "a NUL in the last name",
            alice(|params| {
                let value = DnValue::Utf8String("bob\0".to_owned());
                params.distinguished_name.push(another_common_name(), value);
            }),
        ),
    ];
    let refused = [
        ("another authority", others.named("alice")),
        ("the server's authority", servers.named("alice")),
        ("an unknown one of the same name", Authority::new("clients").named("alice")),
        ("expired", alice(|params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not yet valid", alice(|params| params.not_before = date_time_ymd(4000, 1, 1))),
        (
            "server authentication alone",
            alice(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("self-signed", self_signed),
        ("without its intermediate", chained),
    ];
    for (version, _) in VERSIONS {
        let config =
            |identity: Option<&Identity>| client(&servers, &[HTTP_1_1], identity, &[version]);
        for (name, identity) in &accepted {
            let answer = ask(&gateway, &config(Some(identity)), "/incidents").await;
            assert_eq!(answer.expect(name).status, 200, "{name}");
        }
        let nobody = ("none", config(None));
        let nameless = without_principal.iter().map(|(name, its)| (*name, config(Some(its))));
        for (name, config) in nameless.chain([nobody]) {
            let answer = ask(&gateway, &config, "/incidents").await.expect(name);
            assert_eq!((answer.status, &*answer.problem()), (401, "unauthorized"), "{name}");
            for path in ["/healthz", "/readyz"] {
                assert_eq!(ask(&gateway, &config, path).await.unwrap().status, 200, "{name}");
            }
        }
        for (name, identity) in &refused {
            for path in ["/incidents", "/healthz"] {
                let error = ask(&gateway, &config(Some(identity)), path).await;
                assert!(error.is_err(), "{name}: {error:?}");
            }
        }
    }
    // The same over HTTP/2, where the certificate is each stream's.
    let named = any_version(&servers, &[H2], Some(&clients.named("alice")));
    let client = H2Client::connect(gateway.running.address, &named).await;
    for _ in 0..3 {
        assert_eq!(client.get("/incidents").await.unwrap().status, 200);
    }
    let client =
        H2Client::connect(gateway.running.address, &any_version(&servers, &[H2], None)).await;
    assert_eq!(client.get("/incidents").await.unwrap().status, 401);
    assert_eq!(client.get("/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn sessions_are_resumed_only_where_no_certificates_are_asked_for() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    for client_ca in [None, Some(&clients)] {
        let tls = servers.gateway(client_ca);
        let listener = TlsListener::start(Some(&tls), |_| {}).await;
        let identity = client_ca.map(|clients| clients.named("alice"));
        for (version, name) in VERSIONS {
            // rustls keeps sessions with the configuration, and offers ids and tickets of them.
            let config = client(&servers, &[HTTP_1_1], identity.as_ref(), &[version]);
            let mut kinds = Vec::new();
            for _ in 0..3 {
                let mut client = http1(listener.address, &config).await.unwrap();
                // Tickets of TLS 1.3 come with the first answer.
                assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
                kinds.push(client.stream.get_ref().1.handshake_kind().unwrap());
            }
            let then =
                if client_ca.is_some() { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kinds, [HandshakeKind::Full, then, then], "{name:?}");
        }
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
async fn connections_of_a_replaced_authority_end_after_the_answer_under_way() {
    let servers = Authority::new("servers");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let listener = TlsListener::start(Some(&servers.gateway(Some(&old))), |_| {}).await;
    let identity = old.named("alice");
    let config = any_version(&servers, &[HTTP_1_1], Some(&identity));
    let mut idle = http1(listener.address, &config).await.unwrap();
    assert_eq!(idle.get("/healthz", &[]).await.unwrap().status, 200);
    let mut unused = http1(listener.address, &config).await.unwrap();
    let mut reading = http1(listener.address, &config).await.unwrap();
    reading.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let h2_config = any_version(&servers, &[H2], Some(&identity));
    let idle_h2 = H2Client::connect(listener.address, &h2_config).await;
    assert_eq!(idle_h2.get("/healthz").await.unwrap().status, 200);

    // Another certificate of the server's with the same authority changes nothing.
    listener.set_tls(&servers.gateway(Some(&old)));
    assert_eq!(idle.get("/healthz", &[]).await.unwrap().status, 200);
    assert_eq!(idle_h2.get("/healthz").await.unwrap().status, 200);

    listener.set_tls(&servers.gateway(Some(&new)));
    assert!(is_ended(&mut idle).await);
    assert!(is_ended(&mut unused).await);
    assert!(!reading.is_ended_within(Duration::from_millis(300)).await, "an answer is under way");
    let mut requests = idle_h2.requests.clone();
    let told = async {
        while let Ok(ready) = requests.clone().ready().await {
            requests = ready;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(AT_ONCE, told).await.expect("the client is told to go away");
    let config = any_version(&servers, &[HTTP_1_1], Some(&identity));
    let refused = async { http1(listener.address, &config).await?.get("/healthz", &[]).await };
    assert!(refused.await.is_err(), "a new handshake is refused");
    let config = any_version(&servers, &[HTTP_1_1], Some(&new.named("bob")));
    let mut client = http1(listener.address, &config).await.unwrap();
    assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_other_authorities_trust_too_loses_no_request() {
    let (servers, old) = (Authority::new("servers"), Authority::new("old"));
    let tls = |clients: String| {
        let mut tls = servers.gateway(Some(&old));
        tls.client_ca.as_mut().unwrap().pem = clients.into();
        tls
    };
    let server = good_upstream().await;
    let mut config = quick(&server.base_url());
    config.tls = Some(tls(old.pem()));
    let mut gateway = Gateway::start(&config);
    let address = gateway.running.address;
    let identity = old.named("alice");
    let with_h1 = any_version(&servers, &[HTTP_1_1], Some(&identity));
    let with_h2 = any_version(&servers, &[H2], Some(&identity));
    H2Client::connect(address, &with_h2).await.wait_until_complete().await;
    let mut answers = 0;
    for round in 0..5 {
        let mut over_h1 = http1(address, &with_h1).await.unwrap();
        let over_h2 = H2Client::connect(address, &with_h2).await;
        assert_eq!(over_h1.get("/incidents", &[]).await.unwrap().status, 200);
        assert_eq!(over_h2.get("/incidents").await.unwrap().status, 200);
        let both = old.pem() + &Authority::new(&format!("new {round}")).pem();
        config.tls = Some(tls(both));
        gateway.running.reconfigure(&config).unwrap();
        // The next request is answered, and told that it is the last one.
        let answer = over_h1.get("/incidents", &[]).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, "close"));
        assert!(is_ended(&mut over_h1).await);
        while let Ok(answer) = over_h2.get("/incidents").await {
            assert_eq!(answer.status, 200);
            answers += 1;
            assert!(answers < 10_000, "the connection goes on");
        }
    }
    // A client whose certificate they do not trust is not answered any more.
    let mut over_h1 = http1(address, &with_h1).await.unwrap();
    assert_eq!(over_h1.get("/incidents", &[]).await.unwrap().status, 200);
    config.tls = Some(tls(Authority::new("new").pem()));
    gateway.running.reconfigure(&config).unwrap();
    let answer = over_h1.get("/incidents", &[]).await;
    assert!(answer.as_ref().is_ok_and(|answer| answer.status == 401) || answer.is_err());
    assert!(is_ended(&mut over_h1).await);
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
