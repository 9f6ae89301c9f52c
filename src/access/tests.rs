use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use tokio::time::advance;

use super::*;
use crate::config::{CredentialFile, Jwt, PemFile, Tls};
use crate::credentials::{Tokens, Users};
use crate::hex;
use crate::metrics::{self, Registry};

mod grants;
mod guessing;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OTHER_PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const CLIENT_CA: &[u8] = b"the authorities";

/// Access control with a registry of its own.
struct Fixture {
    config: Config,
    metrics: AccessMetrics,
    registry: Registry,
}

impl Fixture {
    fn new() -> Self {
        let mut registry = metrics::registry();
        let metrics = AccessMetrics::register(&mut registry);
        Self { config: Config::default(), metrics, registry }
    }

    fn users(mut self, users: &[(&str, &str)]) -> Self {
        let line = |(name, password): &(&str, &str)| {
            format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
        };
        let file: String = users.iter().map(line).collect();
        self.config.sign_in.users = Some(file_of(Users::parse(&file).unwrap()));
        self
    }

    /// Tokens with their names and scopes.
    fn tokens(mut self, tokens: &[(&str, &str, &str)]) -> Self {
        let line = |(name, token, scope): &(&str, &str, &str)| {
            let digest = digest(&SHA256, token.as_bytes());
            let digits = hex::digits::<32>(digest.as_ref().try_into().unwrap());
            format!("{name}:{}:{scope}\n", str::from_utf8(digits.as_flattened()).unwrap())
        };
        let file: String = tokens.iter().map(line).collect();
        self.config.sign_in.tokens = Some(file_of(Tokens::parse(&file).unwrap()));
        self
    }

    fn client_ca(mut self, pem: &[u8]) -> Self {
        let file = |pem: &[u8]| PemFile { path: PathBuf::from("file"), pem: pem.to_vec().into() };
        let (certificate, key) = (file(b""), file(b""));
        self.config.tls = Some(Tls { certificate, key, client_ca: Some(file(pem)) });
        self
    }

    fn access(&self, previous: Option<&Access>) -> Arc<Access> {
        Access::new(&self.config, previous, &self.metrics).unwrap()
    }

    fn failures(&self, reason: Failure) -> usize {
        let page = metrics::encode(&self.registry);
        let prefix =
            format!("incident_gateway_auth_failures_total{{reason=\"{}\"}} ", reason.as_str());
        let count = page.lines().find_map(|line| line.strip_prefix(&prefix));
        count.unwrap().parse().unwrap()
    }
}

fn file_of<T>(content: T) -> CredentialFile<T> {
    CredentialFile { path: PathBuf::from("file"), content: Arc::new(content) }
}

fn basic(user: &str, password: &str) -> String {
    let credentials = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

fn headers(authorization: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

async fn decide(
    access: &Arc<Access>,
    authorization: &[&str],
    peer: IpAddr,
) -> Result<Arc<Grant>, Refusal> {
    match access.authenticate(&headers(authorization), Some(peer), None) {
        Decision::Ready(result) => result,
        Decision::Pending(result) => result.await,
    }
}

/// The refusal of a header, which is sent alone by [`PEER`].
async fn refusal(access: &Arc<Access>, authorization: &str) -> Refusal {
    decide(access, &[authorization], PEER).await.unwrap_err()
}

async fn grant(access: &Arc<Access>, authorization: &str) -> Arc<Grant> {
    decide(access, &[authorization], PEER).await.unwrap()
}

fn is_ready(access: &Arc<Access>, authorization: &str) -> bool {
    matches!(
        access.authenticate(&headers(&[authorization]), Some(PEER), None),
        Decision::Ready(Ok(_))
    )
}

const UNAUTHORIZED: Refusal = Refusal::Unauthorized { has_token: false };
const INVALID_TOKEN: Refusal = Refusal::Unauthorized { has_token: true };

#[tokio::test]
async fn without_access_control_everybody_sees_everything_whatever_they_send() {
    let fixture = Fixture::new();
    for access in [Access::open(), fixture.access(None)] {
        assert!(access.is_open());
        for authorization in [&[][..], &["Bearer x"], &["Basic !"], &["Bearer x", "Bearer y"]] {
            let grant = decide(&access, authorization, PEER).await.unwrap();
            assert_eq!((grant.scope.clone(), grant.method()), (Scope::All, None));
        }
    }
    assert!(Failure::ALL.iter().all(|reason| fixture.failures(*reason) == 0));
}

#[tokio::test]
async fn tokens_have_the_scopes_of_their_lines() {
    let fixture = Fixture::new().tokens(&[
        ("ops", "t-all", "all"),
        ("prometheus", "t-metrics", "metrics"),
        ("ann", "t-self", "self=a%3A7"),
    ]);
    let access = fixture.access(None);
    for (token, name, scope) in [
        ("t-all", "ops", Scope::All),
        ("t-metrics", "prometheus", Scope::Metrics),
        ("t-self", "ann", Scope::Employee("a:7".into())),
    ] {
        let grant = grant(&access, &format!("Bearer {token}")).await;
        assert_eq!((grant.principal.as_deref(), &grant.scope), (Some(name), &scope));
        assert_eq!((grant.method(), grant.expires_at), (Some(Method::Token), None));
    }
    for token in ["T-all", "t-al", "t-all1", "a.b.c"] {
        assert_eq!(refusal(&access, &format!("Bearer {token}")).await, INVALID_TOKEN);
    }
    assert_eq!(fixture.failures(Failure::Token), 4);
    assert_eq!(refusal(&access, &basic("ops", "t-all")).await, UNAUTHORIZED);
    assert_eq!(fixture.failures(Failure::Malformed), 1);
}

#[tokio::test]
async fn a_password_is_hashed_once_and_then_remembered_until_a_reload() {
    let fixture = Fixture::new().users(&[("Zoë", "пароль")]);
    let access = fixture.access(None);
    let credentials = basic("Zoë", "пароль");
    assert!(!is_ready(&access, &credentials));
    let grant = grant(&access, &credentials).await;
    assert_eq!((grant.principal.as_deref(), &grant.scope), (Some("Zoë"), &Scope::All));
    assert_eq!(grant.method(), Some(Method::Basic));
    assert!(is_ready(&access, &credentials));
    assert!(!is_ready(&fixture.access(Some(&access)), &credentials));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_password_is_refused_alike_after_one_hash() {
    let fixture = Fixture::new().users(&[("ann", "right")]);
    let access = fixture.access(None);
    let hashes = || access.checks.as_ref().unwrap().begun.load(Ordering::Relaxed);
    let too_long = "x".repeat(73);
    for (number, (user, password)) in
        [("ann", "wrong"), ("bob", "right"), ("ann", &too_long), ("bob", &too_long), ("ann", "")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(refusal(&access, &basic(user, password)).await, UNAUTHORIZED);
        assert_eq!(hashes(), number + 1);
    }
    assert_eq!(fixture.failures(Failure::Password), 5);
}

#[tokio::test]
async fn requests_with_the_same_password_share_its_check() {
    let fixture = Fixture::new().users(&[("ann", "right")]);
    let access = fixture.access(None);
    let credentials = basic("ann", "right");
    let requests = (0..100).map(|_| grant(&access, &credentials));
    futures::future::join_all(requests).await;
    let hashes = access.checks.as_ref().unwrap().begun.load(Ordering::Relaxed);
    assert!(hashes <= std::thread::available_parallelism().unwrap().get(), "{hashes} hashes");
}

#[test]
fn the_configured_schemes_are_challenged() {
    const BASIC: &str = r#"Basic realm="incident-gateway", charset="UTF-8""#;
    const BEARER: &str = r#"Bearer realm="incident-gateway""#;
    let challenges = |fixture: Fixture, error| -> Vec<String> {
        let challenges = fixture.access(None).challenges(error);
        challenges.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let users = || Fixture::new().users(&[("ann", "right")]);
    let tokens = |fixture: Fixture| fixture.tokens(&[("ops", "token", "all")]);
    assert_eq!(challenges(Fixture::new(), None), [""; 0]);
    assert_eq!(challenges(users(), None), [BASIC]);
    assert_eq!(challenges(users(), Some(TokenError::InvalidToken)), [BASIC]);
    assert_eq!(challenges(tokens(Fixture::new()), None), [BEARER]);
    assert_eq!(challenges(tokens(users()), None), [BASIC, BEARER]);
    for (error, name) in [
        (TokenError::InvalidToken, "invalid_token"),
        (TokenError::InsufficientScope, "insufficient_scope"),
    ] {
        let bearer = format!(r#"{BEARER}, error="{name}""#);
        assert_eq!(challenges(tokens(users()), Some(error)), [BASIC, &bearer]);
    }
}

/// A certificate of the authorities in the file `pem`.
fn certificate(common_name: Option<&str>, pem: &[u8]) -> ClientCertificate {
    let digest = digest(&SHA256, pem);
    ClientCertificate {
        common_name: common_name.map(Arc::from),
        authority: digest.as_ref().try_into().unwrap(),
    }
}

#[test]
fn a_certificate_alone_grants_everything_to_its_common_name() {
    let fixture = Fixture::new().client_ca(CLIENT_CA);
    let access = fixture.access(None);
    let decide = |certificate: Option<ClientCertificate>, authorization: &[&str]| match access
        .authenticate(&headers(authorization), Some(PEER), certificate.as_ref())
    {
        Decision::Ready(result) => result,
        Decision::Pending(_) => panic!("nothing takes time"),
    };
    // Other credentials do not matter.
    for authorization in [&[][..], &["Bearer x"], &["Basic !"]] {
        let grant = decide(Some(certificate(Some("ann"), CLIENT_CA)), authorization).unwrap();
        assert_eq!((grant.principal.as_deref(), &grant.scope), (Some("ann"), &Scope::All));
        assert_eq!(grant.method(), Some(Method::Certificate));
    }
    for refused in
        [None, Some(certificate(None, CLIENT_CA)), Some(certificate(Some("ann"), b"others"))]
    {
        for _ in 0..10 {
            assert_eq!(decide(refused.clone(), &[]).unwrap_err(), UNAUTHORIZED, "{refused:?}");
        }
    }
    assert_eq!(fixture.failures(Failure::Certificate), 30);
    assert_eq!(access.challenges(None), [""; 0]);
}

#[tokio::test]
async fn with_auth_a_certificate_is_needed_too() {
    let fixture = Fixture::new().client_ca(CLIENT_CA).tokens(&[("ops", "token", "metrics")]);
    let access = fixture.access(None);
    let own = certificate(Some("ann"), CLIENT_CA);
    let decide = |authorization: &[&str], certificate: Option<&ClientCertificate>| match access
        .authenticate(&headers(authorization), Some(PEER), certificate)
    {
        Decision::Ready(result) => result,
        Decision::Pending(_) => panic!("nothing takes time"),
    };
    // The credential gives principal and scope.
    let grant = decide(&["Bearer token"], Some(&own)).unwrap();
    assert_eq!((grant.principal.as_deref(), &grant.scope), (Some("ops"), &Scope::Metrics));
    assert_eq!(grant.method(), Some(Method::Token));
    assert_eq!(decide(&["Bearer token"], None).unwrap_err(), UNAUTHORIZED);
    assert_eq!(decide(&[], Some(&own)).unwrap_err(), UNAUTHORIZED);
    assert_eq!(decide(&["Bearer wrong"], Some(&own)).unwrap_err(), INVALID_TOKEN);
    // Without a certificate nothing is compared, so that nothing can be guessed.
    for _ in 0..50 {
        assert_eq!(decide(&["Bearer wrong"], None).unwrap_err(), UNAUTHORIZED);
    }
    assert_eq!((fixture.failures(Failure::Certificate), fixture.failures(Failure::Token)), (51, 1));
}

#[tokio::test]
async fn the_admin_listener_has_what_the_configuration_says() {
    let fixture = Fixture::new().client_ca(CLIENT_CA).tokens(&[("ops", "token", "metrics")]);
    let access = fixture.access(None);
    let own = certificate(Some("ann"), CLIENT_CA);
    for (tls, auth) in [(false, false), (true, false), (false, true), (true, true)] {
        let access = access.of_admin_listener(Admin { tls, auth });
        for (has_certificate, has_token) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let headers = headers(if has_token { &["Bearer token"] } else { &[] });
            let certificate = has_certificate.then_some(&own);
            let Decision::Ready(result) = access.authenticate(&headers, Some(PEER), certificate)
            else {
                panic!("nothing takes time");
            };
            let expected = (has_certificate || !tls) && (has_token || !auth);
            assert_eq!(result.is_ok(), expected, "{tls} {auth} {has_certificate} {has_token}");
        }
    }
}
