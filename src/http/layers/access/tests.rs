use std::convert::Infallible;
use std::path::PathBuf;

use http::{Method, StatusCode};
use ring::digest::{SHA256, digest};
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt as _, service_fn};

use super::super::testing::get;
use super::*;
use crate::access::{AccessMetrics, Scope, authority_id};
use crate::config::{Admin, Config, CredentialFile, PemFile, Tls};
use crate::credentials::{Tokens, Users};
use crate::http::connection::Client;
use crate::{hex, metrics};

type TestService = BoxCloneSyncService<Request<()>, Response<Body>, Infallible>;

/// `ann:right`.
const BASIC: &str = "Basic YW5uOnJpZ2h0";

fn access() -> Arc<Access> {
    let token = |token: &str, scope: &str| {
        let digest = digest(&SHA256, token.as_bytes());
        let digits = hex::digits::<32>(digest.as_ref().try_into().unwrap());
        format!("{token}:{}:{scope}\n", str::from_utf8(digits.as_flattened()).unwrap())
    };
    let tokens = [token("ops", "all"), token("own", "self=7"), token("prometheus", "metrics")];
    let mut config = Config::default();
    let path = PathBuf::new();
    let content = Arc::new(Tokens::parse(&tokens.concat()).unwrap());
    config.sign_in.tokens = Some(CredentialFile { path: path.clone(), content });
    let users = format!("ann:{}\n", bcrypt::hash("right", 4).unwrap());
    let content = Arc::new(Users::parse(&users).unwrap());
    config.sign_in.users = Some(CredentialFile { path, content });
    let metrics = AccessMetrics::register(&mut metrics::registry());
    Access::new(&config, None, &metrics).unwrap()
}

/// The layer around a service that answers with who signed in.
fn service(access: Arc<Access>) -> TestService {
    let inner = service_fn(async |request: Request<()>| {
        let context = Context::of(&request);
        let grant = context.grant();
        let principal = grant.and_then(|grant| grant.principal.clone());
        let mut response =
            Response::new(Body::full(principal.unwrap_or_default().as_bytes().to_vec()));
        let headers = response.headers_mut();
        headers.insert("x-scope", format!("{:?}", context.scope()).parse().unwrap());
        for name in [header::VARY, header::CACHE_CONTROL] {
            for value in request.headers().get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(response)
    });
    BoxCloneSyncService::new(AccessLayer::new(access).layer(inner))
}

fn with(mut request: Request<()>, name: http::HeaderName, value: &str) -> Request<()> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

async fn ask(service: &TestService, request: Request<()>) -> Response<Body> {
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

async fn ask_as(service: &TestService, token: &str, path: &str) -> Response<Body> {
    ask(service, with(get(path), header::AUTHORIZATION, &format!("Bearer {token}"))).await
}

fn challenges(response: &Response<Body>) -> Vec<&str> {
    let values = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn who_has_signed_in_is_known_to_what_follows() {
    let service = service(access());
    for (authorization, scope) in [
        ("Bearer ops", "All"),
        ("bearer own", r#"Employee("7")"#),
        // The first is hashed, the second remembered.
        (BASIC, "All"),
        (BASIC, "All"),
    ] {
        let request = with(get("/incidents"), header::AUTHORIZATION, authorization);
        let response = ask(&service, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-scope"], scope);
        assert_eq!(response.body().length(), Some(3));
    }
}

#[tokio::test]
async fn probes_are_open_to_everybody_and_all_else_to_nobody_unknown() {
    let service = service(access());
    for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
        for (path, status) in [
            ("/healthz", 200),
            ("/readyz", 200),
            ("/incidents", 401),
            ("/", 401),
            ("/assets/style.css", 401),
            ("/openapi.json", 401),
            ("/nowhere", 401),
            ("/healthz/", 401),
            ("/metrics", 401),
        ] {
            let mut request = get(path);
            *request.method_mut() = method.clone();
            let response = ask(&service, request).await;
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers().contains_key(header::VARY), status == 401);
        }
    }
    // Even with credentials that are refused elsewhere.
    for authorization in ["Bearer wrong", "Basic !"] {
        let request = with(get("/readyz"), header::AUTHORIZATION, authorization);
        assert_eq!(ask(&service, request).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_refusal_challenges_each_scheme() {
    const BASIC: &str = r#"Basic realm="incident-gateway", charset="UTF-8""#;
    const BEARER: &str = r#"Bearer realm="incident-gateway""#;
    let service = service(access());
    let response = ask(&service, get("/incidents")).await;
    assert_eq!(challenges(&response), [BASIC, BEARER]);
    assert_eq!(response.headers()[header::VARY], "Authorization");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");

    let response = ask_as(&service, "wrong", "/incidents").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let invalid = r#"Bearer realm="incident-gateway", error="invalid_token""#;
    assert_eq!(challenges(&response), [BASIC, invalid]);

    let response = ask_as(&service, "own", "/unattributed").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let insufficient = r#"Bearer realm="incident-gateway", error="insufficient_scope""#;
    assert_eq!(challenges(&response), [BASIC, insufficient]);
    assert_eq!(response.headers()[header::VARY], "Authorization");
}

#[tokio::test]
async fn two_headers_are_a_bad_request_even_if_both_are_right() {
    let service = service(access());
    let request = with(get("/incidents"), header::AUTHORIZATION, "Bearer ops");
    let response = ask(&service, with(request, header::AUTHORIZATION, "Bearer ops")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(challenges(&response).is_empty());
}

#[tokio::test]
async fn too_many_failures_are_told_when_to_retry() {
    let service = service(access());
    for _ in 0..10 {
        let response = ask_as(&service, "wrong", "/incidents").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    let response = ask(&service, with(get("/"), header::AUTHORIZATION, BASIC)).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(challenges(&response).is_empty());
}

#[tokio::test]
async fn scope_comes_before_the_existence_of_a_resource() {
    let service = service(access());
    for (token, path, status) in [
        ("own", "/incidents/7", 200),
        ("own", "/incidents/8", 403),
        ("own", "/incidents?employee_id=8", 403),
        ("own", "/nowhere", 200),
        ("prometheus", "/incidents", 403),
        ("prometheus", "/nowhere", 403),
        ("prometheus", "/healthz", 200),
        ("ops", "/nowhere", 200),
    ] {
        let response = ask_as(&service, token, path).await;
        assert_eq!(response.status(), status, "{token} {path}");
    }
}

#[tokio::test]
async fn answers_are_private_and_vary_by_authorization() {
    let service = service(access());
    for (given, expected) in [
        (&[][..], "Authorization"),
        (&["Accept"], "Accept, Authorization"),
        (&["Accept, Prefer", "Accept-Encoding"], "Accept, Prefer, Accept-Encoding, Authorization"),
    ] {
        let mut request = with(get("/incidents"), header::AUTHORIZATION, "Bearer ops");
        for value in given {
            request = with(request, header::VARY, value);
        }
        let response = ask(&service, request).await;
        let vary: Vec<_> = response.headers().get_all(header::VARY).iter().collect();
        assert_eq!(vary, [expected]);
    }
    for (given, expected) in [
        ("public, max-age=3600", "private, max-age=3600"),
        ("private, max-age=7", "private, max-age=7"),
        ("no-store", "no-store"),
    ] {
        for authorization in ["Bearer ops", BASIC] {
            let request = with(get("/incidents"), header::AUTHORIZATION, authorization);
            let response = ask(&service, with(request, header::CACHE_CONTROL, given)).await;
            assert_eq!(response.headers()[header::CACHE_CONTROL], expected);
        }
    }
}

#[tokio::test]
async fn without_access_control_nothing_changes() {
    let service = service(Access::open());
    let request = with(get("/incidents?employee_id=8"), header::AUTHORIZATION, "Bearer x");
    let request = with(request, header::AUTHORIZATION, "Basic !");
    let request = with(request, header::CACHE_CONTROL, "public, max-age=3600");
    let response = ask(&service, with(request, header::VARY, "Accept")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-scope"], "All");
    assert_eq!(response.headers()[header::VARY], "Accept");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=3600");
}

#[tokio::test]
async fn the_metrics_of_the_admin_listener_need_their_scope() {
    let access = access().of_admin_listener(Admin { tls: false, auth: true });
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = AccessLayer::new(access).layer(inner);
    for (path, token, status) in [
        ("/metrics", None, 401),
        ("/metrics", Some("ops"), 200),
        ("/metrics", Some("prometheus"), 200),
        ("/metrics", Some("own"), 403),
        ("/readyz", None, 200),
        ("/nowhere", None, 401),
    ] {
        let mut request = Request::get(path).body(()).unwrap();
        let context = Context::new(request.headers(), Route::admin(path));
        request.extensions_mut().insert(Arc::new(context));
        if let Some(token) = token {
            request = with(request, header::AUTHORIZATION, &format!("Bearer {token}"));
        }
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.status(), status, "{path} {token:?}");
    }
}

#[tokio::test]
async fn a_request_is_not_given_to_what_follows_before_its_password_was_checked() {
    let mut service = service(access());
    let request = with(get("/incidents"), header::AUTHORIZATION, BASIC);
    let context = Context::of(&request);
    // Nothing polls the check yet.
    let response = service.call(request);
    assert_eq!(*context.scope(), Scope::Nothing);
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    assert_eq!(*context.scope(), Scope::All);
}

#[tokio::test]
async fn a_certificate_that_was_verified_again_is_trusted_before_and_after_the_reload() {
    let authorities = |pem: &'static str| PemFile { path: PathBuf::new(), pem: pem.into() };
    let requiring = |pem: &'static str| {
        let (certificate, key) = (authorities(""), authorities(""));
        let client_ca = Some(authorities(pem));
        let config = Config { tls: Some(Tls { certificate, key, client_ca }), ..Config::default() };
        let metrics = AccessMetrics::register(&mut metrics::registry());
        service(Access::new(&config, None, &metrics).unwrap())
    };
    let authority = authority_id(&authorities("old"));
    let certificate = ClientCertificate { common_name: Some("ann".into()), authority };
    let client = Client::new(([127, 0, 0, 1], 1).into(), false).with_certificate(Some(certificate));
    let client = Arc::new(client);
    let (handle, _registration) = ConnectionHandle::new(Arc::clone(&client));
    let request = || {
        let mut request = get("/incidents");
        request.extensions_mut().insert(handle.clone());
        request
    };
    let status = async |pem| ask(&requiring(pem), request()).await.status();
    assert_eq!(status("old").await, StatusCode::OK);
    assert_eq!(status("new").await, StatusCode::UNAUTHORIZED);
    client.renew_certificate(authority_id(&authorities("new")));
    assert_eq!(status("old").await, StatusCode::OK, "the new access control serves in a moment");
    assert_eq!(status("new").await, StatusCode::OK);
    assert_eq!(status("other").await, StatusCode::UNAUTHORIZED);
}
