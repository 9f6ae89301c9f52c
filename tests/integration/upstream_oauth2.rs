//! Access tokens by the client credentials grant: requests byte for byte, renewal, refusals, and a
//! token endpoint that fails, over real sockets. The clock is moved on only while no call is made.

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::join_all;
use incident_gateway::config::{self, Auth, ClientAuth, OAuth2};
use incident_gateway::metrics::{self, Registry};
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{BreakerState, CallContext, Upstream, UpstreamMetrics};

use crate::support::captured_log::CapturedLog;
use crate::support::metrics_page::calls;
use crate::support::one_source::{GOOD, OneSource, PATH, get, settings};
use crate::support::scripted_upstream::{AcceptMode, Reply, Script, ScriptedUpstream};

const TOKEN_PATH: &str = "/oauth/token";

/// An API and its authorization server.
struct Servers {
    api: ScriptedUpstream,
    issuer: ScriptedUpstream,
}

impl Servers {
    async fn start() -> Self {
        let (api, issuer) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
        api.script(PATH, Script::json(GOOD));
        issuer.script_each(TOKEN_PATH, (1..9).map(|number| token(number, 3600)));
        Self { api, issuer }
    }

    fn oauth2(&self) -> OAuth2 {
        OAuth2 {
            token_url: format!("{}{TOKEN_PATH}", self.issuer.base_url()).parse().unwrap(),
            client_id: "gateway".to_owned(),
            client_secret: "hunter2".into(),
            scope: None,
            audience: None,
            client_auth: ClientAuth::Body,
        }
    }

    fn settings(&self, oauth2: OAuth2) -> config::Upstream {
        config::Upstream {
            username: None,
            password: None,
            auth: Some(Auth::OAuth2(oauth2)),
            timeout: Duration::from_secs(2),
            retries: 2,
            ..settings(&self.api.base_url())
        }
    }

    fn source(&self) -> OneSource {
        OneSource::of("graph", &self.settings(self.oauth2()))
    }

    /// The tokens of the API's requests so far.
    fn used(&self) -> Vec<String> {
        let seen = self.api.seen();
        seen.iter().map(|seen| seen.header("authorization").unwrap_or("none").to_owned()).collect()
    }

    /// How many tokens were requested.
    fn requested(&self) -> usize {
        self.issuer.calls(TOKEN_PATH)
    }
}

fn token(number: usize, seconds: u64) -> Script {
    Script::json(format!(
        r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":{seconds}}}"#
    ))
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_requested_as_rfc_6749_says() {
    let servers = Servers::start().await;
    let named = OAuth2 {
        client_id: "my client:1".to_owned(),
        client_secret: "s%cr=t&+é".into(),
        scope: Some("https://graph.test/.default offline".to_owned()),
        audience: Some("api://x".to_owned()),
        ..servers.oauth2()
    };
    let optional = "&scope=https%3A%2F%2Fgraph.test%2F.default%20offline&audience=api%3A%2F%2Fx";
    let encoded = "s%25cr%3Dt%26%2B%C3%A9";
    let in_body = format!(
        "grant_type=client_credentials{optional}&client_id=my%20client%3A1&client_secret={encoded}"
    );
    let by_basic = OAuth2 { client_auth: ClientAuth::Basic, ..named.clone() };
    let cases = [
        (
            servers.oauth2(),
            "grant_type=client_credentials&client_id=gateway&client_secret=hunter2".to_owned(),
            None,
        ),
        (named, in_body, None),
        (
            by_basic,
            format!("grant_type=client_credentials{optional}"),
            // `my%20client%3A1:s%25cr%3Dt%26%2B%C3%A9`
            Some("Basic bXklMjBjbGllbnQlM0ExOnMlMjVjciUzRHQlMjYlMkIlQzMlQTk="),
        ),
    ];
    for (index, (oauth2, body, authorization)) in cases.into_iter().enumerate() {
        OneSource::of("graph", &servers.settings(oauth2)).fetch().await.unwrap();
        let seen = servers.issuer.seen().remove(index);
        assert_eq!(seen.method, "POST");
        assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!((seen.body.as_str(), seen.header("authorization")), (&*body, authorization));
    }
    assert_eq!(servers.used(), ["Bearer t1", "Bearer t2", "Bearer t3"]);
}

#[tokio::test]
async fn a_token_is_shared_by_all_calls_and_renewed_before_it_expires() {
    let servers = Servers::start().await;
    let names = ["alerts".into(), "users".into()];
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let settings = servers.settings(servers.oauth2());
    let upstream = Upstream::new("graph", &settings, &names, &metrics, 1).unwrap();
    let fetch_all = async || {
        let calls = [0, 1, 0, 1]
            .map(|source| upstream.fetch(source, get(&upstream, PATH), CallContext::default()));
        for answer in join_all(calls).await {
            let _ = answer.unwrap().accept();
        }
    };
    fetch_all().await;
    assert_eq!((servers.requested(), servers.used()), (1, vec!["Bearer t1".to_owned(); 4]));
    pass(Duration::from_secs(3530)).await;
    fetch_all().await;
    assert_eq!(servers.requested(), 1);
    pass(Duration::from_secs(20)).await;
    fetch_all().await;
    assert_eq!(servers.requested(), 2, "it would expire in less than a minute");
    assert_eq!(servers.used()[8..], vec!["Bearer t2".to_owned(); 4]);
}

#[tokio::test]
async fn a_token_is_used_to_its_end_where_it_cannot_be_renewed() {
    let servers = Servers::start().await;
    let source = servers.source();
    source.fetch().await.unwrap();
    servers.issuer.script(TOKEN_PATH, Script::status(500));
    pass(Duration::from_secs(3550)).await;
    for _ in 0..3 {
        source.fetch().await.unwrap();
    }
    assert_eq!(servers.requested(), 2, "a failed renewal is not tried again at once");
    pass(Duration::from_secs(20)).await;
    source.fetch().await.unwrap();
    assert_eq!(servers.requested(), 3);
    assert_eq!(servers.used(), ["Bearer t1"; 5]);
    pass(Duration::from_secs(40)).await;
    assert_eq!(source.fetch().await.unwrap_err().kind, Outcome::Auth);
    assert_eq!(servers.used().len(), 5, "an expired token is not sent");
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let servers = Servers::start().await;
    let source = servers.source();
    source.fetch().await.unwrap();
    servers.api.script_each(PATH, [Script::status(401), Script::json(GOOD)]);
    let answer = source.call(CallContext::default()).await.unwrap();
    assert_eq!((answer.attempts(), answer.accept()), (1, GOOD.into()), "within one attempt");
    assert_eq!(servers.used(), ["Bearer t1", "Bearer t1", "Bearer t2"]);
    let retries = "upstream_retries_total{source=\"denial\"}";
    assert_eq!(crate::support::metrics_page::value(&source.registry, retries), "0");

    servers.api.script(PATH, Script::status(401));
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, error.status.unwrap().as_u16()), (Outcome::Status, 401));
    assert!(error.detail.contains("upstreams.graph.auth"), "{error}");
    assert_eq!(servers.used()[3..], ["Bearer t2", "Bearer t3"], "no third request");
    servers.api.script(PATH, Script::status(403));
    source.fetch().await.unwrap_err();
    assert_eq!(servers.used()[5..], ["Bearer t3"], "a 403 says nothing about the token");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_fails_the_calls_and_is_not_hammered() {
    let refused = |body: &str| Script::from(Reply { status: 400, ..Reply::json(body) });
    let host = "no access token from 127.0.0.1: ";
    let cases = [
        (
            refused(r#"{"error":"invalid_scope"}"#),
            Some(400),
            "(400, invalid_scope); check upstreams.graph.auth",
        ),
        (
            refused(r#"{"error":"hunter2 is wrong"}"#),
            Some(400),
            "(400); check upstreams.graph.auth",
        ),
        (Script::status(401), Some(401), "refused the client (401)"),
        (Script::status(503), Some(503), "it answered 503"),
        (
            Script::Redirect("/elsewhere".to_owned()),
            Some(302),
            "it redirects, which is not followed",
        ),
        (Script::json("<html>hunter2</html>"), Some(200), "not a JSON object with an access_token"),
        (Script::json(vec![b' '; (1 << 20) + 1]), Some(200), "larger than 1 MiB"),
        (Script::Endless, Some(200), "larger than 1 MiB"),
        (Script::Close, None, "the connection broke"),
        (Script::HangBeforeHeaders, None, "no whole answer came within 2s"),
    ];
    let play = async |(script, status, says): (Script, Option<u16>, &str)| {
        let servers = Servers::start().await;
        servers.issuer.script("/elsewhere", token(1, 3600));
        servers.issuer.script(TOKEN_PATH, script);
        let source = servers.source();
        let error = source.fetch().await.unwrap_err();
        assert_eq!(error.kind, Outcome::Auth, "{error}");
        assert_eq!(error.status.map(|status| status.as_u16()), status, "{error}");
        assert!(error.detail.starts_with(host) && error.detail.contains(says), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert_eq!((servers.requested(), servers.api.connections()), (1, 0), "{error}");
        assert_eq!(calls(&source.registry, "denial", "auth"), 1, "{error}");

        servers.issuer.script(TOKEN_PATH, token(1, 3600));
        source.fetch().await.expect(says);
    };
    join_all(cases.into_iter().map(play)).await;
}

#[tokio::test]
async fn failures_to_get_a_token_are_shared_and_open_the_circuit() {
    let servers = Servers::start().await;
    let names = ["alerts".into(), "users".into()];
    let mut registry = Registry::default();
    let metrics = UpstreamMetrics::register(&mut registry);
    let settings = config::Upstream { retries: 0, ..servers.settings(servers.oauth2()) };
    let upstream = Upstream::new("graph", &settings, &names, &metrics, 1).unwrap();
    servers.issuer.set_accept_mode(AcceptMode::Refuse).await;
    let fetch = |source| upstream.fetch(source, get(&upstream, PATH), CallContext::default());
    for _ in 0..5 {
        let error = fetch(0).await.unwrap_err();
        assert_eq!(error.kind, Outcome::Auth);
        assert!(error.detail.ends_with("connection refused"), "{error}");
    }
    assert_eq!(upstream.breaker_state(0), BreakerState::Open);
    assert_eq!(fetch(0).await.unwrap_err().kind, Outcome::CircuitOpen);
    servers.issuer.set_accept_mode(AcceptMode::Serve).await;
    let slow = Reply { status: 503, ..Reply::json("{}") }.after(Duration::from_millis(100));
    servers.issuer.script(TOKEN_PATH, slow);
    for result in join_all([1, 1, 1].map(fetch)).await {
        assert_eq!(result.unwrap_err().kind, Outcome::Auth);
    }
    assert_eq!(servers.requested(), 1, "one request for all that wait");
}

#[tokio::test]
async fn a_token_endpoint_that_is_unavailable_is_asked_again_within_the_budget() {
    let servers = Servers::start().await;
    let source = servers.source();
    // Each call needs a new one.
    servers.issuer.script(TOKEN_PATH, token(1, 0));
    for _ in 0..8 {
        source.fetch().await.unwrap();
    }
    assert_eq!(servers.requested(), 8);
    for (failure, attempts) in [(Script::status(503), 2), (Script::Close, 2)] {
        servers.issuer.script_each(TOKEN_PATH, [failure, token(2, 0)]);
        let answer = source.call(CallContext::default()).await.unwrap();
        assert_eq!((answer.attempts(), answer.accept()), (attempts, GOOD.into()));
    }
    servers.issuer.script(TOKEN_PATH, Script::status(400));
    source.fetch().await.unwrap_err();
    assert_eq!(servers.requested(), 13, "a refusal is not retried");
}

#[tokio::test]
async fn an_abandoned_request_for_a_token_holds_up_no_later_call() {
    let servers = Servers::start().await;
    let source = servers.source();
    servers.issuer.script_each(TOKEN_PATH, [Script::HangBeforeHeaders, token(7, 3600)]);
    let abandoned = tokio::time::timeout(Duration::from_millis(50), source.fetch()).await;
    assert!(abandoned.is_err());
    source.fetch().await.unwrap();
    assert_eq!(servers.used(), ["Bearer t7"]);
}

#[tokio::test]
async fn secrets_and_tokens_show_in_no_log_no_metric_and_no_error() {
    let log = CapturedLog::new();
    let _logging = log.capture(tracing::Level::TRACE);
    for client_auth in [ClientAuth::Body, ClientAuth::Basic] {
        let servers = Servers::start().await;
        let oauth2 = OAuth2 { client_auth, ..servers.oauth2() };
        let source = OneSource::of("graph", &servers.settings(oauth2));
        let echo =
            r#"{"error":"invalid_client","error_description":"hunter2 Z2F0ZXdheTpodW50ZXIy"}"#;
        let good = Script::json(r#"{"access_token":"tok-3n","expires_in":"60"}"#);
        let refused = Script::from(Reply { status: 401, ..Reply::json(echo) });
        let leaking = Script::json(r#"{"access_token":"tok-3n\n","hunter2":"tok-3n"}"#);
        servers.issuer.script_each(TOKEN_PATH, [refused, leaking, good]);
        servers.api.script(PATH, Script::json(GOOD));
        let mut errors = String::new();
        for _ in 0..3 {
            if let Err(error) = source.fetch().await {
                writeln!(errors, "{error} {error:?}").unwrap();
            }
        }
        assert_eq!(errors.lines().count(), 2, "{errors}");
        let page = metrics::encode(&source.registry);
        for text in [log.text(), page, errors, format!("{:?}", source.upstream)] {
            for secret in ["hunter2", "Z2F0ZXdheTpodW50ZXIy", "tok-3n"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        assert!(log.text().contains("access token could not be fetched"));
        log.clear();
    }
}
