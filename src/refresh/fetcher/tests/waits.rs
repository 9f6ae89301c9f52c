//! Waits in the middle of a list.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;
use tower::service_fn;

use super::super::*;
use crate::config;
use crate::outcome::Outcome;
use crate::upstream::{Answer, Attempt};

/// The wait that each page after the first asks for once.
const WAIT: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn waits_between_pages_end_within_an_hour() {
    let text = r#"
upstreams:
  api: { base_url: "http://api.example.test", retries: 0 }
sources:
  - { name: api, upstream: api, path: /list, next: { cursor: next, query: page },
      priority: { default: low }, identity: { at: who, as: employee_id } }
"#;
    let config = config::from_yaml("test.yaml", text).unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    // The list never ends.
    let api = service_fn(move |attempt: Attempt| {
        let request = requests.fetch_add(1, Ordering::Relaxed);
        let answer = if request % 2 == 1 {
            Err(UpstreamError::new(Outcome::RateLimited, "simulated")
                .with_status(StatusCode::TOO_MANY_REQUESTS)
                .with_retry_after(Some(WAIT)))
        } else {
            let body = format!(r#"{{"results":[],"next":{request}}}"#);
            Ok(Answer::ok(attempt.request.url.clone(), Bytes::from(body)))
        };
        std::future::ready(answer)
    });
    let metrics = UpstreamMetrics::register(&mut crate::metrics::registry());
    let upstreams = Upstreams::with_transport(&config, &api, &metrics, 1).unwrap();
    let fetcher = SourceFetcher::new(Arc::new(upstreams), &config, &metrics, false);
    let started = Instant::now();
    let fetch = Fetch {
        source: SourceId::Incidents(0),
        started: SystemTime::now(),
        held: None,
        context: CallContext::default(),
    };
    let error = fetcher.fetch(fetch).await.unwrap_err();
    assert_eq!(error.kind, Outcome::RateLimited);
    let took = started.elapsed();
    let hour = Duration::from_hours(1);
    assert!(took + 2 * WAIT > hour && took <= hour, "{took:?}");
}
