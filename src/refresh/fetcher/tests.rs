//! An incremental source compared with full fetches of a simulated API, on paused time.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::sleep;
use tower::Service;

use super::*;
use crate::config;
use crate::outcome::Outcome;
use crate::refresh::StoredRecords;
use crate::upstream::{Answer, Attempt};

mod waits;

const WINDOW_SECONDS: i64 = 6 * 3600;
const OVERLAP_SECONDS: i64 = 600;
const FULL_EVERY_SECONDS: i64 = 12 * 3600;
const API: SourceId = SourceId::Incidents(0);

/// The time of the API when a test begins.
const START: i64 = 1_772_000_000;

/// Records by id: their time and version.
type Records = BTreeMap<u32, (i64, u32)>;

/// An API whose list is filtered by the time of the last change, and cut into pages.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: Records,
    page_size: usize,
    /// Which page of the next list fails.
    failing_page: Option<usize>,
    /// The page that is asked for, from 0, and from when on, of each request.
    asked: Vec<(usize, i64)>,
}

impl State {
    /// What a list from this time on has, in the order of time.
    fn from(&self, since: i64) -> Vec<(u32, i64, u32)> {
        let records = self.records.iter().filter(|(_, (at, _))| *at >= since);
        let mut list: Vec<_> = records.map(|(id, (at, version))| (*id, *at, *version)).collect();
        list.sort_by_key(|(id, at, _)| (*at, *id));
        list
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, UpstreamError> {
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let page = query.get("page").map_or(0, |page| page.parse().unwrap());
        let since: i64 = query["since"].parse().unwrap();
        self.asked.push((page, since));
        if self.failing_page == Some(page) {
            return Err(UpstreamError::new(Outcome::Body, "simulated"));
        }
        let list = self.from(since);
        let start = (page * self.page_size).min(list.len());
        let end = (start + self.page_size).min(list.len());
        let record = |(id, at, version): &(u32, i64, u32)| {
            format!(r#"{{"id":{id},"at":{at},"version":{version},"who":"ada"}}"#)
        };
        let records: Vec<_> = list[start..end].iter().map(record).collect();
        let next = if end < list.len() { (page + 1).to_string() } else { "null".to_owned() };
        let body = format!(r#"{{"results":[{}],"next":{next}}}"#, records.join(","));
        Ok(Answer::ok(request.url.clone(), Bytes::from(body)))
    }
}

impl Service<Attempt> for Api {
    type Response = Answer;
    type Error = UpstreamError;
    type Future = Ready<Result<Answer, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        ready(self.0.lock().unwrap().answer(&attempt.request))
    }
}

fn source_fetcher(api: &Api) -> SourceFetcher {
    let text = r#"
upstreams:
  api: { base_url: "http://api.example.test", retries: 0 }
sources:
  - { name: api, upstream: api, path: /list, query: { since: "{since:unix}" }, window: 6h,
      incremental: { overlap: 10m, full_every: 12h }, next: { cursor: next, query: page },
      id: id, priority: { default: low }, timestamp: at, identity: { at: who, as: employee_id } }
"#;
    let config = config::from_yaml("test.yaml", text).unwrap();
    let metrics = UpstreamMetrics::register(&mut crate::metrics::registry());
    let upstreams = Upstreams::with_transport(&config, api, &metrics, 1).unwrap();
    SourceFetcher::new(Arc::new(upstreams), &config, &metrics, false)
}

/// The records of a batch, by id.
fn records(batch: &Batch) -> Records {
    let Batch::Incidents(incidents) = batch else { unreachable!() };
    let mut records = Records::new();
    for record in incidents.records() {
        let envelope: serde_json::Value = serde_json::from_slice(incidents.bytes(record)).unwrap();
        let of = |name: &str| envelope["record"][name].as_i64().unwrap();
        assert_eq!(envelope["id"], of("id").to_string());
        let id = u32::try_from(of("id")).unwrap();
        let replaced = records.insert(id, (of("at"), u32::try_from(of("version")).unwrap()));
        assert!(replaced.is_none(), "each record is there once");
    }
    records
}

/// What happens between two fetches.
#[derive(Clone, Debug)]
struct Step {
    seconds: u64,
    /// How far the clock of each new record's origin is off.
    appear: Vec<i64>,
    /// The same for each record that changes, and which.
    change: Vec<(usize, i64)>,
    failing_page: Option<usize>,
    page_size: usize,
    /// Whether the data is stored after the fetch, and restored by another process.
    is_restored: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    let off = || -(OVERLAP_SECONDS - 1)..OVERLAP_SECONDS;
    let seconds = prop_oneof![
        8 => 1_u64..1800,
        2 => 1_u64..7200,
        1 => Just(10 * 3600_u64),
    ];
    (
        seconds,
        proptest::collection::vec(off(), 0..5),
        proptest::collection::vec((any::<usize>(), off()), 0..3),
        proptest::option::weighted(0.3, 0_usize..4),
        1_usize..6,
        any::<bool>(),
    )
        .prop_map(|(seconds, appear, change, failing_page, page_size, is_restored)| Step {
            seconds,
            appear,
            change,
            failing_page,
            page_size,
            is_restored,
        })
}

/// Takes the steps, and compares after each.
async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let api = Api::default();
    let sources = source_fetcher(&api);
    let mut held: Option<HeldBatch> = None;
    let (mut now, mut last_success, mut last_full) = (START, None, None);
    for (number, step) in steps.into_iter().enumerate() {
        sleep(Duration::from_secs(step.seconds)).await;
        now += i64::try_from(step.seconds).unwrap();
        {
            let mut state = api.0.lock().unwrap();
            for off in step.appear {
                let id = u32::try_from(state.records.len()).unwrap();
                state.records.insert(id, (now + off, 0));
            }
            for (which, off) in step.change {
                let count = state.records.len().max(1);
                if let Some((at, version)) = state.records.values_mut().nth(which % count) {
                    (*at, *version) = (now + off, *version + 1);
                }
            }
            state.failing_page = step.failing_page;
            state.page_size = step.page_size;
            state.asked.clear();
        }
        // Somewhere within the second.
        let started = Duration::from_secs(now.cast_unsigned()) + Duration::from_millis(700);
        let fetch = Fetch {
            source: API,
            started: SystemTime::UNIX_EPOCH + started,
            held: held.clone(),
            context: CallContext::default(),
        };
        let result = sources.fetch(fetch).await;
        let state = api.0.lock().unwrap();
        if state.asked.is_empty() {
            // The circuit is open.
            prop_assert!(result.is_err());
            continue;
        }
        let earliest = now - WINDOW_SECONDS;
        let since = state.asked[0].1;
        prop_assert!(state.asked.iter().all(|(_, asked)| *asked == since), "one time for all");
        let is_full_due = last_full.is_none_or(|full| now >= full + FULL_EVERY_SECONDS);
        let expected = match last_success {
            Some(last) if !is_full_due => earliest.max(last - OVERLAP_SECONDS),
            _ => earliest,
        };
        prop_assert_eq!(
            since,
            expected,
            "neither less nor more than is needed, in step {}",
            number
        );
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(error) => {
                prop_assert_eq!(error.kind, Outcome::Body);
                prop_assert!(step.failing_page.is_some());
                continue;
            }
        };
        let full: Records =
            state.from(earliest).into_iter().map(|(id, at, version)| (id, (at, version))).collect();
        prop_assert_eq!(records(&fetched.batch), full, "step {}", number);
        last_success = Some(now);
        if since == earliest {
            last_full = Some(now);
        }
        let fetched = if step.is_restored { restored(&sources, &fetched) } else { fetched };
        held = Some(HeldBatch { batch: fetched.batch, memory: fetched.memory });
    }
    Ok(())
}

/// The same data, as another process restores it.
fn restored(sources: &SourceFetcher, fetched: &FetchedBatch) -> FetchedBatch {
    let Batch::Incidents(incidents) = &fetched.batch else { unreachable!() };
    let bytes = incidents.records().iter().map(|record| incidents.bytes(record));
    let content = StoredContent::Records(StoredRecords::of_bytes(bytes));
    let report = SourceReport { resume: fetched.memory.resume(), ..SourceReport::default() };
    sources.restore(API, &content, &report).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Records appear and change, with times that are off by less than the overlap, and leave the
    /// window; pages fail; the process is restarted. After each fetch that succeeds, the data is
    /// that of a full fetch.
    #[test]
    fn an_incremental_source_has_what_a_full_fetch_has(
        steps in proptest::collection::vec(any_step(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps))?;
    }
}
