//! What the clients of upstreams keep across a reload, over real sockets.

use std::time::Duration;

use futures::poll;
use incident_gateway::config::{self, Auth, ClientAuth, Config, OAuth2, Source, Upstream};
use incident_gateway::metrics;
use incident_gateway::request::Request;
use incident_gateway::sources::SourceId;
use incident_gateway::upstream::{CallContext, UpstreamMetrics, Upstreams};
use tokio::time::sleep;

use crate::support::one_source::{GOOD, settings};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

const PATH: &str = "/a/";
const TOKEN_PATH: &str = "/token";

/// A source of an upstream that asks for access tokens.
fn config(api: &ScriptedUpstream, issuer: &ScriptedUpstream) -> Config {
    let oauth2 = OAuth2 {
        token_url: format!("{}{TOKEN_PATH}", issuer.base_url()).parse().unwrap(),
        client_id: "gateway".to_owned(),
        client_secret: "hunter2".into(),
        scope: None,
        audience: None,
        client_auth: ClientAuth::Body,
    };
    let upstream = Upstream {
        username: None,
        password: None,
        auth: Some(Auth::OAuth2(oauth2)),
        concurrency: config::Concurrency::Fixed(1),
        ..settings(&api.base_url())
    };
    let sources = vec![Source::plain("a", PATH, &["who"])];
    Config { upstream, sources, identities: Vec::new(), ..Config::default() }
}

fn request(api: &ScriptedUpstream) -> Request {
    Request::get(format!("{}{PATH}", api.base_url()).parse().unwrap())
}

async fn call(upstreams: &Upstreams, name: &str, api: &ScriptedUpstream) {
    let source = upstreams.source(name).unwrap();
    let answer = upstreams.fetch(source, request(api), CallContext::default()).await;
    drop(answer.unwrap().accept());
}

#[tokio::test]
async fn connections_and_access_tokens_outlive_a_reload_that_does_not_concern_them() {
    let (api, issuer) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    api.script(PATH, Script::json(GOOD));
    let token = r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#;
    issuer.script(TOKEN_PATH, Script::json(token));
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let mut config = config(&api, &issuer);
    let mut upstreams = Upstreams::new(&config, &metrics, 1).unwrap();
    call(&upstreams, "a", &api).await;
    for round in 0..20 {
        config.sources.truncate(1);
        config.sources.insert(0, Source::plain(&format!("b{round}"), "/b/", &["who"]));
        config.cache.ttl += Duration::from_secs(1);
        upstreams = upstreams.reconfigured(&config, &metrics, round).unwrap();
        upstreams.activate(&metrics);
        config.sources.swap(0, 1);
        call(&upstreams, "a", &api).await;
        call(&upstreams, &format!("b{round}"), &api).await;
    }
    assert_eq!((api.connections(), issuer.calls(TOKEN_PATH)), (1, 1));

    config.upstream.retries = 1;
    upstreams = upstreams.reconfigured(&config, &metrics, 1).unwrap();
    call(&upstreams, "a", &api).await;
    assert_eq!((api.connections(), issuer.calls(TOKEN_PATH)), (2, 2), "a changed one has its own");
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_at_the_upstream_and_the_next_is_made() {
    let (api, issuer) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    api.script_each(
        PATH,
        [Reply::json(GOOD).after(Duration::from_mins(1)), Reply::json(GOOD)].map(Script::from),
    );
    issuer.script(TOKEN_PATH, Script::json(r#"{"access_token":"t","expires_in":3600}"#));
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let config = config(&api, &issuer);
    let before = Upstreams::new(&config, &metrics, 1).unwrap();
    let source = SourceId::Incidents(0);
    let mut first = Box::pin(before.fetch(source, request(&api), CallContext::default()));
    while api.in_flight() == 0 {
        assert!(poll!(&mut first).is_pending());
        sleep(Duration::from_millis(5)).await;
    }
    let after = before.reconfigured(&config, &metrics, 1).unwrap();
    assert_eq!((after.load().in_flight, after.load().limit), (1, 1));
    drop(first);
    call(&after, "a", &api).await;
    assert_eq!((api.calls(PATH), after.load().in_flight), (2, 0));
}
