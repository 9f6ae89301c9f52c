//! What the gateway fetches after a reload: sources, upstreams, their secrets and authorities.

use std::time::Duration;

use tokio::time::sleep;

use super::{CREDENTIALS, config, start, until, wait_until_complete};
use crate::support::authority::Authority;
use crate::support::client::get;
use crate::support::gateway::{GOOD, good_upstream, path};
use crate::support::reloadable::{CONFIG, Files, Reloadable};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

#[tokio::test]
async fn sources_that_did_not_change_are_not_called_again() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "cache: { ttl: 1h }").await;
    let calls = || GOOD.iter().enumerate().map(|(source, _)| upstream.calls(&path(source)));
    let before: Vec<_> = calls().collect();
    let other = config(&upstream, "cache: { ttl: 1h }\nresponse_budget: 1s");
    gateway.change_validly(|files| files.write(CONFIG, other)).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(calls().collect::<Vec<_>>(), before);
}

/// How often each source was called, identities first.
fn calls(upstream: &ScriptedUpstream) -> Vec<usize> {
    (0..GOOD.len()).map(|source| upstream.calls(&path(source))).collect()
}

/// The names of the sources that `/sources` lists, in its order.
async fn source_names(gateway: &Reloadable) -> String {
    let sources = get(gateway.process.address, "/sources").await.json();
    let names: Vec<_> = sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["name"].as_str().unwrap().to_owned())
        .collect();
    names.join(" ")
}

#[tokio::test]
async fn sources_are_added_changed_and_removed_by_name() {
    let upstream = good_upstream().await;
    let source = |name: &str, identity: &str, path: &str| {
        format!("{{ name: {name}, path: {path}, identity: {identity} }}")
    };
    let (denial, misuse, probing) = (
        source("denial", "reported_by", "/incidents/denial/"),
        source("misuse", "employee_id", "/incidents/misuse/"),
        source("probing", "ip", "/incidents/probing/"),
    );
    let settings = |sources: &[&String]| {
        let sources: Vec<&str> = sources.iter().map(|source| source.as_str()).collect();
        format!("cache: {{ ttl: 1h }}\nsources: [ {} ]", sources.join(", "))
    };
    let gateway = start(&upstream, &settings(&[&denial, &misuse])).await;
    let before = calls(&upstream);
    let (misuse_elsewhere, body) =
        (source("misuse", "employee_id", "/elsewhere/"), r#"{"results":[]}"#);
    let held = Script::from(Reply::json(body).after(Duration::from_millis(600)));
    upstream.script("/elsewhere/", held);
    let other = config(&upstream, &settings(&[&probing, &denial, &misuse_elsewhere]));
    let changes = gateway.change_validly(|files| files.write(CONFIG, other)).await;
    assert_eq!(changes, "sources.misuse, sources.probing (added)");
    let document = get(gateway.process.address, "/incidents").await;
    assert!(document.text().contains("misuse"), "the old data stands in: {}", document.text());
    until("new data", async || {
        let document = get(gateway.process.address, "/incidents").await;
        assert_eq!(document.status, 200);
        document.text().contains("probing") && !document.text().contains("misuse")
    })
    .await;
    assert_eq!(source_names(&gateway).await, "identities probing denial misuse");
    assert_eq!(upstream.calls("/elsewhere/"), 1);
    let mut expected = before.clone();
    expected[6] += 1;
    assert_eq!(calls(&upstream), expected, "only the new source is called");

    let fewer = config(&upstream, &settings(&[&probing]));
    let changes = gateway.change_validly(|files| files.write(CONFIG, fewer)).await;
    assert_eq!(changes, "sources.denial (removed), sources.misuse (removed)");
    until("without it", async || source_names(&gateway).await == "identities probing").await;
    let filter = get(gateway.process.address, "/incidents?type=denial").await;
    assert_eq!(filter.status, 400, "{}", filter.text());
    assert_eq!(calls(&upstream), expected);
}

#[tokio::test]
async fn secrets_and_authorities_of_upstreams_are_read_again() {
    let authority = Authority::new("first");
    let other = Authority::new("second");
    let tls = |authority: &Authority| authority.server(b"http/1.1", &["localhost"], |_| {});
    let upstream = ScriptedUpstream::start_tls(tls(&authority)).await;
    upstream.script("/", Script::json(r#"{"results":[]}"#));
    upstream.script("/identities/", Script::json("{}"));
    let files = Files::new("");
    let url = format!("https://localhost:{}", upstream.address().port());
    let text = format!(
        "upstream: {{ base_url: '{url}', password_file: '{}', ca_file: '{}', retries: 0 }}
cache: {{ ttl: 1h }}
sources: [ {{ name: only, path: /, identity: employee_id }} ]",
        files.name("password"),
        files.name("ca.crt"),
    );
    files.write(CONFIG, text);
    files.write("password", "first password\n");
    files.write("ca.crt", other.pem());
    let gateway = Reloadable::start(files, &CREDENTIALS[..1]).await;
    let sent = |upstream: &ScriptedUpstream| {
        let seen = upstream.seen();
        seen.last().and_then(|seen| seen.header("authorization").map(ToOwned::to_owned))
    };
    until("a failure", async || {
        let sources = get(gateway.process.address, "/sources").await.json();
        sources["sources"][1]["last_error"].as_str().is_some_and(|error| error.contains("connect"))
    })
    .await;

    let changes = gateway.change_validly(|files| files.write("ca.crt", authority.pem())).await;
    assert_eq!(changes, format!("upstream.ca_file ({})", gateway.files.name("ca.crt")));
    wait_until_complete(&gateway).await;
    // `reader:first password` and `reader:second password`.
    let (first, second) =
        ("Basic cmVhZGVyOmZpcnN0IHBhc3N3b3Jk", "Basic cmVhZGVyOnNlY29uZCBwYXNzd29yZA==");
    assert_eq!(sent(&upstream).as_deref(), Some(first));

    let changes =
        gateway.change_validly(|files| files.write("password", "second password\n")).await;
    assert_eq!(changes, "upstream.password");
    until("the other password", async || sent(&upstream).as_deref() == Some(second)).await;
    assert!(gateway.events().iter().all(|event| !event.line.contains("second password")));

    let error = gateway.change_invalidly(|files| files.write("password", "\n")).await;
    assert!(error.field("faults").contains(&gateway.files.name("password")), "{}", error.line);
    let error = gateway.change(|files| files.write("ca.crt", "no certificate")).await;
    assert!(error[0].field("faults").matches(" | ").count() == 1, "both faults: {error:?}");
}

#[tokio::test]
async fn a_client_secret_in_a_file_is_read_again() {
    let upstream = good_upstream().await;
    let token = r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#;
    upstream.script("/token", Script::json(token));
    let files = Files::new("");
    let oauth2 = format!(
        "{{ token_url: '{}/token', client_id: gateway, client_secret_file: '{}' }}",
        upstream.base_url(),
        files.name("secret")
    );
    files.write("secret", "first");
    files.write(
        CONFIG,
        format!(
            "upstream: {{ base_url: '{}', auth: {{ oauth2: {oauth2} }} }}\ncache: {{ ttl: 1h }}",
            upstream.base_url()
        ),
    );
    let gateway = Reloadable::start(files, &[]).await;
    wait_until_complete(&gateway).await;
    let secret_sent = |secret: &str| {
        let wanted = format!("client_secret={secret}");
        upstream.seen().iter().any(|seen| seen.path == "/token" && seen.body.contains(&wanted))
    };
    assert!(secret_sent("first"));
    let changes = gateway.change_validly(|files| files.write("secret", "second")).await;
    assert_eq!(changes, "upstream.auth");
    until("a token by the other secret", async || secret_sent("second")).await;
}

/// A secret that a variable names counts, too.
#[tokio::test]
async fn a_password_file_of_the_environment_is_read_again() {
    let upstream = good_upstream().await;
    let files = Files::new(&config(&upstream, "cache: { ttl: 1h }"));
    files.write("password", "one");
    let name = files.name("password");
    let variables = [CREDENTIALS[0], ("ELEVATE_PASSWORD_FILE", name.as_str())];
    let gateway = Reloadable::start(files, &variables).await;
    wait_until_complete(&gateway).await;
    let changes = gateway.change_validly(|files| files.write("password", "two")).await;
    assert_eq!(changes, "upstream.password");
}

#[tokio::test]
async fn the_limits_and_the_size_of_the_cache_follow() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "cache: { ttl: 1h }").await;
    let address = gateway.process.address;
    let whole = get(address, "/incidents").await;
    let before = calls(&upstream);
    let small = config(
        &upstream,
        "cache: { ttl: 1h, max_bytes: 1MiB }\nlimits: { max_renders: 1, max_requests: 1 }",
    );
    let changes = gateway.change_validly(|files| files.write(CONFIG, small)).await;
    assert_eq!(changes, "cache.max_bytes, limits.max_requests, limits.max_renders");
    for _ in 0..3 {
        let again = get(address, "/incidents").await;
        assert_eq!((again.status, &again.body), (200, &whole.body));
    }
    assert_eq!(calls(&upstream), before);
}
