//! Client certificates: which are taken, and what a reload of their authorities does.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AT_ONCE, VERSIONS, is_ended};
use crate::support::authority::{Authority, Identity};
use crate::support::captured_log::CapturedLog;
use crate::support::client::Answer;
use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, client, http1};
use crate::support::tls_listener::TlsListener;
use incident_gateway::config::Config;
use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::{ClientConfig, HandshakeKind};
use tokio::time::timeout;
use tracing::Level;

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
async fn the_log_names_whom_the_certificate_names() {
    let log = CapturedLog::new();
    let _guard = log.capture(Level::INFO);
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = servers.gateway(Some(&clients));
    let gateway = gateway(|config| config.tls = Some(tls)).await;
    for identity in [Some(&clients.named("alice")), None] {
        let config = any_version(&servers, &[HTTP_1_1], identity);
        ask(&gateway, &config, "/summary").await.unwrap();
    }
    let text = log.text();
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains("\"route\":\"/summary\"")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let alice = "\"principal\":\"alice\",\"auth\":\"certificate\"";
    assert!(lines[0].contains(alice) && lines[0].contains("\"status\":200"), "{text}");
    assert!(!lines[1].contains("\"principal\"") && lines[1].contains("\"status\":401"), "{text}");
}
