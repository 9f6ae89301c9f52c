//! Event streams of JSON Web Tokens, and reloads of how these are verified.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::access::{AT_ONCE, NEVER, stream};
use super::{CREDENTIALS, config, until};
use crate::support::client::get_with;
use crate::support::gateway::good_upstream;
use crate::support::identity_provider::{AUDIENCE, IdentityProvider, SigningKey, now};
use crate::support::reloadable::{CONFIG, Files, Reloadable};
use crate::support::scripted_upstream::ScriptedUpstream;

/// How long a token is accepted after its `exp`.
const LEEWAY_SECONDS: u64 = 30;

fn with_jwt(upstream: &ScriptedUpstream, issuer: &str, audience: &str, more: &str) -> String {
    let jwt = format!("auth: {{ jwt: {{ issuer: '{issuer}', audience: {audience} }} }}");
    config(upstream, &format!("cache: {{ ttl: 1h }}\n{jwt}\n{more}"))
}

async fn status(gateway: &Reloadable, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    get_with(gateway.process.address, "/incidents", &headers).await.status
}

#[tokio::test]
async fn a_stream_lasts_as_long_as_its_token() {
    let upstream = good_upstream().await;
    let key = SigningKey::p256("key");
    let provider = IdentityProvider::start(&[&key]).await;
    let files = Files::new(&with_jwt(&upstream, &provider.issuer(), AUDIENCE, ""));
    let gateway = Reloadable::start(files, &CREDENTIALS).await;
    let token = |members| key.token(&provider.claims(members));
    let (lasting, ending) =
        (token(json!({})), token(json!({"exp": now() - LEEWAY_SECONDS + 4, "sub": "bob"})));
    until("signed in", async || status(&gateway, &lasting).await == 200).await;
    let mut lasting_stream = stream(&gateway, Some(&format!("Bearer {lasting}"))).await;
    let mut ending_stream = stream(&gateway, Some(&format!("Bearer {ending}"))).await;
    let began = Instant::now();
    assert!(!ending_stream.is_ended_within(NEVER).await);
    assert!(ending_stream.is_ended_within(AT_ONCE).await, "its token has expired");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(status(&gateway, &ending).await, 401);

    let other = with_jwt(&upstream, &provider.issuer(), AUDIENCE, "response_budget: 1s");
    let fetches = provider.fetches();
    gateway.change_validly(|files| files.write(CONFIG, other)).await;
    assert!(!lasting_stream.is_ended_within(NEVER).await, "the reload did not concern it");
    assert_eq!(status(&gateway, &lasting).await, 200);
    assert_eq!(provider.fetches(), fetches, "the keys are known");

    let elsewhere = with_jwt(&upstream, &provider.issuer(), "another-audience", "");
    let changes = gateway.change_validly(|files| files.write(CONFIG, elsewhere)).await;
    assert_eq!(changes, "response_budget, auth.jwt");
    assert!(lasting_stream.is_ended_within(AT_ONCE).await, "a token of another audience");
    assert_eq!(status(&gateway, &lasting).await, 401);
    let anew = token(json!({"aud": "another-audience"}));
    assert_eq!(status(&gateway, &anew).await, 200, "the request waits for the keys");
}
