//! The credentials of upstreams, byte for byte, over real sockets; and that nothing else shows
//! them.

use http::HeaderName;
use incident_gateway::config::Secret;
use incident_gateway::config::{self, Auth, AuthHeader};
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;

use crate::support::captured_log::CapturedLog;
use crate::support::one_source::{GOOD, OneSource, PATH, SECRET, SECRET_ENCODED, settings};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};

fn with_auth(server: &ScriptedUpstream, auth: Auth) -> config::Upstream {
    let own = config::Upstream { username: None, password: None, ..settings(&server.base_url()) };
    config::Upstream { auth: Some(auth), ..own }
}

fn header(name: &'static str, prefix: &str, secret: &str) -> AuthHeader {
    AuthHeader {
        name: HeaderName::from_static(name),
        value: Secret::from(format!("{prefix}{secret}")),
        prefix: prefix.to_owned(),
    }
}

fn basic(password: &str) -> Auth {
    Auth::Basic { username: "reader".to_owned(), password: password.into() }
}

#[tokio::test]
async fn each_kind_of_credentials_is_sent_as_documented() {
    let basic_header = format!("Basic {SECRET_ENCODED}");
    let cases: [(Auth, &[(&str, &str)]); 6] = [
        (Auth::None, &[]),
        (basic(SECRET), &[("authorization", &basic_header)]),
        (basic(""), &[("authorization", "Basic cmVhZGVyOg==")]),
        (Auth::Bearer { token: "ey.J+/=~".into() }, &[("authorization", "Bearer ey.J+/=~")]),
        (
            Auth::Headers(vec![header("authorization", "SSWS ", "00abc")]),
            &[("authorization", "SSWS 00abc")],
        ),
        (
            Auth::Headers(vec![
                header("dd-api-key", "", "one two"),
                header("dd-application-key", "", "three"),
            ]),
            &[("dd-api-key", "one two"), ("dd-application-key", "three")],
        ),
    ];
    for (auth, expected) in cases {
        let server = ScriptedUpstream::start().await;
        server.script(PATH, Script::json(GOOD));
        OneSource::of("okta", &with_auth(&server, auth)).fetch().await.unwrap();
        let seen = server.seen().remove(0);
        let known = ["authorization", "dd-api-key", "dd-application-key"];
        let sent: Vec<_> = seen
            .headers
            .iter()
            .filter(|(name, _)| known.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn credentials_that_no_header_can_have_are_refused_without_quoting_them() {
    let server = ScriptedUpstream::start().await;
    let settings = with_auth(&server, Auth::Bearer { token: "hunter2\r\nX: y".into() });
    let metrics = incident_gateway::upstream::UpstreamMetrics::register(&mut metrics::registry());
    let error =
        incident_gateway::upstream::Upstream::new("okta", &settings, &[], &metrics, 1).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("upstreams.okta.auth") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn refused_credentials_are_named_by_their_setting() {
    let server = ScriptedUpstream::start().await;
    for status in [401, 403] {
        server.script(PATH, Script::status(status));
        let named = OneSource::of("okta", &with_auth(&server, basic(SECRET)));
        let default = OneSource::new(&with_auth(&server, basic(SECRET)));
        for (source, setting) in [(named, "upstreams.okta.auth"), (default, "upstream.auth")] {
            let error = source.fetch().await.unwrap_err();
            assert_eq!(error.kind, Outcome::Status);
            let says = format!("refused the credentials ({status}); check {setting}");
            assert!(error.detail.ends_with(&says), "{error}");
        }
    }
}

#[tokio::test]
async fn credentials_show_in_no_log_no_metric_and_no_error() {
    let log = CapturedLog::new();
    let _logging = log.capture(tracing::Level::TRACE);
    let server = ScriptedUpstream::start().await;
    let auths = [
        basic(SECRET),
        Auth::Bearer { token: SECRET.into() },
        Auth::Headers(vec![header("x-api-key", "Key ", SECRET)]),
    ];
    for auth in auths {
        let source = OneSource::of("okta", &with_auth(&server, auth));
        let echo = format!("{{\"you sent\": \"{SECRET} {SECRET_ENCODED}\"}}");
        let elsewhere = Script::Redirect(format!("http://other.test/{SECRET}"));
        for script in [Script::json(echo), Script::status(401), Script::Close, elsewhere] {
            server.script(PATH, script);
            if let Err(error) = source.fetch().await {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            }
        }
        let page = metrics::encode(&source.registry);
        for text in [log.text(), page, format!("{:?}", source.upstream)] {
            assert!(!text.contains("hunter2") && !text.contains(SECRET_ENCODED), "{text}");
        }
        assert!(log.text().contains("upstream call failed"), "something was logged");
        log.clear();
    }
}

#[tokio::test]
async fn credentials_over_plain_http_are_warned_of_for_each_upstream() {
    let log = CapturedLog::new();
    let _logging = log.capture(tracing::Level::WARN);
    let at = |auth| config::Upstream {
        username: None,
        auth: Some(auth),
        ..settings("http://api.example.test")
    };
    let _source = OneSource::of("okta", &at(Auth::Bearer { token: "t".into() }));
    let _source = OneSource::of("open", &at(Auth::None));
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("`upstreams.okta.base_url`"), "{text}");
}
