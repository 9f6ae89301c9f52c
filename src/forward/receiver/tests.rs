//! One request and its answer, over real connections.

mod scripted_receiver;

use libdeflater::{CompressionLvl, Compressor};

use self::scripted_receiver::{ScriptedReceiver, Step, answer, answer_with};
use super::*;
use crate::config::{AuthHeader, ClientAuth, OAuth2};

const BODY: &str = "{\"id\":1}\n";

fn forward(url: &Url) -> Forward {
    let timeout = Duration::from_secs(20);
    Forward { timeout, ..Forward::new("siem", url.clone(), ForwardFormat::Ndjson) }
}

async fn send(forward: &Forward, records: usize) -> Reply {
    let receiver = Receiver::new(forward).unwrap();
    receiver.send(HeaderValue::from_static("text/x-test"), BODY.into(), &ids(records)).await
}

/// The ids of so many records: `00…`, `01…` and so on.
fn ids(records: usize) -> Vec<StableId> {
    (0..records).map(|record| StableId([u8::try_from(record).unwrap(); 16])).collect()
}

/// What comes of a request that is answered so.
async fn reply_to(step: Step) -> Reply {
    let receiver = ScriptedReceiver::start(vec![step]).await;
    let reply = send(&forward(&receiver.url), 1).await;
    assert_eq!(receiver.received().len(), 1);
    reply
}

fn done() -> Reply {
    Reply::Done(Accepted::All)
}

fn failed(reply: Reply) -> (String, Option<Duration>) {
    match reply {
        Reply::Failed { detail, retry_after, .. } => (detail, retry_after),
        other => panic!("{other:?}"),
    }
}

fn is_unanswered(reply: &Reply) -> bool {
    matches!(reply, Reply::Failed { is_unanswered: true, .. })
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut body = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor.gzip_compress(plain, &mut body).unwrap();
    body.truncate(length);
    body
}

#[tokio::test]
async fn a_batch_is_posted_whole_with_its_type_and_credentials() {
    let receiver = ScriptedReceiver::start(vec![answer(200, "")]).await;
    let header = |name: &'static str, value: &str| AuthHeader {
        name: http::HeaderName::from_static(name),
        value: value.into(),
        prefix: String::new(),
    };
    let cases = [
        (None, vec![]),
        (Some(Auth::None), vec![]),
        (
            Some(Auth::Basic { username: "u".to_owned(), password: "pass".into() }),
            vec!["authorization: basic dtpwyxnz"],
        ),
        (Some(Auth::Bearer { token: "t0".into() }), vec!["authorization: bearer t0"]),
        (
            Some(Auth::Headers(vec![header("authorization", "Splunk x-1"), header("x-b", "2")])),
            vec!["authorization: splunk x-1", "x-b: 2"],
        ),
    ];
    for (auth, expected) in cases {
        let forward = Forward { auth, ..forward(&receiver.url) };
        assert_eq!(send(&forward, 1).await, done());
        let request = receiver.received().pop().unwrap();
        let lines: Vec<&str> = request.head.lines().collect();
        assert_eq!(lines[0], "post /in/_bulk?a=b http/1.1");
        for line in ["content-type: text/x-test", "content-length: 9"] {
            assert_eq!(lines.iter().filter(|other| **other == line).count(), 1, "{lines:?}");
        }
        let is_of_auth = |line: &&str| line.starts_with("authorization") || line.starts_with("x-b");
        let sent: Vec<&str> = lines.into_iter().filter(is_of_auth).collect();
        assert_eq!((sent, request.body), (expected, BODY.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let receiver = ScriptedReceiver::start(vec![answer(200, "{}")]).await;
    let client = Receiver::new(&forward(&receiver.url)).unwrap();
    for _ in 0..3 {
        let reply = client.send(HeaderValue::from_static("a/b"), BODY.into(), &ids(1)).await;
        assert_eq!(reply, done());
    }
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test]
async fn every_2xx_is_done_whatever_its_body() {
    for step in [
        answer(200, "{\"text\":\"Success\",\"code\":0}"),
        answer(201, ""),
        answer(202, "error"),
        Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        answer_with(200, "Content-Encoding: gzip\r\n", b"no gzip"),
        answer_with(200, "Content-Encoding: compress\r\n", b"x"),
        answer(200, &"x".repeat(MAX_ANSWER_BYTES + 1)),
        Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense".to_vec()),
    ] {
        assert_eq!(reply_to(step.clone()).await, done(), "{step:?}");
    }
    let started = Instant::now();
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    assert_eq!(reply_to(Step::Trickle(endless)).await, done());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_status_that_blames_the_batch_has_the_begin_of_the_answer() {
    for status in [400, 413, 422] {
        let body = format!("bad\n\u{1b}[1m{}", "é".repeat(100_000));
        let Reply::Blamed { status: told, answer } = reply_to(answer(status, &body)).await else {
            panic!()
        };
        assert_eq!(told, status);
        assert!(answer.starts_with("bad \u{fffd}[1mé") && answer.len() == 200, "{answer}");
    }
    let compressed = answer_with(400, "Content-Encoding: gzip\r\n", &gzip(b"no such field"));
    let expected = Reply::Blamed { status: 400, answer: "no such field".to_owned() };
    assert_eq!(reply_to(compressed).await, expected);
}

#[tokio::test]
async fn what_has_come_of_an_answer_in_time_is_shown() {
    let begin = b"HTTP/1.1 422 No\r\nContent-Length: 1000000\r\n\r\nfield `a`: ".to_vec();
    let receiver = ScriptedReceiver::start(vec![Step::Trickle(begin)]).await;
    let forward = Forward { timeout: Duration::from_millis(500), ..forward(&receiver.url) };
    let Reply::Blamed { status: 422, answer } = send(&forward, 1).await else { panic!() };
    assert!(answer.starts_with("field `a`: x"), "{answer}");
}

#[tokio::test]
async fn secrets_that_an_answer_repeats_are_masked() {
    let steps = vec![answer(400, "Authorization: Bearer hunter2, hunter%32")];
    let receiver = ScriptedReceiver::start(steps).await;
    let auth = Some(Auth::Bearer { token: "hunter2".into() });
    let reply = send(&Forward { auth, ..forward(&receiver.url) }, 1).await;
    let answer = "Authorization: Bearer ***, ***".to_owned();
    assert_eq!(reply, Reply::Blamed { status: 400, answer });
}

#[tokio::test]
async fn any_other_status_is_a_failure_that_names_the_setting() {
    for (status, expected) in [
        (301, "the receiver redirects (301), which is not followed; check forward.siem.url"),
        (307, "the receiver redirects (307), which is not followed; check forward.siem.url"),
        (401, "the receiver refused the credentials (401); check forward.siem.auth"),
        (403, "the receiver refused the credentials (403); check forward.siem.auth"),
        (404, "the receiver knows no such path (404); check forward.siem.url"),
        (408, "the receiver answered 408"),
        (429, "the receiver asks for fewer requests (429)"),
        (500, "the receiver failed (500)"),
        (503, "the receiver failed (503)"),
        (999, "the receiver answered 999"),
    ] {
        let step = answer_with(status, "Location: /elsewhere\r\n", b"s3cret");
        assert_eq!(failed(reply_to(step).await), (expected.to_owned(), None));
        let step = answer_with(status, "Retry-After: 7\r\n", b"");
        let reply = reply_to(step).await;
        assert!(!is_unanswered(&reply));
        assert_eq!(failed(reply).1, Some(Duration::from_secs(7)), "{status}");
    }
    let step = answer_with(503, "Retry-After: 999999\r\n", b"");
    assert_eq!(failed(reply_to(step).await).1, Some(Duration::from_hours(1)));
}

#[tokio::test]
async fn no_answer_and_nonsense_are_failures() {
    for (step, expected) in [
        (Step::Close, "the connection broke before the answer was whole"),
        (Step::Send(b"SSH-2.0-x\r\n\r\n".to_vec()), "the answer is not valid HTTP"),
    ] {
        let reply = reply_to(step).await;
        assert!(is_unanswered(&reply));
        assert_eq!(failed(reply), (expected.to_owned(), None));
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let reply = send(&forward(&url.parse().unwrap()), 1).await;
    assert!(!is_unanswered(&reply));
    assert_eq!(failed(reply).0, "no connection to the receiver: connection refused");
}

#[tokio::test]
async fn the_whole_request_has_one_deadline() {
    let head = b"HTTP/1.1 503 Unavai".to_vec();
    for step in [Step::Silence, Step::Trickle(head)] {
        let receiver = ScriptedReceiver::start(vec![step]).await;
        let forward = Forward { timeout: Duration::from_millis(300), ..forward(&receiver.url) };
        let started = Instant::now();
        let reply = send(&forward, 1).await;
        assert!(is_unanswered(&reply));
        assert_eq!(failed(reply).0, "no whole answer came within 300ms");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_receiver() {
    let proxy = ScriptedReceiver::start(vec![answer(200, "")]).await;
    let url = Url::parse("http://receiver.test/in").unwrap();
    let mut forward = Forward { proxy: Some(proxy.url.clone()), ..forward(&url) };
    assert_eq!(send(&forward, 1).await, done());
    assert!(proxy.received()[0].head.starts_with("post http://receiver.test/in http/1.1\r\n"));
    forward.proxy = Some("http://127.0.0.1:1/".parse().unwrap());
    let (detail, _) = failed(send(&forward, 1).await);
    assert_eq!(detail, "no connection to the receiver through its proxy: connection refused");
}

#[test]
fn credentials_that_no_header_can_have_are_told_by_their_setting() {
    let auth = Some(Auth::Bearer { token: "hunter\n2".into() });
    let url = Url::parse("http://receiver.test/in").unwrap();
    let error = Receiver::new(&Forward { auth, ..forward(&url) }).unwrap_err();
    let setting = "forward.siem.auth".to_owned();
    assert_eq!(error, SetupError::Credentials { setting });
}

fn oauth2(token_url: &Url) -> Auth {
    Auth::OAuth2(OAuth2 {
        token_url: token_url.clone(),
        client_id: "client".to_owned(),
        client_secret: "cl1ent-s3cret".into(),
        scope: None,
        audience: None,
        client_auth: ClientAuth::Body,
    })
}

fn token(token: &str) -> Step {
    answer(200, &format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#))
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let tokens = ScriptedReceiver::start(vec![token("first"), token("second")]).await;
    let receiver = ScriptedReceiver::start(vec![answer(401, ""), answer(200, "")]).await;
    let forward = Forward { auth: Some(oauth2(&tokens.url)), ..forward(&receiver.url) };
    assert_eq!(send(&forward, 1).await, done());
    let requests = receiver.received();
    for (request, token) in requests.iter().zip(["first", "second"]) {
        assert!(request.head.contains(&format!("\r\nauthorization: bearer {token}\r\n")));
        assert_eq!(request.body, BODY.as_bytes());
    }
    assert_eq!((requests.len(), tokens.received().len()), (2, 2));

    let receiver = ScriptedReceiver::start(vec![answer(401, "")]).await;
    let forward = Forward { url: receiver.url.clone(), ..forward };
    let (detail, _) = failed(send(&forward, 1).await);
    assert_eq!(detail, "the receiver refused the credentials (401); check forward.siem.auth");
    assert_eq!(receiver.received().len(), 2);

    let receiver = ScriptedReceiver::start(vec![answer(400, "not second, cl1ent-s3cret")]).await;
    let forward = Forward { url: receiver.url.clone(), ..forward };
    let answer = "not ***, ***".to_owned();
    assert_eq!(send(&forward, 1).await, Reply::Blamed { status: 400, answer });
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let refused = answer_with(400, "", br#"{"error":"invalid_client"}"#);
    let busy = answer_with(429, "Retry-After: 9\r\n", b"");
    let receiver = ScriptedReceiver::start(vec![answer(200, "")]).await;
    for (step, expected, wait) in [
        (
            refused,
            "no access token from 127.0.0.1: it refused the client (400, invalid_client); check \
             forward.siem.auth",
            None,
        ),
        (busy, "no access token from 127.0.0.1: it answered 429", Some(Duration::from_secs(9))),
    ] {
        let tokens = ScriptedReceiver::start(vec![step]).await;
        let forward = Forward { auth: Some(oauth2(&tokens.url)), ..forward(&receiver.url) };
        assert_eq!(failed(send(&forward, 1).await), (expected.to_owned(), wait));
    }
    assert_eq!(receiver.received().len(), 0);
}

async fn bulk(step: Step, records: usize) -> Reply {
    let receiver = ScriptedReceiver::start(vec![step]).await;
    let format = ForwardFormat::Elasticsearch;
    let timeout = Duration::from_secs(2);
    send(&Forward { format, timeout, ..forward(&receiver.url) }, records).await
}

#[tokio::test]
async fn elasticsearch_answers_for_each_record() {
    let body = r#"{"took":1,"errors":true,"items":[
        {"create":{"_id":"01010101010101010101010101010101","status":400,
            "error":{"type":"t","reason":"r"}}},
        {"create":{"_id":"00000000000000000000000000000000","status":201}}]}"#;
    let expected = Reply::Done(Accepted::Items(vec![
        ItemStatus { status: 201, error: String::new() },
        ItemStatus { status: 400, error: r#"{"type":"t","reason":"r"}"#.to_owned() },
    ]));
    assert_eq!(bulk(answer(200, body), 2).await, expected);
    let compressed = answer_with(200, "Content-Encoding: gzip\r\n", &gzip(body.as_bytes()));
    assert_eq!(bulk(compressed, 2).await, expected);
    let blamed = Reply::Blamed { status: 413, answer: "too large".to_owned() };
    assert_eq!(bulk(answer(413, "too large"), 2).await, blamed);
    let (detail, wait) = failed(bulk(answer_with(429, "Retry-After: 3\r\n", b""), 2).await);
    assert_eq!(detail, "the receiver asks for fewer requests (429)");
    assert_eq!(wait, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn an_answer_that_is_not_elasticsearchs_is_a_failure() {
    let items = r#"{"items":[{"create":{"status":201}}]}"#;
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{items}").into_bytes();
    let corrupt = answer_with(200, "Content-Encoding: gzip\r\n", b"no gzip");
    for (step, expected) in [
        (
            answer(200, items),
            "the answer is not that of Elasticsearch's bulk API: it has 1 items for 2 records; \
             check forward.siem.url",
        ),
        (
            answer(200, "OK"),
            "the answer is not that of Elasticsearch's bulk API: it is no JSON object with the \
             status of each item; check forward.siem.url",
        ),
        (Step::Trickle(cut), "no whole answer came within 2s"),
        (corrupt, "the answer could not be decompressed"),
    ] {
        assert_eq!(failed(bulk(step, 2).await), (expected.to_owned(), None));
    }
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_errors_that_quote_what_was_sent() {
    let receiver = |body: String| async move {
        let receiver = ScriptedReceiver::start(vec![answer(200, &body)]).await;
        let format = ForwardFormat::Elasticsearch;
        let client = Receiver::new(&Forward { format, ..forward(&receiver.url) }).unwrap();
        let sent = Bytes::from(vec![b'x'; 80_000]);
        client.send(HeaderValue::from_static("a/b"), sent, &ids(1)).await
    };
    let limit = (64 << 10) + (8 << 10) + 4 * 80_000;
    let begin = r#"{"items":[{"create":{"status":400,"error":""#;
    let end = r#""}}]}"#;
    let quoting = |bytes: usize| format!("{begin}{}{end}", "z".repeat(bytes));
    let largest = limit - begin.len() - end.len();
    let Reply::Done(Accepted::Items(items)) = receiver(quoting(largest)).await else { panic!() };
    assert_eq!((items[0].status, items[0].error.len()), (400, 200));
    let reply = receiver(quoting(largest + 1)).await;
    assert!(is_unanswered(&reply), "smaller batches are tried");
    assert_eq!(failed(reply).0, "the answer is larger than 393728 bytes for 1 records");
}

#[tokio::test]
async fn a_secret_of_the_query_is_masked() {
    let receiver = ScriptedReceiver::start(vec![answer(400, "no /in?apikey=hun%74er2")]).await;
    let mut url = receiver.url.clone();
    url.set_query(Some("apikey=hunter2"));
    let answer = "no /in?apikey=***".to_owned();
    assert_eq!(send(&forward(&url), 1).await, Reply::Blamed { status: 400, answer });
}

#[tokio::test]
async fn an_answer_may_come_before_the_whole_body_was_read() {
    let receiver =
        ScriptedReceiver::hasty(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nlong").await;
    let client = Receiver::new(&forward(&receiver.url)).unwrap();
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let reply = client.send(HeaderValue::from_static("a/b"), body, &ids(1)).await;
    assert!(matches!(reply, Reply::Blamed { status: 413, .. }), "{reply:?}");
}
