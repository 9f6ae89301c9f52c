//! HTTPS: what is trusted, what is said where it is not, and what is offered.
//!
//! Which authorities are trusted comes from the process's environment, so each case runs in a
//! process of its own: this binary again, told to run the one ignored test, [`child`].

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::one_source::get;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use incident_gateway::config::{self, Config};
use incident_gateway::metrics;
use incident_gateway::upstream::{CallContext, Upstream, UpstreamMetrics};
use tokio::process::Command;

const BASE_URL: &str = "TEST_BASE_URL";
const CA_FILE: &str = "TEST_CA_FILE";
const GOOD: &str = r#"{"results":[]}"#;
const HTTP_1: &[u8] = b"http/1.1";

/// One call by another process that trusts what is in this file; what came of it.
async fn call(base_url: &str, trusted: &Path) -> String {
    call_with_ca(base_url, trusted, None).await
}

/// The same with the upstream's own file of authorities.
async fn call_with_ca(base_url: &str, trusted: &Path, ca: Option<&Path>) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "upstream_tls::child", "--ignored", "--nocapture"])
        .env(BASE_URL, base_url)
        .env("SSL_CERT_FILE", trusted)
        .env("SSL_CERT_DIR", trusted.with_extension("d"))
        // Proxies are never taken from the environment.
        .envs(["http_proxy", "https_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .envs(ca.map(|ca| (CA_FILE, ca)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let result = output.lines().find_map(|line| Some(line.split_once("RESULT ")?.1.to_owned()));
    result.unwrap_or_else(|| panic!("no result in {output}"))
}

#[tokio::test]
#[ignore = "run by the other tests, in a process of its own"]
async fn child() {
    let Ok(base_url) = std::env::var(BASE_URL) else {
        return println!("this is no test of its own");
    };
    let ca = std::env::var(CA_FILE).ok().map(|path| config::PemFile {
        pem: std::fs::read(&path).unwrap().into(),
        path: path.into(),
    });
    let settings = config::Upstream {
        ca,
        base_url: base_url.parse().unwrap(),
        timeout: Duration::from_secs(5),
        retries: 0,
        ..Config::default().upstream
    };
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let result = match Upstream::new("default", &settings, &["denial".into()], &metrics, 1) {
        Err(error) => format!("setup: {error}"),
        Ok(upstream) => {
            match upstream.fetch(0, get(&upstream, "/incidents/"), CallContext::default()).await {
                Err(error) => error.to_string(),
                Ok(fetched) => String::from_utf8(fetched.accept().to_vec()).unwrap(),
            }
        }
    };
    println!("RESULT {result}");
}

#[tokio::test]
async fn trusts_the_authorities_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, another) = (Authority::new("one"), Authority::new("another"));
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();

    let day = Duration::from_hours(24);
    let now = std::time::SystemTime::now();
    let cases = [
        (authority.server(HTTP_1, &["127.0.0.1"], |_| {}), GOOD),
        (
            another.server(HTTP_1, &["127.0.0.1"], |_| {}),
            "signed by no known authority; SSL_CERT_FILE",
        ),
        (
            authority.server(HTTP_1, &["example.test"], |_| {}),
            "its certificate is for another host name",
        ),
        (
            authority
                .server(HTTP_1, &["127.0.0.1"], |params| params.not_after = (now - day).into()),
            "its certificate has expired",
        ),
        (
            authority
                .server(HTTP_1, &["127.0.0.1"], |params| params.not_before = (now + day).into()),
            "not valid yet",
        ),
    ];
    for (config, expected) in cases {
        let server = ScriptedUpstream::start_tls(config).await;
        server.script("/incidents/", Script::json(GOOD));
        let result = call(&server.base_url(), &trusted).await;
        assert!(result.contains(expected), "{result:?} does not say {expected:?}");
        assert!(result == GOOD || result.starts_with("connect: "), "{result}");
        assert_eq!(
            server.alpn_offered(),
            [b"h2".to_vec(), b"http/1.1".to_vec()],
            "HTTP/2 where it is offered"
        );
    }
}

#[tokio::test]
async fn plain_http_on_an_https_port_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, Authority::new("one").pem()).unwrap();
    let server = ScriptedUpstream::start().await;
    let result = call(&server.base_url().replace("http:", "https:"), &trusted).await;
    assert!(result.starts_with("connect: "), "{result}");
}

#[tokio::test]
async fn without_authorities_http_works_and_https_reports_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("missing.pem");
    let server = ScriptedUpstream::start().await;
    server.script("/incidents/", Script::json(GOOD));
    assert_eq!(call(&server.base_url(), &nothing).await, GOOD);
    let result = call(&server.base_url().replace("http:", "https:"), &nothing).await;
    assert!(result.starts_with("setup: ") && result.contains("SSL_CERT_FILE"), "{result}");
}

#[tokio::test]
async fn an_upstreams_own_authorities_are_trusted_beside_the_systems() {
    let folder = tempfile::tempdir().unwrap();
    let (own, system) = (Authority::new("own"), Authority::new("system"));
    let [ca, trusted, nothing] =
        ["ca.pem", "trusted.pem", "missing.pem"].map(|name| folder.path().join(name));
    std::fs::write(&ca, own.pem()).unwrap();
    std::fs::write(&trusted, system.pem()).unwrap();
    let cases = [
        (&own, &trusted, true),
        (&system, &trusted, true),
        (&own, &nothing, true),
        (&system, &nothing, false),
    ];
    for (authority, trusted, is_trusted) in cases {
        let tls = authority.server(HTTP_1, &["127.0.0.1"], |_| {});
        let server = ScriptedUpstream::start_tls(tls).await;
        server.script("/incidents/", Script::json(GOOD));
        let result = call_with_ca(&server.base_url(), trusted, Some(&ca)).await;
        assert_eq!(result == GOOD, is_trusted, "{result}");
    }
}
