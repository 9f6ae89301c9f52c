//! The reload, by the built binary and real files: what takes effect, what is refused, and what is
//! logged and counted about it.

mod access;
mod forwards;
mod jwt;
mod sources;
mod tls;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::support::authority::Authority;
use crate::support::client::{Client, get};
use crate::support::gateway::good_upstream;
use crate::support::reloadable::{
    CONFIG, Files, INVALID, NEEDS_RESTART, RELOADED, Reloadable, SAME_AGAIN, UNUSABLE,
};
use crate::support::scripted_upstream::ScriptedUpstream;

const CREDENTIALS: [(&str, &str); 2] =
    [("ELEVATE_USERNAME", "reader"), ("ELEVATE_PASSWORD", "secret")];

/// A configuration of this upstream, with further settings.
fn config(upstream: &ScriptedUpstream, settings: &str) -> String {
    format!("upstream: {{ base_url: '{}' }}\n{settings}\n", upstream.base_url())
}

async fn start(upstream: &ScriptedUpstream, settings: &str) -> Reloadable {
    let gateway = Reloadable::start(Files::new(&config(upstream, settings)), &CREDENTIALS).await;
    wait_until_complete(&gateway).await;
    gateway
}

async fn wait_until_complete(gateway: &Reloadable) {
    let answer = get(gateway.process.address, "/incidents?complete=true").await;
    if answer.status != 200 {
        sleep(Duration::from_millis(50)).await;
        Box::pin(wait_until_complete(gateway)).await;
    }
}

/// Waits for a condition on what the gateway answers.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(30), "never {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The value of a metric without labels.
async fn metric(gateway: &Reloadable, name: &str) -> f64 {
    let page = get(gateway.process.admin_address, "/metrics").await;
    let name = format!("incident_gateway_{name} ");
    let line = page.text().lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

async fn is_successful(gateway: &Reloadable) -> bool {
    metric(gateway, "config_last_reload_successful").await > 0.5
}

#[tokio::test]
async fn a_signal_puts_a_changed_file_into_effect() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "").await;
    assert!(is_successful(&gateway).await, "from the start");
    let started_at = metric(&gateway, "config_last_reload_success_timestamp_seconds").await;
    assert!(started_at > 1.7e9);

    assert!(gateway.change(|_| ()).await.is_empty(), "nothing has changed");
    let same = config(&upstream, "# a comment");
    assert!(gateway.change(|files| files.write(CONFIG, same)).await.is_empty());
    let after = metric(&gateway, "config_last_reload_success_timestamp_seconds").await;
    assert!((after - started_at).abs() < f64::EPSILON);

    let other = config(&upstream, "response_budget: 1s\nlimits: { max_events: 1 }");
    let mut open = Client::connect(gateway.process.address).await.unwrap();
    open.get("/incidents", &[]).await.unwrap();
    let changes = gateway.change_validly(|files| files.write(CONFIG, other)).await;
    assert_eq!(changes, "response_budget, limits.max_events");
    assert!(metric(&gateway, "config_last_reload_success_timestamp_seconds").await > after);
    assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200, "connections stay");

    let mut stream = Client::connect(gateway.process.address).await.unwrap();
    stream.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let began = Instant::now();
    while get_events_status(&gateway).await != 503 {
        assert!(began.elapsed() < Duration::from_secs(20), "the stream is open");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The status of another event stream, which is closed at once.
async fn get_events_status(gateway: &Reloadable) -> u16 {
    let mut client = Client::connect(gateway.process.address).await.unwrap();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    client.answer().await.unwrap().status
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_logged_once() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "response_budget: 1s").await;
    let invalid = config(&upstream, "response_budget: never\ncache: { ttl: 0 }\nlimit: {}");
    let error = gateway.change_invalidly(|files| files.write(CONFIG, &invalid)).await;
    assert_eq!(error.message, INVALID);
    for part in ["gateway.yaml:2:", "gateway.yaml:3:", "gateway.yaml:4:", "`limit"] {
        assert!(error.field("faults").contains(part), "{part} in {}", error.line);
    }
    assert!(!error.line.contains("secret"), "{}", error.line);
    assert!(!is_successful(&gateway).await);
    assert_eq!(get(gateway.process.address, "/incidents").await.status, 200);
    assert!(gateway.change(|_| ()).await.is_empty(), "once for the same content");
    let touched = gateway.change(|files| files.write(CONFIG, &invalid)).await;
    assert!(touched.is_empty(), "{touched:?}");

    let other = config(&upstream, "response_budget: 1s\nlimits: 3");
    let error = gateway.change_invalidly(|files| files.write(CONFIG, other)).await;
    assert!(error.field("faults").contains("limits"), "{}", error.line);
    gateway.change_invalidly(|files| files.write(CONFIG, &invalid)).await;

    let first = config(&upstream, "response_budget: 1s");
    let again = gateway.change(|files| files.write(CONFIG, first)).await;
    assert_eq!(again.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(), [SAME_AGAIN]);
    assert!(is_successful(&gateway).await);
    gateway.change_invalidly(|files| files.write(CONFIG, &invalid)).await;
    let valid = config(&upstream, "response_budget: 2s");
    let changes = gateway.change_validly(|files| files.write(CONFIG, valid)).await;
    assert_eq!(changes, "response_budget");
    assert!(is_successful(&gateway).await);
    let missing = gateway.change_invalidly(|files| fs::remove_file(files.path(CONFIG)).unwrap());
    assert!(missing.await.field("faults").contains("gateway.yaml"));
    assert_eq!(get(gateway.process.address, "/incidents").await.status, 200);
}

#[tokio::test]
async fn an_empty_file_is_a_fault_unless_it_was_always_empty() {
    let upstream = good_upstream().await;
    let url = upstream.base_url();
    let variables = [CREDENTIALS[0], CREDENTIALS[1], ("ELEVATE_BASE_URL", &url)];
    let gateway = Reloadable::start(Files::new(""), &variables).await;
    assert!(gateway.change(|_| ()).await.is_empty());
    let settings = |files: &Files| files.write(CONFIG, "response_budget: 1s");
    assert_eq!(gateway.change_validly(settings).await, "response_budget");
    let error = gateway.change_invalidly(|files| files.write(CONFIG, "")).await;
    assert!(error.field("faults").contains("gateway.yaml has no settings"), "{}", error.line);
}

#[tokio::test]
async fn a_changed_file_is_found_without_a_signal() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "").await;
    let mark = gateway.mark();
    gateway.files.write(CONFIG, config(&upstream, "response_budget: 1s"));
    let began = Instant::now();
    let event = gateway.event_after(mark, |event| event.message == RELOADED).await;
    assert_eq!(event.field("changed"), "response_budget");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Kubernetes mounts `name -> ..data/name` and `..data -> ..2026_…`, and replaces the latter.
#[tokio::test]
async fn the_symbolic_links_of_kubernetes_are_followed() {
    let upstream = good_upstream().await;
    let files = Files::new("");
    let version = |name: &str, settings: &str| {
        fs::create_dir(files.path(name)).unwrap();
        fs::write(files.path(name).join(CONFIG), config(&upstream, settings)).unwrap();
    };
    version("..1", "response_budget: 1s");
    version("..2", "response_budget: 2s");
    version("..3", "response_budget: never");
    files.link("..data", "..1");
    files.link(CONFIG, format!("..data/{CONFIG}"));
    let gateway = Reloadable::start(files, &CREDENTIALS).await;
    let changes = gateway.change_validly(|files| files.link("..data", "..2")).await;
    assert_eq!(changes, "response_budget");
    gateway.change_invalidly(|files| files.link("..data", "..3")).await;
    let again = gateway.change(|files| files.link("..data", "..2")).await;
    assert_eq!(again[0].message, SAME_AGAIN);
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_and_stay() {
    let upstream = good_upstream().await;
    let text = |settings: &str| format!("{}log_format: json\n{settings}\n", config(&upstream, ""));
    let gateway = Reloadable::start(Files::new(&text("")), &CREDENTIALS).await;
    let collector = "otlp: { endpoint: 'http://127.0.0.1:9/v1/traces' }";
    let other = text(&format!("{collector}\nresponse_budget: 1s")).replace("json", "text");
    let events = gateway.change(|files| files.write(CONFIG, other)).await;
    let [reloaded, warning] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(reloaded.field("changed"), "response_budget");
    assert_eq!((warning.level.as_str(), warning.message.as_str()), ("WARN", NEEDS_RESTART));
    assert_eq!(warning.field("settings"), "log_format, otlp");
    assert!(is_successful(&gateway).await);
    let back = text("response_budget: 1s");
    let events = gateway.change(|files| files.write(CONFIG, back)).await;
    assert_eq!(events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(), [SAME_AGAIN]);
}

#[tokio::test]
async fn flags_and_variables_stay_above_the_file() {
    let upstream = good_upstream().await;
    let files = Files::new(&config(&upstream, ""));
    let variables =
        [CREDENTIALS[0], CREDENTIALS[1], ("INCIDENT_GATEWAY__RESPONSE_BUDGET", "1500ms")];
    let gateway = Reloadable::start(files, &variables).await;
    let (address, listen) = (gateway.process.address, "listen: '127.0.0.1:1'");
    let overridden = config(&upstream, &format!("response_budget: 1s\n{listen}"));
    assert!(gateway.change(|files| files.write(CONFIG, overridden)).await.is_empty());
    assert_eq!(get(address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn addresses_and_what_listeners_speak_need_a_restart() {
    let upstream = good_upstream().await;
    let text = |listen: &str, admin: &str, settings: &str| {
        config(&upstream, &format!("listen: '{listen}'\nadmin_listen: '{admin}'\n{settings}"))
    };
    let (any, taken) = ("127.0.0.1:0", "127.0.0.1:1");
    let files = Files::new(&text(any, any, ""));
    let (certificate, key) = Authority::new("authority").client();
    files.write("tls.crt", certificate);
    files.write("tls.key", key);
    let tls = |more: &str| {
        format!(
            "tls: {{ cert_file: '{}', key_file: '{}' }}\nresponse_budget: 1s\n{more}",
            files.name("tls.crt"),
            files.name("tls.key")
        )
    };
    let (tls, admin) = (tls(""), tls("admin: { tls: true }"));
    let gateway = Reloadable::start_with(files, &[], &CREDENTIALS).await;
    let cases = [
        (text(taken, any, ""), "", "listen"),
        (text(any, taken, ""), "", "admin_listen"),
        (text(any, any, &tls), "response_budget", "tls"),
        (text(any, any, &admin), "", "tls, admin.tls"),
    ];
    for (text, changed, kept) in cases {
        let events = gateway.change(|files| files.write(CONFIG, text)).await;
        let (warning, changes) = events.split_last().unwrap();
        assert_eq!((warning.message.as_str(), warning.field("settings")), (NEEDS_RESTART, kept));
        let changes: Vec<_> = changes.iter().map(|event| event.field("changed")).collect();
        assert_eq!(changes.join(", "), changed, "beside {kept}");
        assert_eq!(get(gateway.process.address, "/healthz").await.status, 200);
        assert_eq!(get(gateway.process.admin_address, "/healthz").await.status, 200);
    }
    assert!(is_successful(&gateway).await);
}

/// Each setting of this source is valid by itself.
#[tokio::test]
async fn a_configuration_that_cannot_be_set_up_is_refused_once() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "cache: { ttl: 1h }").await;
    let source = "{ name: only, path: /, identity: who, query: { from: abc }, \
        next: { offset: from, size: 9 } }";
    let unusable = config(&upstream, &format!("cache: {{ ttl: 1h }}\nsources: [ {source} ]"));
    let error = gateway.change_invalidly(|files| files.write(CONFIG, unusable)).await;
    assert_eq!(error.message, UNUSABLE);
    assert!(error.field("error").contains("source only"), "{}", error.line);
    assert!(!is_successful(&gateway).await);
    assert!(gateway.change(|_| ()).await.is_empty());
    assert_eq!(get(gateway.process.address, "/incidents").await.status, 200);
    let first = config(&upstream, "cache: { ttl: 1h }");
    let again = gateway.change(|files| files.write(CONFIG, first)).await;
    assert_eq!(again[0].message, SAME_AGAIN);
    assert!(is_successful(&gateway).await);
}

#[tokio::test]
async fn the_demo_goes_on_under_another_configuration() {
    let flags = ["--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let files = Files::new("cache: { ttl: 1h }");
    let gateway = Reloadable::start_with(files, &flags, &[]).await;
    wait_until_complete(&gateway).await;
    let before = get(gateway.process.address, "/sources").await.json();
    let other = "cache: { ttl: 1h }\nresponse_budget: 1s";
    let changes = gateway.change_validly(|files| files.write(CONFIG, other)).await;
    assert_eq!(changes, "response_budget", "the sources of the demo are the same");
    let after = get(gateway.process.address, "/sources").await.json();
    assert_eq!(after["sources"][1]["last_success"], before["sources"][1]["last_success"]);
}

#[tokio::test]
async fn reloads_go_on_while_the_process_drains() {
    let upstream = good_upstream().await;
    let mut gateway = start(&upstream, "shutdown: { drain_delay: 3s }").await;
    gateway.process.signal(Signal::TERM);
    until("draining", async || get(gateway.process.admin_address, "/readyz").await.status == 503)
        .await;
    gateway.files.write(CONFIG, "allowed_hosts: [ gateway.example ]");
    gateway.process.signal(Signal::HUP);
    let address = gateway.process.address;
    until("reloaded", async || get(address, "/incidents").await.status == 421).await;
    let status = gateway.process.ends_within(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0));
}
