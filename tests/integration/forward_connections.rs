//! TLS, proxies and token endpoints of the receivers of forwards, over real sockets.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use incident_gateway::config::{
    Auth, ClientAuth, ClientCertificate, Forward, ForwardFormat, OAuth2, PemFile,
};
use incident_gateway::forward::{Accepted, Receiver, Reply};
use incident_gateway::store::StableId;

use crate::support::authority::Authority;
use crate::support::forward_proxy::ForwardProxy;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const HTTP_1: &[u8] = b"http/1.1";
const PATH: &str = "/in";

fn pem(text: String) -> PemFile {
    PemFile { path: "test.pem".into(), pem: Bytes::from(text) }
}

fn client_certificate(authority: &Authority) -> ClientCertificate {
    let (certificate, key) = authority.client();
    ClientCertificate { certificate: pem(certificate), key: pem(key) }
}

fn forward(origin: &str) -> Forward {
    let url = format!("{origin}{PATH}").parse().unwrap();
    let timeout = Duration::from_secs(20);
    Forward { timeout, ..Forward::new("siem", url, ForwardFormat::Ndjson) }
}

async fn send(forward: &Forward) -> Reply {
    let receiver = Receiver::new(forward).unwrap();
    receiver
        .send(HeaderValue::from_static("text/plain"), "batch".into(), &[StableId([0; 16])])
        .await
}

async fn failure(forward: &Forward) -> String {
    match send(forward).await {
        Reply::Failed { detail, .. } => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_may_have_a_private_authority_and_ask_for_a_certificate() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = servers.server_for_clients_of(&clients, HTTP_1, &["127.0.0.1"]);
    let server = ScriptedUpstream::start_tls(tls).await;
    server.script(PATH, Script::json("{}"));
    let forward = Forward { ca: Some(pem(servers.pem())), ..forward(&server.base_url()) };
    let with = |authority| Forward {
        client_certificate: Some(client_certificate(authority)),
        ..forward.clone()
    };
    assert_eq!(send(&with(&clients)).await, Reply::Done(Accepted::All));
    for wrong in [forward.clone(), with(&servers)] {
        let detail = failure(&wrong).await;
        assert!(detail.contains("client_cert_file"), "{detail}");
    }
    let detail = failure(&Forward { ca: Some(pem(clients.pem())), ..with(&clients) }).await;
    assert!(detail.contains("ca_file"), "{detail}");
}

#[tokio::test]
async fn tokens_and_batches_go_through_the_proxys_tunnels() {
    let authority = Authority::new("private");
    let tls = authority.server(HTTP_1, &["login.invalid", "siem.invalid"], |_| {});
    let server = ScriptedUpstream::start_tls(tls).await;
    server.script(PATH, Script::json("{}"));
    server.script("/token", Script::json(r#"{"access_token":"t1","expires_in":60}"#));
    let proxy = ForwardProxy::start(server.address()).await;
    let oauth2 = OAuth2 {
        token_url: "https://login.invalid/token".parse().unwrap(),
        client_id: "gateway".to_owned(),
        client_secret: "hunter2".into(),
        scope: None,
        audience: None,
        client_auth: ClientAuth::Body,
    };
    let forward = Forward {
        auth: Some(Auth::OAuth2(oauth2)),
        ca: Some(pem(authority.pem())),
        proxy: Some(proxy.url()),
        ..forward("https://siem.invalid")
    };
    assert_eq!(send(&forward).await, Reply::Done(Accepted::All));
    let heads = proxy.heads();
    assert!(heads[0].starts_with("CONNECT login.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("CONNECT siem.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert_eq!(server.seen()[1].header("authorization"), Some("Bearer t1"));
}
