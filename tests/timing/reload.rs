//! A hundred reloads under load: no answer is lost or wrong, and nothing is left behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::client::{Client, get};
use crate::support::gateway::{GOOD, document, good_upstream, path, quick};
use crate::support::identity_provider::{IdentityProvider, SigningKey};
use crate::support::reloadable::{CONFIG, Files, Reloadable};
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use crate::support::tls_client::{H2, H2Client, HTTP_1_1, any_version, http1};
use crate::support::tokens;
use http::Method;
use incident_gateway::app::Running;
use incident_gateway::config::{Config, Jwt, SignIn};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::sleep;

const RELOADS: usize = 100;

/// Reloads before the first measurement, until caches and pools have their size.
const WARM_UP_RELOADS: usize = 20;

/// The growth of resident memory that is allowed: an allocator's leftovers, but by far not a
/// hundred configurations.
const MAX_GROWTH_BYTES: usize = 24 << 20;

/// The cost of the hash of a password, which is compared again after each reload.
const BCRYPT_COST: u32 = 8;

/// The hash of `password`.
static HASH: LazyLock<String> = LazyLock::new(|| bcrypt::hash("password", BCRYPT_COST).unwrap());

/// `reader:password`
const PASSWORD: &str = "Basic cmVhZGVyOnBhc3N3b3Jk";

/// What the clients of the load share.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

/// How a client of the load asks.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Over one connection of HTTP/1.1.
    KeepAlive,
    /// Over a new connection each time.
    Anew,
    /// Over one connection of HTTP/2.
    Http2,
    /// Over one connection of HTTP/1.1, with a password.
    Password,
}

/// Asks again and again until the load is over.
async fn ask(address: SocketAddr, tls: Arc<Authority>, load: Arc<Load>, manner: Manner) {
    let document = document(|_| true);
    let credential = if let Manner::Password = manner { PASSWORD } else { TOKEN };
    let headers = [("Authorization", credential)];
    let http_1_1 = any_version(&tls, &[HTTP_1_1], None);
    let http_2 = H2Client::connect(address, &any_version(&tls, &[H2], None)).await;
    let mut client = http1(address, &http_1_1).await.unwrap();
    while !load.is_over.load(Ordering::SeqCst) {
        let (status, body) = if let Manner::Http2 = manner {
            let answer = http_2.send(Method::GET, "/incidents", &headers).await.unwrap();
            (answer.status.as_u16(), answer.body)
        } else {
            if let Manner::Anew = manner {
                client = http1(address, &http_1_1).await.unwrap();
            }
            let answer = client.get("/incidents", &headers).await.unwrap();
            (answer.status, answer.body)
        };
        assert_eq!((status, &*String::from_utf8_lossy(&body)), (200, &*document), "{manner:?}");
        load.answered.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(2)).await;
    }
}

const TOKEN: &str = "Bearer a-token-of-a-robot";

/// The files of the reload with this number: each differs from the one before in its settings, in
/// its users and tokens, in its certificate and in its upstream, but none in what the robot reads.
fn write(files: &Files, upstream: &ScriptedUpstream, authority: &Authority, number: usize) {
    let tls = authority.gateway(None);
    files.write("tls.crt", &tls.certificate.pem);
    files.write("tls.key", &tls.key.pem);
    let robot = tokens::lines(&[("a-token-of-a-robot", "all")]);
    files.write("tokens", format!("{robot}other-{number}:{number:064x}\n"));
    files.write("users", format!("reader:{}\nuser-{number}:{}\n", *HASH, *HASH));
    let text = format!(
        "upstream: {{ base_url: '{}', retries: {} }}
response_budget: {}ms
cache: {{ ttl: 1h, max_bytes: {}MiB }}
limits: {{ max_events: {} }}
auth: {{ users_file: '{}', tokens_file: '{}' }}
tls: {{ cert_file: '{}', key_file: '{}' }}
",
        upstream.base_url(),
        number % 3,
        1000 + number,
        8 + number % 2,
        100 + number,
        files.name("users"),
        files.name("tokens"),
        files.name("tls.crt"),
        files.name("tls.key"),
    );
    files.write(CONFIG, text);
}

/// What a process uses.
#[derive(Debug)]
struct Usage {
    memory: usize,
    threads: usize,
    files: usize,
}

fn usage(gateway: &Reloadable) -> Usage {
    let process = &gateway.process;
    Usage { memory: process.memory(), threads: process.threads(), files: process.open_files() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_nothing_and_leak_nothing() {
    let upstream = good_upstream().await;
    let files = Files::new("");
    let authority = Arc::new(Authority::new("authority"));
    write(&files, &upstream, &authority, 0);
    let credentials = [("ELEVATE_USERNAME", "reader"), ("ELEVATE_PASSWORD", "secret")];
    let gateway = Reloadable::start(files, &credentials).await;
    let address = gateway.process.address;
    let trusting = any_version(&authority, &[HTTP_1_1], None);
    let mut client = http1(address, &trusting).await.unwrap();
    let complete = "/incidents?complete=true";
    let began = Instant::now();
    while client.get(complete, &[("Authorization", TOKEN)]).await.unwrap().status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "never complete");
        sleep(Duration::from_millis(50)).await;
    }
    let mut stream = http1(address, &trusting).await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nHost: test\r\nAuthorization: {TOKEN}\r\n\r\n");
    stream.send(request).await.unwrap();
    assert_eq!(stream.answer().await.unwrap().status, 200);

    let load = Arc::new(Load::default());
    // More with passwords than attempts of one address may be undecided.
    let manners =
        [(2, Manner::KeepAlive), (2, Manner::Anew), (2, Manner::Http2), (12, Manner::Password)];
    let clients: Vec<_> = manners
        .into_iter()
        .flat_map(|(count, manner)| std::iter::repeat_n(manner, count))
        .map(|manner| tokio::spawn(ask(address, Arc::clone(&authority), Arc::clone(&load), manner)))
        .collect();
    let mut before = None;
    let calls = upstream.seen().len();
    for number in 1..=WARM_UP_RELOADS + RELOADS {
        let answered = load.answered.load(Ordering::SeqCst);
        let changes =
            gateway.change_validly(|files| write(files, &upstream, &authority, number)).await;
        assert!(changes.contains("auth.tokens_file") && changes.contains("limits"), "{changes}");
        while load.answered.load(Ordering::SeqCst) < answered + clients.len() {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
            sleep(Duration::from_millis(1)).await;
        }
        if number == WARM_UP_RELOADS {
            before = Some(usage(&gateway));
        }
    }
    let (before, after) = (before.unwrap(), usage(&gateway));
    assert!(!stream.is_ended_within(Duration::from_millis(100)).await, "the stream stays");
    load.is_over.store(true, Ordering::SeqCst);
    let connections = 2 * clients.len();
    for client in clients {
        client.await.unwrap();
    }
    let grown = after.memory.saturating_sub(before.memory);
    println!("{before:?}, then {after:?}; {} calls", upstream.seen().len() - calls);
    assert!(grown <= MAX_GROWTH_BYTES, "{before:?}, then {after:?}");
    // The threads for blocking work come and go, and so do connections.
    assert!(after.threads <= before.threads + RELOADS / 6, "{before:?}, then {after:?}");
    assert!(after.files <= before.files + connections, "{before:?}, then {after:?}");
}

/// A configuration that differs from those of other numbers in everything that has tasks: clients
/// of upstreams, the cache, and the fetching of an issuer's keys.
fn numbered(upstream: &ScriptedUpstream, number: usize) -> Config {
    let mut config = quick(&upstream.base_url());
    config.cache.ttl = Duration::from_hours(1);
    config.cache.max_bytes += number as u64;
    config.upstream.password = Some(format!("secret-{number}").as_str().into());
    let jwt = Jwt {
        // Nobody listens there.
        issuer: format!("http://127.0.0.1:{}", 1 + number % 2),
        audience: format!("audience-{number}"),
        jwks_url: None,
        ca: None,
        proxy: None,
        employee_claim: Jwt::DEFAULT_EMPLOYEE_CLAIM.to_owned(),
        scope_claim: Jwt::DEFAULT_SCOPE_CLAIM.to_owned(),
    };
    config.sign_in =
        SignIn { jwt: (!number.is_multiple_of(3)).then_some(jwt), ..SignIn::default() };
    config
}

#[tokio::test]
async fn reloads_leave_no_task_behind() {
    const MAX_MORE_TASKS: usize = 4;
    let upstream = good_upstream().await;
    let mut running = Running::start(&numbered(&upstream, 1), None, 7).unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let mut before = 0;
    for number in 2..WARM_UP_RELOADS + RELOADS {
        running.reconfigure(&numbered(&upstream, number)).unwrap();
        sleep(Duration::from_millis(10)).await;
        if number == WARM_UP_RELOADS {
            before = tasks();
        }
    }
    // Connections that are not used any more end soon.
    let began = Instant::now();
    while tasks() > before + MAX_MORE_TASKS {
        assert!(began.elapsed() < Duration::from_secs(20), "{before} tasks, then {}", tasks());
        sleep(Duration::from_millis(100)).await;
    }
    let calls = upstream.seen().len();
    assert!(calls > RELOADS, "each reload changed the upstream: {calls} calls");
}

#[tokio::test]
async fn a_stream_ends_when_the_key_of_its_token_is_withdrawn() {
    let upstream = good_upstream().await;
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let provider = IdentityProvider::start(&[&old, &new]).await;
    let mut config = quick(&upstream.base_url());
    config.sign_in.jwt = Some(provider.settings());
    let running = Running::start(&config, None, 7).unwrap();
    let token = |key: &SigningKey| format!("Bearer {}", key.token(&provider.claims(json!({}))));
    let mut streams = Vec::new();
    for key in [&old, &new] {
        let began = Instant::now();
        streams.push(loop {
            let mut stream = Client::connect(running.address).await.unwrap();
            let request = format!(
                "GET /events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                 Authorization: {}\r\n\r\n",
                token(key)
            );
            stream.send(request).await.unwrap();
            if stream.answer().await.unwrap().status == 200 {
                break stream;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never signed in");
        });
    }
    provider.set_keys([new.jwk(), SigningKey::p256("newest").jwk()]);
    let fetches = provider.fetches();
    let began = Instant::now();
    // A token with an unknown key makes the gateway fetch the keys, at most every 10 s.
    let unknown = token(&SigningKey::p256("unknown"));
    while provider.fetches() == fetches {
        let headers = [("Authorization", unknown.as_str())];
        let mut client = Client::connect(running.address).await.unwrap();
        assert_ne!(client.get("/incidents", &headers).await.unwrap().status, 200);
        assert!(began.elapsed() < Duration::from_secs(30), "never fetched again");
        sleep(Duration::from_secs(1)).await;
    }
    let [with_old, with_new] = &mut streams[..] else { unreachable!() };
    assert!(with_old.is_ended_within(Duration::from_secs(20)).await, "its key is gone");
    assert!(!with_new.is_ended_within(Duration::from_secs(1)).await, "its key is there");
}

#[tokio::test]
async fn a_request_in_flight_ends_under_the_configuration_with_which_it_began() {
    let upstream = good_upstream().await;
    for source in 0..GOOD.len() {
        upstream.script(&path(source), Script::HangBeforeHeaders);
    }
    let (long, short) = (Duration::from_millis(2500), Duration::from_millis(400));
    let mut config = quick(&upstream.base_url());
    config.response_budget = long;
    let mut running = Running::start(&config, None, 7).unwrap();
    let address = running.address;
    let waiting = tokio::spawn(async move { get(address, "/incidents").await });
    // It has to be in flight, and needs a fraction of this for it.
    sleep(Duration::from_millis(500)).await;

    config.response_budget = short;
    config.limits.max_requests = 1;
    running.reconfigure(&config).unwrap();
    let next = tokio::spawn(async move { get(address, "/incidents").await });
    sleep(Duration::from_millis(150)).await;
    let one_more = get(address, "/incidents").await;
    assert_eq!((one_more.status, one_more.problem().as_str()), (503, "overloaded"));
    let next = next.await.unwrap();
    assert_eq!((next.status, next.problem().as_str()), (503, "no-data"));
    assert!(next.took < long / 2, "{:?}", next.took);
    let began_before = waiting.await.unwrap();
    assert_eq!((began_before.status, began_before.problem().as_str()), (503, "no-data"));
    assert!(began_before.took > long * 3 / 4, "{:?}", began_before.took);
}
