//! Certificates, keys and authorities of clients that are replaced while connections are open.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use incident_gateway::config::Tls;
use rustls::ClientConfig;

use super::{CREDENTIALS, config};
use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::gateway::good_upstream;
use crate::support::reloadable::{CONFIG, Files, INVALID, Reloadable};
use crate::support::scripted_upstream::ScriptedUpstream;
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, http1};

const AT_ONCE: Duration = Duration::from_secs(10);

/// A configuration with TLS on both listeners.
fn with_tls(files: &Files, upstream: &ScriptedUpstream, has_client_ca: bool) -> String {
    let client_ca = if has_client_ca {
        format!(", client_ca_file: '{}'", files.name("ca.crt"))
    } else {
        String::new()
    };
    let (certificate, key) = (files.name("tls.crt"), files.name("tls.key"));
    let tls = format!("tls: {{ cert_file: '{certificate}', key_file: '{key}'{client_ca} }}");
    config(upstream, &format!("cache: {{ ttl: 1h }}\nadmin: {{ tls: true }}\n{tls}"))
}

fn write_pair(files: &Files, tls: &Tls) {
    files.write("tls.crt", &tls.certificate.pem);
    files.write("tls.key", &tls.key.pem);
}

async fn start(files: Files) -> Reloadable {
    Reloadable::start(files, &CREDENTIALS).await
}

/// Whether both listeners have a certificate that this client trusts.
async fn is_trusted(gateway: &Reloadable, client: &Arc<ClientConfig>) -> bool {
    let mut trusted = 0;
    for address in [gateway.process.address, gateway.process.admin_address] {
        let Ok(mut client) = http1(address, client).await else { continue };
        assert_eq!(client.get("/healthz", &[]).await.unwrap().status, 200);
        trusted += 1;
    }
    assert_ne!(trusted, 1, "both listeners have the same certificate");
    trusted == 2
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections() {
    let upstream = good_upstream().await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new("");
    write_pair(&files, &old.gateway(None));
    files.write(CONFIG, with_tls(&files, &upstream, false));
    let gateway = start(files).await;
    let trusting_old = any_version(&old, &[HTTP_1_1], None);
    let trusting_new = any_version(&new, &[HTTP_1_1], None);
    assert!(is_trusted(&gateway, &trusting_old).await);
    assert!(!is_trusted(&gateway, &trusting_new).await);
    let mut open = http1(gateway.process.address, &trusting_old).await.unwrap();
    let mut admin = http1(gateway.process.admin_address, &trusting_old).await.unwrap();
    let open_h2 = H2Client::connect(gateway.process.address, &any_version(&old, &[H2], None)).await;
    open_h2.wait_until_complete().await;

    let changes = gateway.change_validly(|files| write_pair(files, &new.gateway(None))).await;
    let (certificate, key) = (gateway.files.name("tls.crt"), gateway.files.name("tls.key"));
    assert_eq!(changes, format!("tls.cert_file ({certificate}), tls.key_file ({key})"));
    assert!(is_trusted(&gateway, &trusting_new).await);
    assert!(!is_trusted(&gateway, &trusting_old).await, "sessions are not resumed, either");
    assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200, "an open connection");
    assert_eq!(admin.get("/metrics", &[]).await.unwrap().status, 200);
    assert_eq!(open_h2.get("/incidents").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_pair_counts_once_both_files_are_there() {
    let upstream = good_upstream().await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new("");
    write_pair(&files, &old.gateway(None));
    files.write(CONFIG, with_tls(&files, &upstream, false));
    let gateway = start(files).await;
    let trusting_old = any_version(&old, &[HTTP_1_1], None);
    let trusting_new = any_version(&new, &[HTTP_1_1], None);
    let renewed = new.gateway(None);
    let certificate = &renewed.certificate.pem;
    let cases: [(&str, &[u8]); 4] = [
        ("a part", &certificate[..certificate.len() / 2]),
        ("nothing", b""),
        ("no certificate", b"hunter2"),
        ("that of another key", certificate),
    ];
    for (name, content) in cases {
        let error = gateway.change_invalidly(|files| files.write("tls.crt", content)).await;
        assert_eq!(error.message, INVALID, "{name}");
        assert!(error.field("faults").contains(&gateway.files.name("tls.crt")), "{}", error.line);
        assert!(!error.line.contains("hunter2") && !error.line.contains("MII"), "{}", error.line);
        assert!(gateway.change(|_| ()).await.is_empty(), "once: {name}");
        assert!(is_trusted(&gateway, &trusting_old).await, "the old one stands: {name}");
    }
    gateway.change_validly(|files| files.write("tls.key", &renewed.key.pem)).await;
    assert!(is_trusted(&gateway, &trusting_new).await);
}

/// cert-manager's Secret, mounted by Kubernetes: both files change by one rename.
#[tokio::test]
async fn a_mounted_secret_is_renewed_as_a_whole() {
    let upstream = good_upstream().await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new("");
    for (version, authority) in [("..1", &old), ("..2", &new)] {
        let tls = authority.gateway(None);
        fs::create_dir(files.path(version)).unwrap();
        fs::write(files.path(version).join("tls.crt"), &tls.certificate.pem).unwrap();
        fs::write(files.path(version).join("tls.key"), &tls.key.pem).unwrap();
    }
    files.link("..data", "..1");
    for name in ["tls.crt", "tls.key"] {
        files.link(name, format!("..data/{name}"));
    }
    files.write(CONFIG, with_tls(&files, &upstream, false));
    let gateway = start(files).await;
    assert!(is_trusted(&gateway, &any_version(&old, &[HTTP_1_1], None)).await);
    gateway
        .change_validly(|files| {
            files.link("..data", "..2");
            fs::remove_dir_all(files.path("..1")).unwrap();
        })
        .await;
    assert!(is_trusted(&gateway, &any_version(&new, &[HTTP_1_1], None)).await);
    assert!(gateway.events().iter().all(|event| event.level != "ERROR"));
}

#[tokio::test]
async fn another_authority_of_clients_ends_what_the_old_one_allowed() {
    let upstream = good_upstream().await;
    let servers = Authority::new("servers");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new("");
    write_pair(&files, &servers.gateway(None));
    files.write("ca.crt", old.pem());
    files.write(CONFIG, with_tls(&files, &upstream, true));
    let gateway = start(files).await;
    let address = gateway.process.address;
    let alice = any_version(&servers, &[HTTP_1_1], Some(&old.named("alice")));
    let mut open = http1(address, &alice).await.unwrap();
    assert_eq!(open.get("/incidents?complete=true", &[]).await.unwrap().status, 200);
    let h2 = any_version(&servers, &[H2], Some(&old.named("alice")));
    let open_h2 = H2Client::connect(address, &h2).await;
    assert_eq!(open_h2.get("/incidents").await.unwrap().status, 200);

    let error = gateway.change_invalidly(|files| files.write("ca.crt", "no certificate")).await;
    assert!(error.field("faults").contains(&gateway.files.name("ca.crt")), "{}", error.line);
    assert!(!is_successful_over_tls(&gateway, &alice).await);
    assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200);

    let both = old.pem() + &new.pem();
    for (content, authorities) in [(both, "both"), (new.pem(), "the new one")] {
        let mut open = http1(address, &alice).await.unwrap();
        assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200);
        let mut stream = http1(address, &alice).await.unwrap();
        stream.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        assert_eq!(stream.answer().await.unwrap().status, 200);
        let changes = gateway.change_validly(|files| files.write("ca.crt", content)).await;
        assert_eq!(changes, format!("tls.client_ca_file ({})", gateway.files.name("ca.crt")));
        assert!(open.is_ended_within(AT_ONCE).await, "{authorities}");
        assert!(stream.is_ended_within(AT_ONCE).await, "{authorities}");
        let bob = any_version(&servers, &[HTTP_1_1], Some(&new.named("bob")));
        let mut client = http1(address, &bob).await.unwrap();
        assert_eq!(client.get("/incidents", &[]).await.unwrap().status, 200, "{authorities}");
        let again = async { http1(address, &alice).await?.get("/incidents", &[]).await };
        match again.await {
            Ok(answer) => assert_eq!((answer.status, authorities), (200, "both")),
            Err(_) => assert_eq!(authorities, "the new one"),
        }
    }
    assert!(open_h2.get("/incidents").await.is_err(), "the connection has ended");
    let bob = any_version(&servers, &[HTTP_1_1], Some(&new.named("bob")));
    assert!(is_successful_over_tls(&gateway, &bob).await);
}

/// What the metrics of a gateway say whose admin listener speaks TLS.
async fn is_successful_over_tls(gateway: &Reloadable, client: &Arc<ClientConfig>) -> bool {
    let mut client: Client<_> = http1(gateway.process.admin_address, client).await.unwrap();
    let page = client.get("/metrics", &[]).await.unwrap();
    page.text().contains("\nincident_gateway_config_last_reload_successful 1\n")
}
