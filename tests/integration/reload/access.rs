//! Who may read after a reload of users, tokens, scopes and hosts.

use std::time::Duration;

use super::{CREDENTIALS, config, start};
use crate::support::client::{Client, get, get_with};
use crate::support::gateway::good_upstream;
use crate::support::reloadable::{CONFIG, Event, Files, Reloadable};
use crate::support::scripted_upstream::ScriptedUpstream;
use crate::support::tokens::lines;

/// How long something that should not happen is waited for.
pub(super) const NEVER: Duration = Duration::from_millis(300);

/// How long something may take that happens at once.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);

/// The line of a user, with the cheapest hash.
fn user(name: &str, password: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
}

// `alice:first`, `alice:second` and `bob:third`.
const ALICE: &str = "Basic YWxpY2U6Zmlyc3Q=";
const ALICE_CHANGED: &str = "Basic YWxpY2U6c2Vjb25k";
const BOB: &str = "Basic Ym9iOnRoaXJk";
const ROBOT: &str = "Bearer robots-token-1";

/// A gateway with two users and a token.
async fn with_sign_in(upstream: &ScriptedUpstream) -> Reloadable {
    let files = Files::new("");
    files.write("users", user("alice", "first") + &user("bob", "third"));
    files.write("tokens", lines(&[("robots-token-1", "all")]));
    files.write(CONFIG, signing_in(&files, upstream, ""));
    let gateway = Reloadable::start(files, &CREDENTIALS).await;
    assert_eq!(status(&gateway, "/incidents?complete=true", ALICE).await, 200);
    gateway
}

fn signing_in(files: &Files, upstream: &ScriptedUpstream, settings: &str) -> String {
    let (users, tokens) = (files.name("users"), files.name("tokens"));
    let auth = format!("auth: {{ users_file: '{users}', tokens_file: '{tokens}' }}");
    config(upstream, &format!("cache: {{ ttl: 1h }}\n{auth}\n{settings}"))
}

async fn status(gateway: &Reloadable, path: &str, authorization: &str) -> u16 {
    get_with(gateway.process.address, path, &[("Authorization", authorization)]).await.status
}

/// An open event stream.
pub(super) async fn stream(gateway: &Reloadable, authorization: Option<&str>) -> Client {
    let mut client = Client::connect(gateway.process.address).await.unwrap();
    let header = authorization.map(|value| format!("Authorization: {value}\r\n"));
    let header = header.unwrap_or_default();
    let request =
        format!("GET /events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\n");
    client.send(request).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    client
}

#[tokio::test]
async fn a_removed_user_is_refused_and_their_stream_ends() {
    let upstream = good_upstream().await;
    let gateway = with_sign_in(&upstream).await;
    let mut alices = stream(&gateway, Some(ALICE)).await;
    let mut bobs = stream(&gateway, Some(BOB)).await;
    let mut open = Client::connect(gateway.process.address).await.unwrap();
    assert_eq!(open.get("/incidents", &[("Authorization", ALICE)]).await.unwrap().status, 200);
    let all = std::fs::read_to_string(gateway.files.path("users")).unwrap();
    let bob = all.lines().find(|line| line.starts_with("bob")).unwrap().to_owned() + "\n";
    let users = bob.clone();
    let changes = gateway.change_validly(|files| files.write("users", users)).await;
    assert_eq!(changes, format!("auth.users_file ({})", gateway.files.name("users")));
    assert!(alices.is_ended_within(AT_ONCE).await, "the stream of the removed user");
    assert_eq!(status(&gateway, "/incidents", BOB).await, 200);
    let refused = open.get("/incidents", &[("Authorization", ALICE)]).await.unwrap();
    assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"));

    let comment = format!("# a comment\n{bob}");
    assert!(gateway.change(|files| files.write("users", comment)).await.is_empty());
    gateway.change_validly(|files| files.write("users", bob + &user("alice", "second"))).await;
    assert!(!bobs.is_ended_within(NEVER).await, "the stream of a user who stays");
    assert_eq!(status(&gateway, "/incidents", ALICE).await, 401, "another password now");
    assert_eq!(status(&gateway, "/incidents", ALICE_CHANGED).await, 200);
    let events = gateway.events();
    for secret in ["YWxpY2U6", "first", "$2b$", "$2y$"] {
        assert!(events.iter().all(|event| !event.line.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn a_remembered_password_does_not_survive_its_change() {
    let upstream = good_upstream().await;
    let gateway = with_sign_in(&upstream).await;
    let mut alices = stream(&gateway, Some(ALICE)).await;
    for _ in 0..3 {
        assert_eq!(status(&gateway, "/incidents", ALICE).await, 200);
    }
    let users = user("alice", "second") + &user("bob", "third");
    gateway.change_validly(|files| files.write("users", users)).await;
    assert_eq!(status(&gateway, "/incidents", ALICE).await, 401);
    assert_eq!(status(&gateway, "/incidents", ALICE_CHANGED).await, 200);
    assert!(alices.is_ended_within(AT_ONCE).await);
}

#[tokio::test]
async fn a_token_gets_another_scope_and_goes() {
    let upstream = good_upstream().await;
    let gateway = with_sign_in(&upstream).await;
    assert_eq!(status(&gateway, "/unattributed", ROBOT).await, 200);
    let mut everything = stream(&gateway, Some(ROBOT)).await;
    let narrow = lines(&[("robots-token-1", "self=100")]);
    let changes = gateway.change_validly(|files| files.write("tokens", narrow)).await;
    assert_eq!(changes, format!("auth.tokens_file ({})", gateway.files.name("tokens")));
    assert!(everything.is_ended_within(AT_ONCE).await, "a stream of another scope");
    assert_eq!(status(&gateway, "/unattributed", ROBOT).await, 403);
    assert_eq!(status(&gateway, "/incidents/200", ROBOT).await, 403);
    assert_eq!(status(&gateway, "/incidents/100", ROBOT).await, 200);
    let mut own = stream(&gateway, Some(ROBOT)).await;
    let other = lines(&[("another-token", "all")]);
    gateway.change_validly(|files| files.write("tokens", other)).await;
    assert_eq!(status(&gateway, "/incidents", ROBOT).await, 401);
    assert!(own.is_ended_within(AT_ONCE).await, "the stream of a removed token");
}

#[tokio::test]
async fn what_a_reload_makes_doubtful_is_warned_of_once() {
    let upstream = good_upstream().await;
    let gateway = with_sign_in(&upstream).await;
    let warnings = || gateway.events().iter().filter(|event| event.level == "WARN").count();
    assert_eq!(warnings(), 0);
    gateway.change_validly(|files| files.write("tokens", "# nobody\n")).await;
    let warning = gateway.event_after(0, |event| event.level == "WARN").await;
    assert!(warning.message.contains(&gateway.files.name("tokens")), "{warning:?}");
    let users = user("alice", "second");
    gateway.change_validly(|files| files.write("users", users)).await;
    assert_eq!(warnings(), 1, "{:#?}", gateway.events());
}

#[tokio::test]
async fn faulty_files_of_users_and_tokens_are_refused_together() {
    let upstream = good_upstream().await;
    let gateway = with_sign_in(&upstream).await;
    let mut alices = stream(&gateway, Some(ALICE)).await;
    let error = gateway
        .change_invalidly(|files| {
            // Replaced one after another, but seen together.
            files.write("users", user("alice", "first") + "bob:{SHA}hunter2\n");
            files.write("tokens", "robot:not-a-digest\n");
        })
        .await;
    let faults = error.field("faults");
    for part in [gateway.files.name("users"), gateway.files.name("tokens")] {
        assert!(faults.contains(&part), "{part} in {faults}");
    }
    assert!(faults.contains('2') && !faults.contains("hunter2"), "{faults}");
    assert!(!faults.contains("not-a-digest"), "{faults}");
    assert_eq!(status(&gateway, "/incidents", ALICE).await, 200);
    assert_eq!(status(&gateway, "/incidents", ROBOT).await, 200);
    assert!(!alices.is_ended_within(NEVER).await);
}

#[tokio::test]
async fn sign_in_can_be_turned_on_and_off() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "cache: { ttl: 1h }").await;
    let mut anyones = stream(&gateway, None).await;
    gateway.files.write("users", user("alice", "first"));
    gateway.files.write("tokens", lines(&[("robots-token-1", "metrics")]));
    let on = signing_in(&gateway.files, &upstream, "");
    let changes = gateway.change_validly(|files| files.write(CONFIG, on)).await;
    assert_eq!(changes, "auth.users_file, auth.tokens_file");
    assert!(anyones.is_ended_within(AT_ONCE).await, "a stream without credentials");
    let refused = get(gateway.process.address, "/incidents").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").contains("Basic"));
    assert_eq!(status(&gateway, "/incidents", ALICE).await, 200);
    assert_eq!(get(gateway.process.admin_address, "/metrics").await.status, 200);

    let admin = signing_in(&gateway.files, &upstream, "admin: { auth: true }");
    let changes = gateway.change_validly(|files| files.write(CONFIG, admin)).await;
    assert_eq!(changes, "admin.auth");
    assert_eq!(get(gateway.process.admin_address, "/metrics").await.status, 401);
    assert_eq!(get(gateway.process.admin_address, "/readyz").await.status, 200);
    let with_token = [("Authorization", ROBOT)];
    let metrics = get_with(gateway.process.admin_address, "/metrics", &with_token).await;
    assert_eq!(metrics.status, 200);

    let off = config(&upstream, "cache: { ttl: 1h }");
    let is_warning = |event: &Event| event.message.starts_with("access control is gone");
    assert!(!gateway.events().iter().any(is_warning));
    gateway.change_validly(|files| files.write(CONFIG, off)).await;
    assert_eq!(gateway.events().iter().filter(|event| is_warning(event)).count(), 1);
    assert_eq!(get(gateway.process.address, "/incidents").await.status, 200);
    assert_eq!(get(gateway.process.admin_address, "/metrics").await.status, 200);
}

#[tokio::test]
async fn the_allowed_hosts_follow() {
    let upstream = good_upstream().await;
    let gateway = start(&upstream, "cache: { ttl: 1h }").await;
    let mut open = Client::connect(gateway.process.address).await.unwrap();
    assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200);
    let strict = config(&upstream, "cache: { ttl: 1h }\nallowed_hosts: [ gateway.example ]");
    let changes = gateway.change_validly(|files| files.write(CONFIG, strict)).await;
    assert_eq!(changes, "allowed_hosts");
    let misdirected = open.get("/incidents", &[]).await.unwrap();
    assert_eq!((misdirected.status, misdirected.problem().as_str()), (421, "misdirected"));
    let wider = config(&upstream, "cache: { ttl: 1h }\nallowed_hosts: [ gateway.example, Test ]");
    gateway.change_validly(|files| files.write(CONFIG, wider)).await;
    assert_eq!(open.get("/incidents", &[]).await.unwrap().status, 200);
}
