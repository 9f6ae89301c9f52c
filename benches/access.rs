//! What signing in adds to a request.
//!
//! `cargo bench --bench access` calls the public service without sockets for a cached `/summary`,
//! with a token, a password and a JSON Web Token that were verified before, and prints the time of
//! a request beside that of the same request to a gateway without access control, and the
//! difference: it should be at most 5 µs. All figures are medians of interleaved rounds. The time
//! of the first verification of a JSON Web Token follows, for each algorithm.

#[path = "../tests/support/mod.rs"]
mod support;

use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use incident_gateway::access::jwt::{KeySet, verify};
use incident_gateway::config::{Config, CredentialFile};
use incident_gateway::credentials::{Tokens, Users};
use incident_gateway::http::HttpService;
use incident_gateway::memory::Allocator;
use serde_json::json;
use support::gateway::GOOD;
use support::identity_provider::{IdentityProvider, SigningKey};
use support::protected_gateway::{basic, bearer, sha256};
use support::snapshot_gateway::SnapshotGateway;

/// The same as in production.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const ROUNDS: usize = 31;
const REQUESTS_PER_ROUND: u32 = 2_000;
const VERIFICATIONS: usize = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The line of each request is written, and has more fields with access control.
    tracing_subscriber::fmt().json().with_writer(io::sink).init();
    let key = SigningKey::p256("key");
    let issuer = IdentityProvider::start(&[&key]).await;
    let jwt = key.token(&issuer.claims(json!({})));
    let credentials = [
        ("token", bearer("a-token-of-32-bytes-or-about-so")),
        ("password", basic("ann", "a password of some length")),
        ("jwt", bearer(&jwt)),
    ];

    let mut config = Config::default();
    let open = gateway(config.clone());
    let hash = bcrypt::hash("a password of some length", 4).unwrap();
    config.sign_in.users = Some(file(Users::parse(&format!("ann:{hash}\n")).unwrap()));
    let digest = sha256("a-token-of-32-bytes-or-about-so");
    config.sign_in.tokens = Some(file(Tokens::parse(&format!("ops:{digest}\n")).unwrap()));
    config.sign_in.jwt = Some(issuer.settings());
    let protected = gateway(config);
    let (mut open, mut protected) =
        (open.inner.public_service::<()>(), protected.inner.public_service::<()>());

    println!("{:<10} {:>12} {:>12} {:>8}", "", "open, µs", "signed in, µs", "adds, µs");
    for (name, authorization) in &credentials {
        let authorization = HeaderValue::from_str(authorization).unwrap();
        let mut times = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let without = round_of(&mut open, &authorization).await;
            let with = round_of(&mut protected, &authorization).await;
            // The first fills caches.
            if round > 0 {
                times.0.push(without);
                times.1.push(with);
            }
        }
        let (without, with) = (median(times.0), median(times.1));
        println!("{name:<10} {without:>12.2} {with:>12.2} {:>8.2}", with - without);
    }
    first_verifications(&issuer);
}

fn first_verifications(issuer: &IdentityProvider) {
    let keys = SigningKey::of_each_kind();
    let set = json!({"keys": keys.each_ref().map(SigningKey::jwk)}).to_string();
    let set = KeySet::parse(set.as_bytes()).unwrap();
    let (settings, claims) = (Arc::new(issuer.settings()), issuer.claims(json!({})));
    let [rsa, p256, ed25519] = &keys;
    println!("\n{:<10} {:>12}", "", "first, µs");
    for (algorithm, key) in [("RS256", rsa), ("PS256", rsa), ("ES256", p256), ("EdDSA", ed25519)] {
        let token = key.token_with(json!({"alg": algorithm}), &claims);
        let verification = |_| {
            let began = Instant::now();
            let grant = verify(black_box(&token), Some(&set), &settings, SystemTime::now());
            assert!(black_box(grant).is_ok());
            began.elapsed().as_secs_f64() * 1e6
        };
        let times = (0..VERIFICATIONS).map(verification).collect();
        println!("{algorithm:<10} {:>12.2}", median(times));
    }
}

fn gateway(config: Config) -> SnapshotGateway {
    let gateway = SnapshotGateway::configured(config);
    gateway.publish_named(&GOOD);
    gateway
}

fn file<T>(content: T) -> CredentialFile<T> {
    CredentialFile { path: "file".into(), content: Arc::new(content) }
}

/// The microseconds of a request.
async fn round_of(service: &mut impl HttpService<()>, authorization: &HeaderValue) -> f64 {
    let began = Instant::now();
    for _ in 0..REQUESTS_PER_ROUND {
        let mut request = Request::get("/summary").header("host", "test").body(()).unwrap();
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        poll_fn(|context| service.poll_ready(context)).await.unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS_PER_ROUND)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
