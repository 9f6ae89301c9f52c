//! Proxies, private authorities and client certificates of upstreams, over real sockets.

use std::time::Duration;

use bytes::Bytes;
use incident_gateway::config::{
    self, Auth, ClientAuth, ClientCertificate, OAuth2, PemFile, Upstream,
};
use incident_gateway::outcome::Outcome;

use crate::support::authority::Authority;
use crate::support::forward_proxy::ForwardProxy;
use crate::support::one_source::{GOOD, OneSource, PATH, SECRET_ENCODED, settings};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

const HTTP_1: &[u8] = b"http/1.1";

fn pem(text: String) -> PemFile {
    PemFile { path: "test.pem".into(), pem: Bytes::from(text) }
}

fn client_certificate(authority: &Authority) -> ClientCertificate {
    let (certificate, key) = authority.client();
    ClientCertificate { certificate: pem(certificate), key: pem(key) }
}

#[tokio::test]
async fn a_proxy_forwards_requests_without_tls() {
    let server = ScriptedUpstream::start().await;
    server.script(PATH, Script::json(GOOD));
    let proxy = ForwardProxy::start(server.address()).await;
    let source = OneSource::of(
        "okta",
        &Upstream { proxy: Some(proxy.url()), ..settings("http://api.invalid:8080") },
    );
    assert_eq!(source.fetch().await.unwrap(), GOOD.as_bytes());
    let heads = proxy.heads();
    assert!(heads[0].starts_with(&format!("GET http://api.invalid:8080{PATH} HTTP/1.1\r\n")));
    let expected = format!("Basic {SECRET_ENCODED}");
    assert_eq!(server.seen()[0].header("authorization"), Some(&*expected));
}

#[tokio::test]
async fn a_proxy_tunnels_requests_with_tls_and_sees_no_credentials() {
    let authority = Authority::new("private");
    let server =
        ScriptedUpstream::start_tls(authority.server(HTTP_1, &["api.invalid"], |_| {})).await;
    server.script(PATH, Script::json(GOOD));
    let proxy = ForwardProxy::start(server.address()).await;
    let source = OneSource::of(
        "okta",
        &Upstream {
            proxy: Some(proxy.url()),
            ca: Some(pem(authority.pem())),
            ..settings("https://api.invalid")
        },
    );
    assert_eq!(source.fetch().await.unwrap(), GOOD.as_bytes());
    let heads = proxy.heads();
    assert!(heads[0].starts_with("CONNECT api.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(!heads[0].to_lowercase().contains("basic"), "{heads:?}");
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_as_the_cause() {
    let refusing = ForwardProxy::refusing().await;
    let gone = ForwardProxy::refusing().await.url();
    let cases = [(refusing.url(), "the proxy refused to connect"), (gone, "connection refused")];
    for (proxy, says) in cases {
        let authority = Authority::new("private");
        let source = OneSource::of(
            "okta",
            &Upstream {
                proxy: Some(proxy),
                ca: Some(pem(authority.pem())),
                ..settings("https://api.invalid")
            },
        );
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind, Outcome::Connect);
        let expected = format!("no connection to the upstream through its proxy: {says}");
        assert_eq!(error.detail, expected);
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_by_its_upstream_alone() {
    let (authority, another) = (Authority::new("private"), Authority::new("another"));
    let server =
        ScriptedUpstream::start_tls(authority.server(HTTP_1, &["127.0.0.1"], |_| {})).await;
    server.script(PATH, Script::json(GOOD));
    let with_ca = |authority: &Authority| {
        let ca = Some(pem(authority.pem()));
        OneSource::of("okta", &Upstream { ca, ..settings(&server.base_url()) })
    };
    assert_eq!(with_ca(&authority).fetch().await.unwrap(), GOOD.as_bytes());
    let error = with_ca(&another).fetch().await.unwrap_err();
    assert!(error.detail.contains("ca_file"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_its_lack_is_reported() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = servers.server_for_clients_of(&clients, HTTP_1, &["127.0.0.1"]);
    let server = ScriptedUpstream::start_tls(tls).await;
    server.script(PATH, Script::json(GOOD));
    let with = |client_certificate| {
        let ca = Some(pem(servers.pem()));
        let settings = Upstream { ca, client_certificate, ..settings(&server.base_url()) };
        OneSource::of("okta", &settings)
    };
    let source = with(Some(client_certificate(&clients)));
    assert_eq!(source.fetch().await.unwrap(), GOOD.as_bytes());
    for wrong in [None, Some(client_certificate(&servers))] {
        let error = with(wrong).fetch().await.unwrap_err();
        assert_eq!(error.kind, Outcome::Connect, "{error}");
        assert!(error.detail.contains("client_cert_file"), "{error}");
    }
}

#[tokio::test]
async fn a_token_endpoint_is_called_with_the_same_tls_and_proxy() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = servers.server_for_clients_of(&clients, HTTP_1, &["login.invalid", "api.invalid"]);
    let server = ScriptedUpstream::start_tls(tls).await;
    server.script(PATH, Script::json(GOOD));
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
    let settings = config::Upstream {
        username: None,
        password: None,
        auth: Some(Auth::OAuth2(oauth2)),
        ca: Some(pem(servers.pem())),
        client_certificate: Some(client_certificate(&clients)),
        proxy: Some(proxy.url()),
        timeout: Duration::from_secs(10),
        ..settings("https://api.invalid")
    };
    assert_eq!(OneSource::of("graph", &settings).fetch().await.unwrap(), GOOD.as_bytes());
    let connects: Vec<_> =
        proxy.heads().iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        connects,
        ["CONNECT login.invalid:443 HTTP/1.1", "CONNECT api.invalid:443 HTTP/1.1"]
    );
    assert_eq!(server.seen()[1].header("authorization"), Some("Bearer t1"));
}
