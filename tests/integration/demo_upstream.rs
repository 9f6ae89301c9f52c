//! The demo upstream over sockets: its data, its authentication, and each of its faults.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_compression::tokio::bufread::GzipDecoder;
use http::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use incident_gateway::config::Config;
use incident_gateway::demo::generate::{Plan, live_body};
use incident_gateway::demo::{
    Data, Endpoint, Fault, Garbage, Options, PASSWORD, USERNAME, Upstream,
};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::support::history_store::HistoryStore;
use crate::support::snapshot_gateway::SnapshotGateway;

/// Serves the fixtures, without faults or delay.
fn quick() -> Options {
    Options { data: Data::Fixtures, latency: Duration::ZERO, ..Options::default() }
}

fn with_fault(endpoint: Endpoint, fault: Fault) -> Options {
    Options { faults: [(endpoint, fault)].into(), ..quick() }
}

/// A client that neither decompresses nor follows redirects.
fn client() -> Client {
    client_with(|builder| builder.redirect(reqwest::redirect::Policy::none()))
}

fn client_with(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    // Only the first call of all tests can succeed; the others find the provider set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    configure(Client::builder().no_proxy().tls_certs_only([])).build().unwrap()
}

/// The decompressed size of a gzip body of at most `max_bytes`, and its start.
async fn gunzip(body: &[u8], max_bytes: usize) -> (usize, Vec<u8>) {
    let mut decoder = GzipDecoder::new(body);
    let (mut size, mut start) = (0, Vec::new());
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = decoder.read(&mut chunk).await.unwrap();
        if length == 0 || size > max_bytes {
            return (size, start);
        }
        if start.is_empty() {
            start.extend_from_slice(&chunk[..length]);
        }
        size += length;
    }
}

fn request(client: &Client, upstream: &Upstream, endpoint: Endpoint) -> RequestBuilder {
    let url = upstream.base_url() + endpoint.path();
    client.get(url).basic_auth(USERNAME, Some(PASSWORD))
}

async fn get(upstream: &Upstream, endpoint: Endpoint) -> Response {
    request(&client(), upstream, endpoint).send().await.unwrap()
}

fn fixture(endpoint: Endpoint) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{endpoint}.json")),
    )
    .unwrap()
}

#[tokio::test]
async fn quirks_are_the_fixtures() {
    let upstream = Upstream::start(quick()).await.unwrap();
    assert!(upstream.local_addr().ip().is_loopback() && upstream.local_addr().port() != 0);
    for endpoint in Endpoint::ALL {
        let answer = get(&upstream, endpoint).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        assert!(answer.bytes().await.unwrap() == fixture(endpoint), "{endpoint}");
    }
}

#[tokio::test]
async fn by_default_the_data_looks_like_that_of_the_last_day_in_production() {
    let options = Options { latency: Duration::ZERO, ..Options::default() };
    let upstream = Upstream::start(options).await.unwrap();
    let document = async |endpoint| {
        let body = get(&upstream, endpoint).await.bytes().await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let identities = document(Endpoint::Identities).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let (mut latest, mut unknown, mut total) = (0.0_f64, 0, 0);
    for endpoint in &Endpoint::PLAIN[1..] {
        let body = document(*endpoint).await;
        for record in body["results"].as_array().unwrap() {
            let age = now - record["timestamp"].as_f64().unwrap();
            assert!((-60.0..2.0 * 86_400.0).contains(&age), "{record}");
            latest = latest.max(now - age);
            let fields =
                ["reported_by", "internal_ip", "machine_ip", "employee_id", "ip", "identifier"];
            let identity = fields.iter().find_map(|field| record.get(field)).unwrap();
            match identity.as_str() {
                Some(address) => unknown += usize::from(identities.get(address).is_none()),
                None => assert!((100_000..1_000_000).contains(&identity.as_u64().unwrap())),
            }
            total += 1;
        }
    }
    assert!(now - latest < 120.0, "the latest record is {} s old", now - latest);
    assert!((10_000..20_000).contains(&total), "{total}");
    assert!((total / 200..total / 50).contains(&unknown), "{unknown} of {total}");
}

#[tokio::test(start_paused = true)]
async fn the_examples_of_the_readme_work_with_the_demo() {
    // At an hour of the night, when there is least.
    let night = SystemTime::UNIX_EPOCH + Duration::from_hours(20_745 * 24 + 4);
    let bodies: Vec<(&str, String)> = Endpoint::PLAIN
        .iter()
        .map(|endpoint| (endpoint.name(), live_body(*endpoint, 0, night)))
        .map(|(name, body)| (name, String::from_utf8(body).unwrap()))
        .collect();
    let bodies: Vec<(&str, &str)> =
        bodies.iter().map(|(name, body)| (*name, body.as_str())).collect();
    // The examples of the history assume a store; that of this test is empty.
    let (_store, handle) = HistoryStore::with(Vec::new());
    let gateway = SnapshotGateway::with_store(Config::default(), handle);
    gateway.publish_named(&bodies);
    // What the shell would compute: an hour before the present.
    let hour_ago = night.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 3_600;
    let readme =
        include_str!("../../README.md").replace("$(($(date +%s)-3600))", &hour_ago.to_string());
    let examples = readme.lines().filter_map(|line| {
        let (_, path) = line.strip_prefix("$ curl ")?.split_once("localhost:9000")?;
        Some(path.split([' ', '\'', '"']).next().unwrap())
    });
    let mut count = 0;
    for path in examples.filter(|path| *path != "/events") {
        let reply = gateway.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let is_short = path == "/healthz" || path.starts_with("/history");
        assert!(reply.body.len() > 200 || is_short, "{path}: {}", reply.text());
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[tokio::test]
async fn only_the_right_user_and_password_are_accepted() {
    let options = Options { username: "ann".to_owned(), password: "s3cret:ü".into(), ..quick() };
    let upstream = Upstream::start(options).await.unwrap();
    let url = upstream.base_url() + Endpoint::Denial.path();
    let client = client();
    let requests = [
        (client.get(&url), StatusCode::UNAUTHORIZED),
        (client.get(&url).basic_auth("ann", None::<&str>), StatusCode::UNAUTHORIZED),
        (client.get(&url).basic_auth("ann", Some("s3cret")), StatusCode::UNAUTHORIZED),
        (client.get(&url).basic_auth(USERNAME, Some(PASSWORD)), StatusCode::UNAUTHORIZED),
        (client.get(&url).bearer_auth("s3cret:ü"), StatusCode::UNAUTHORIZED),
        (client.get(&url).basic_auth("ann", Some("s3cret:ü")), StatusCode::OK),
    ];
    for (number, (request, expected)) in requests.into_iter().enumerate() {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{number}");
        let challenge = answer.headers().get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes);
        assert_eq!(
            challenge.is_some_and(|value| value.starts_with(b"Basic realm=")),
            expected != StatusCode::OK
        );
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let upstream = Upstream::start(quick()).await.unwrap();
    let client = client();
    for path in [
        "/",
        "/identities",
        "/incidents/",
        "/incidents/denial",
        "/incidents/denial/x",
        "/incidents//denial/",
    ] {
        let request = client.get(upstream.base_url() + path).basic_auth(USERNAME, Some(PASSWORD));
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = client.request(method.clone(), upstream.base_url() + Endpoint::Denial.path());
        let answer = request.basic_auth(USERNAME, Some(PASSWORD)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()[ALLOW], "GET");
    }
    let request = client.get(upstream.base_url() + "/incidents/denial/?page=1");
    let answer = request.basic_auth(USERNAME, Some(PASSWORD)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn gzip_is_sent_when_it_is_enabled_and_accepted() {
    let whole = fixture(Endpoint::Denial);
    for (gzip, expected) in [(true, Some("gzip")), (false, None)] {
        let upstream = Upstream::start(Options { gzip, ..quick() }).await.unwrap();
        let request = request(&client(), &upstream, Endpoint::Denial);
        let answer = request.header("accept-encoding", "br, gzip").send().await.unwrap();
        let coding = answer.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        assert_eq!(coding, expected.map(str::as_bytes));
        let body = answer.bytes().await.unwrap();
        if gzip {
            let (size, start) = gunzip(&body, whole.len()).await;
            assert!(body.len() < whole.len() / 2 && size == whole.len());
            assert!(whole.starts_with(&start));
        } else {
            assert!(body == whole);
        }
        assert!(get(&upstream, Endpoint::Denial).await.bytes().await.unwrap() == whole);
    }
}

#[tokio::test]
async fn a_directory_or_generated_data_can_be_served() {
    let directory = tempfile::tempdir().unwrap();
    for endpoint in Endpoint::PLAIN {
        fs::write(
            directory.path().join(format!("{endpoint}.json")),
            format!("as it is: {endpoint}"),
        )
        .unwrap();
    }
    let data = Data::Directory(directory.path().to_owned());
    let upstream = Upstream::start(Options { data, ..quick() }).await.unwrap();
    assert_eq!(get(&upstream, Endpoint::Misuse).await.text().await.unwrap(), "as it is: misuse");

    let plan = Plan { incidents: 10_000, employees: 100, seed: 1 };
    let options = Options { data: Data::Generated(plan), ..quick() };
    let started_at = options.started_at;
    let upstream = Upstream::start(options).await.unwrap();
    for endpoint in Endpoint::PLAIN {
        assert!(
            get(&upstream, endpoint).await.bytes().await.unwrap()
                == plan.body_at(endpoint, started_at),
            "{endpoint}"
        );
    }
}

#[tokio::test]
async fn mapped_sources_are_listed_in_parts_with_the_faults_of_the_others() {
    let plan = Plan { incidents: 7 * 100, employees: 60, seed: 1 };
    let faults = [(Endpoint::People, Fault::Flap)].into();
    let options = Options { data: Data::Generated(plan), gzip: true, faults, ..quick() };
    let upstream = Upstream::start(options).await.unwrap();
    let page = async |query: &str| {
        let path = format!("{}{}?{query}", upstream.base_url(), Endpoint::Signin.path());
        client().get(path).basic_auth(USERNAME, Some(PASSWORD)).send().await.unwrap()
    };
    let json = async |query: &str| -> Value {
        serde_json::from_slice(&page(query).await.bytes().await.unwrap()).unwrap()
    };
    let first = json("limit=60").await;
    assert_eq!(first["events"].as_array().unwrap().len(), 60);
    let cursor = first["page"]["next"].as_str().unwrap();
    let second = json(&format!("limit=60&cursor={cursor}")).await;
    assert_eq!(second["events"].as_array().unwrap().len(), 41);
    assert_eq!(second["events"][0], first["events"][59]);
    assert_eq!(second["page"]["next"], Value::Null);
    assert_eq!(json("since=2100-01-01T00:00:00Z").await["events"], Value::Array(Vec::new()));
    let refused = page("since=yesterday").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(refused.text().await.unwrap(), "the value of since cannot be read\n");
    for expected in [500, 200] {
        assert_eq!(get(&upstream, Endpoint::People).await.status(), expected);
    }
}

#[tokio::test]
async fn errors_name_the_missing_file_or_the_address_in_use() {
    let data = Data::Directory("/nonexistent".into());
    let error = Upstream::start(Options { data, ..quick() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("/nonexistent/identities.json"), "{error}");

    let first = Upstream::start(quick()).await.unwrap();
    let listen = first.local_addr();
    let error = Upstream::start(Options { listen, ..quick() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}

#[tokio::test]
async fn dropping_the_upstream_closes_its_connections() {
    let upstream = Upstream::start(with_fault(Endpoint::Denial, Fault::Hang)).await.unwrap();
    let url = upstream.base_url();
    let waiting = tokio::spawn(request(&client(), &upstream, Endpoint::Denial).send());
    // Another answer first, so that the server is known to run.
    get(&upstream, Endpoint::Other).await;
    drop(upstream);
    assert!(waiting.await.unwrap().is_err());
    assert!(client().get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_hanging_source_does_not_affect_the_others() {
    let upstream = Upstream::start(with_fault(Endpoint::Denial, Fault::Hang)).await.unwrap();
    let hanging = tokio::spawn(request(&client(), &upstream, Endpoint::Denial).send());
    for endpoint in Endpoint::PLAIN.into_iter().filter(|endpoint| *endpoint != Endpoint::Denial) {
        assert_eq!(get(&upstream, endpoint).await.bytes().await.unwrap(), fixture(endpoint));
    }
    assert!(!hanging.is_finished());
}

#[tokio::test]
async fn a_stalling_source_sends_half_of_the_body() {
    let upstream = Upstream::start(with_fault(Endpoint::Other, Fault::Stall)).await.unwrap();
    let whole = fixture(Endpoint::Other);
    let mut answer = get(&upstream, Endpoint::Other).await;
    assert_eq!(answer.content_length(), Some(whole.len() as u64));
    let mut half = Vec::new();
    while half.len() < whole.len() / 2 {
        half.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
    }
    assert!(half == whole[..whole.len() / 2]);
}

#[tokio::test]
async fn a_source_that_cuts_off_closes_the_connection_halfway() {
    let upstream = Upstream::start(with_fault(Endpoint::Identities, Fault::CutOff)).await.unwrap();
    let whole = fixture(Endpoint::Identities);
    let mut answer = get(&upstream, Endpoint::Identities).await;
    assert_eq!(answer.content_length(), Some(whole.len() as u64));
    let mut half = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => half.extend_from_slice(&bytes),
            Ok(None) => panic!("the body ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert!(half == whole[..whole.len() / 2]);
}

#[tokio::test]
async fn a_dripping_source_sends_all_of_its_body() {
    let drip = Fault::Drip(u32::MAX.try_into().unwrap());
    let upstream = Upstream::start(with_fault(Endpoint::Probing, drip)).await.unwrap();
    assert!(
        get(&upstream, Endpoint::Probing).await.bytes().await.unwrap()
            == fixture(Endpoint::Probing)
    );
}

#[tokio::test]
async fn a_source_answers_with_the_requested_status() {
    for code in [204, 401, 403, 404, 429, 500, 503] {
        let status = StatusCode::from_u16(code).unwrap();
        let options =
            Options { retry_after: Some(7), ..with_fault(Endpoint::Misuse, Fault::Status(status)) };
        let upstream = Upstream::start(options).await.unwrap();
        let answer = get(&upstream, Endpoint::Misuse).await;
        assert_eq!(answer.status(), status);
        let retry_after = answer.headers().get(RETRY_AFTER).map(HeaderValue::as_bytes);
        assert_eq!(retry_after, matches!(code, 429 | 503).then_some(b"7".as_slice()), "{code}");
        assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), code == 401);
        assert_eq!(answer.bytes().await.unwrap().is_empty(), code == 204);
        assert_eq!(get(&upstream, Endpoint::Denial).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_source_redirects_to_the_requested_url() {
    let fault = Fault::Redirect(HeaderValue::from_static("http://127.0.0.2:1/elsewhere"));
    let upstream = Upstream::start(with_fault(Endpoint::Denial, fault)).await.unwrap();
    let answer = get(&upstream, Endpoint::Denial).await;
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.headers()[LOCATION], "http://127.0.0.2:1/elsewhere");

    let own = HeaderValue::from_static(Endpoint::Denial.path());
    let upstream =
        Upstream::start(with_fault(Endpoint::Denial, Fault::Redirect(own))).await.unwrap();
    let following = client_with(|builder| builder.redirect(reqwest::redirect::Policy::limited(3)));
    let error = request(&following, &upstream, Endpoint::Denial).send().await.unwrap_err();
    assert!(error.is_redirect(), "{error:?}");
}

#[tokio::test]
async fn each_kind_of_garbage_is_an_invalid_answer() {
    for endpoint in [Endpoint::Identities, Endpoint::Unauthorized] {
        let body = async |garbage| {
            let upstream =
                Upstream::start(with_fault(endpoint, Fault::Garbage(garbage))).await.unwrap();
            let answer = get(&upstream, endpoint).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let content_type = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
            (content_type, answer.bytes().await.unwrap())
        };
        let (content_type, page) = body(Garbage::Html).await;
        assert!(content_type.starts_with("text/html") && page.starts_with(b"<!doctype html>"));
        assert!(
            serde_json::from_slice::<IgnoredAny>(&body(Garbage::Json).await.1)
                .unwrap_err()
                .is_eof()
        );
        let parsed =
            async |garbage| serde_json::from_slice::<serde_json::Value>(&body(garbage).await.1);
        assert!(parsed(Garbage::Shape).await.unwrap().is_array());
        assert!(std::str::from_utf8(&body(Garbage::Utf8).await.1).is_err());
        let deep = parsed(Garbage::Deep).await.unwrap_err().to_string();
        assert!(deep.contains("recursion limit"), "{deep}");
    }
}

#[tokio::test]
async fn an_empty_source_sends_an_empty_body() {
    let upstream = Upstream::start(with_fault(Endpoint::Executable, Fault::Empty)).await.unwrap();
    let answer = get(&upstream, Endpoint::Executable).await;
    assert_eq!((answer.status(), answer.content_length()), (StatusCode::OK, Some(0)));
    assert!(answer.bytes().await.unwrap().is_empty());
}

/// The bytes read until there are as many as expected, or no more.
async fn read(mut answer: Response, expected: u64) -> u64 {
    let mut size = 0;
    while size < expected
        && let Some(bytes) = answer.chunk().await.unwrap()
    {
        size += bytes.len() as u64;
    }
    size
}

#[tokio::test]
async fn an_endless_body_does_not_end() {
    let upstream = Upstream::start(with_fault(Endpoint::Intrusion, Fault::Endless)).await.unwrap();
    let answer = get(&upstream, Endpoint::Intrusion).await;
    assert_eq!(answer.content_length(), None);
    assert!(read(answer, 8 << 20).await >= 8 << 20);
}

#[tokio::test]
async fn a_bomb_is_small_until_it_is_decompressed() {
    let upstream = Upstream::start(with_fault(Endpoint::Intrusion, Fault::Bomb)).await.unwrap();
    let answer = get(&upstream, Endpoint::Intrusion).await;
    assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
    let body = answer.bytes().await.unwrap();
    assert!(body.len() < Fault::BOMB_BYTES / 150, "{} bytes", body.len());
    assert_eq!(gunzip(&body, Fault::BOMB_BYTES).await.0, Fault::BOMB_BYTES);
}

#[tokio::test]
async fn a_flapping_source_fails_every_second_time() {
    let upstream = Upstream::start(with_fault(Endpoint::Other, Fault::Flap)).await.unwrap();
    for expected in [500, 200, 500, 200] {
        assert_eq!(get(&upstream, Endpoint::Other).await.status(), expected);
        assert_eq!(get(&upstream, Endpoint::Denial).await.status(), StatusCode::OK);
    }
}
