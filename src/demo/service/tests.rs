//! What depends on time, with paused time and without sockets. The rest is tested over sockets in
//! `tests/integration/demo_upstream.rs`.

use std::num::NonZeroU32;
use std::sync::Arc;

use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::time::{Duration, Instant, sleep};

use super::*;
use crate::demo::generate::live_body;
use crate::demo::{Data, PASSWORD};

fn service(options: Options) -> Arc<Service> {
    Arc::new(Service::new(options).unwrap())
}

fn with_fault(fault: Fault) -> Arc<Service> {
    service(Options {
        data: Data::Fixtures,
        latency: Duration::ZERO,
        faults: [(Endpoint::Denial, fault)].into(),
        ..Options::default()
    })
}

fn get(endpoint: Endpoint) -> request::Parts {
    let mut request = http::Request::get(endpoint.path()).body(()).unwrap().into_parts().0;
    request.headers.typed_insert(Authorization::basic("demo", PASSWORD));
    request
}

fn call(endpoint: Endpoint) -> Call {
    Call { endpoint, query: ListQuery::default(), accepts_gzip: false }
}

#[tokio::test(start_paused = true)]
async fn seven_calls_at_once_take_four_seconds() {
    let service = service(Options::default());
    let start = Instant::now();
    assert_eq!(service.answer(get(Endpoint::Denial)).await.status(), StatusCode::OK);
    assert_eq!(start.elapsed().as_millis() / 100, 15);

    let start = Instant::now();
    let calls = Endpoint::PLAIN[1..].iter().map(|&endpoint| service.answer(get(endpoint)));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(start.elapsed().as_millis() / 100, 40);
}

#[tokio::test(start_paused = true)]
async fn new_incidents_arrive_while_it_runs() {
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_792_400_000);
    for gzip in [false, true] {
        let options = Options { started_at, gzip, latency: Duration::ZERO, ..Options::default() };
        let service = service(options);
        let mut answers = Vec::new();
        for minute in 0..2 {
            let mut request = get(Endpoint::Probing);
            request.headers.insert(ACCEPT_ENCODING, GZIP);
            let answer = service.answer(request).await.into_body();
            let answer = answer.collect().await.unwrap().to_bytes();
            let now = started_at + Duration::from_mins(minute);
            let expected = live_body(Endpoint::Probing, 0, now);
            assert!(if gzip { body::gzip(&expected) == answer } else { expected == answer });
            answers.push(answer);
            sleep(Duration::from_mins(1)).await;
        }
        assert_ne!(answers[0], answers[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_costs_no_time() {
    let service = service(Options::default());
    let start = Instant::now();
    let mut request = get(Endpoint::Denial);
    request.headers.clear();
    assert_eq!(service.answer(request).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn jitter_goes_both_ways_and_repeats_with_the_seed() {
    let times = async |seed| {
        let options = Options { jitter: 0.5, seed, ..Options::default() };
        let service = service(options);
        let mut times = Vec::new();
        for _ in 0..50 {
            let start = Instant::now();
            service.answer(get(Endpoint::Other)).await;
            times.push(start.elapsed());
        }
        times
    };
    let first = times(1).await;
    assert!(first.iter().all(|time| (750..=2260).contains(&time.as_millis())), "{first:?}");
    assert!(
        first.iter().any(|time| time.as_millis() < 1200)
            && first.iter().any(|time| time.as_millis() > 1800)
    );
    assert_eq!(first, times(1).await);
    assert_ne!(first, times(2).await);
}

#[tokio::test(start_paused = true)]
async fn the_requested_share_of_calls_fails() {
    let failures = async |fail| {
        let service = service(Options { fail, latency: Duration::ZERO, ..Options::default() });
        let mut failures = 0;
        for _ in 0..400 {
            let status = service.answer(get(Endpoint::Identities)).await.status();
            failures += u32::from(status == StatusCode::INTERNAL_SERVER_ERROR);
        }
        failures
    };
    assert_eq!(failures(0.0).await, 0);
    assert!((60..140).contains(&failures(0.25).await));
    assert_eq!(failures(1.0).await, 400);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_never_answers_and_slows_down_no_other() {
    let faults = [(Endpoint::Denial, Fault::Hang)].into();
    let service = service(Options { faults, ..Options::default() });
    let hanging = tokio::spawn({
        let service = service.clone();
        async move { service.answer(get(Endpoint::Denial)).await.status() }
    });
    sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    service.answer(get(Endpoint::Other)).await;
    assert_eq!(start.elapsed().as_millis() / 100, 15);
    sleep(Duration::from_hours(24)).await;
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stalling_source_sends_half_of_the_body_and_then_nothing() {
    let service = with_fault(Fault::Stall);
    let whole = service.body(&call(Endpoint::Denial));
    let answer = service.answer(get(Endpoint::Denial)).await;
    assert_eq!(answer.headers()[CONTENT_LENGTH], whole.len().to_string());
    let mut body = answer.into_body();
    let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half, whole[..whole.len() / 2]);
    sleep(Duration::from_hours(24)).await;
    assert!(body.frame().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dripping_source_sends_at_the_requested_rate() {
    for per_second in [1, 7, 100, 5000] {
        let fault = Fault::Drip(NonZeroU32::new(per_second).unwrap());
        let service = with_fault(fault);
        let size = service.body(&call(Endpoint::Denial)).len();
        let answer = service.answer(get(Endpoint::Denial)).await;
        let start = Instant::now();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), size);
        let expected = f64::from(u32::try_from(size).unwrap()) / f64::from(per_second);
        let took = start.elapsed().as_secs_f64();
        assert!(
            (took / expected - 1.0).abs() < 0.05,
            "{per_second} a second: {took} s, expected {expected} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_no_longer_in_flight() {
    let service = service(Options::default());
    let call = tokio::spawn({
        let service = service.clone();
        async move { service.answer(get(Endpoint::Denial)).await.status() }
    });
    service.wait_for_in_flight(1).await;
    call.abort();
    service.wait_for_in_flight(0).await;
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    use crate::demo::generate::Plan;

    let plan = |employees| Data::Generated(Plan { incidents: 1, employees, seed: 0 });
    for (options, expected) in [
        (Options { contention: f64::NAN, ..Options::default() }, "contention"),
        (Options { contention: -0.1, ..Options::default() }, "contention"),
        (Options { jitter: 1.1, ..Options::default() }, "jitter"),
        (Options { fail: f64::NAN, ..Options::default() }, "fail"),
        (Options { data: plan(0), ..Options::default() }, "employees"),
        (Options { data: plan(900_001), ..Options::default() }, "employees"),
    ] {
        let error = Service::new(options).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn gzip_is_accepted_by_name_unless_its_weight_is_zero() {
    for (value, expected) in [
        ("gzip", true),
        ("br, GZIP;q=0.5", true),
        ("zstd;q=1.0 , gzip ; q=1", true),
        ("gzip;q=0", false),
        ("gzip;q=0.000, br", false),
        ("identity", false),
        ("", false),
    ] {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
        assert_eq!(accepts_gzip(&headers), expected, "{value}");
    }
}
