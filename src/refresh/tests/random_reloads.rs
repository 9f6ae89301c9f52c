//! Random reloads, compared with a fresh start.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tokio::time::sleep;

use super::named_script::*;
use super::script::*;
use super::*;
use crate::config::{Config, IDENTITIES, Origin};
use crate::sources::{definitions, names};

/// The sources that a configuration may have; the position in this list is no order.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TABLES: [&str; 3] = ["/one/", "/two/", "/three/"];
const TTLS: [u64; 3] = [10, 30, 120];

/// A source of a configuration.
#[derive(Clone, Debug)]
struct Part {
    name: &'static str,
    version: u8,
    every: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Wait {
        millis: u64,
    },
    Reload {
        tables: Vec<&'static str>,
        parts: Vec<Part>,
        ttl: u64,
        retries: usize,
    },
    /// Lets a source answer otherwise: after a time with this many records, or with a failure.
    Answer {
        name: &'static str,
        millis: u64,
        records: Option<usize>,
    },
}

fn any_part() -> impl Strategy<Value = Vec<Part>> {
    let every = || prop_oneof![3 => Just(None), 1 => Just(Some(7)), 1 => Just(Some(300))];
    let part =
        |name| (0_u8..2, every()).prop_map(move |(version, every)| Part { name, version, every });
    let all = (part(NAMES[0]), part(NAMES[1]), part(NAMES[2]), part(NAMES[3]));
    all.prop_flat_map(|(a, b, c, d)| {
        (proptest::sample::subsequence(vec![a, b, c, d], 1..=4)).prop_shuffle()
    })
}

fn any_tables() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(TABLES.to_vec(), 0..=2).prop_shuffle()
}

fn any_reload() -> impl Strategy<Value = Step> {
    (any_tables(), any_part(), proptest::sample::select(TTLS.to_vec()), 0_usize..2)
        .prop_map(|(tables, parts, ttl, retries)| Step::Reload { tables, parts, ttl, retries })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_u64..90_000).prop_map(|millis| Step::Wait { millis }),
        1 => (1_u64..60).prop_map(|millis| Step::Wait { millis }),
        3 => any_reload(),
        2 => (
            proptest::sample::select(NAMES.to_vec()),
            0_u64..8000,
            proptest::option::weighted(0.7, 0_usize..5),
        ).prop_map(|(name, millis, records)| Step::Answer { name, millis, records }),
    ]
}

fn configured(tables: &[&str], parts: &[Part], ttl: u64, retries: usize) -> Config {
    let sources: Vec<_> = parts.iter().map(|part| (part.name, "/path/")).collect();
    let mut config = config(tables, &sources);
    for (source, part) in config.sources.iter_mut().zip(parts) {
        source.every = part.every.map(seconds);
        let Origin::Http(http) = &mut source.origin else { unreachable!() };
        http.max_pages += usize::from(part.version);
    }
    config.cache.ttl = seconds(ttl);
    // A change of the upstream is one of each of its sources.
    config.upstream.retries = retries;
    config
}

fn list(millis: u64, records: usize) -> Answer {
    let Answer::Body(_, body) = incidents(0, &vec!["7"; records]) else { unreachable!() };
    Answer::Body(Duration::from_millis(millis), body)
}

/// The shortest interval of each source that is unchanged since its last call that succeeded; a
/// source without one may be called at any time.
#[derive(Default)]
struct Model {
    intervals: BTreeMap<String, Duration>,
    /// The calls that were looked at.
    seen: BTreeSet<usize>,
    last_success: BTreeMap<String, Duration>,
}

impl Model {
    /// Takes the calls since the last time into account, during which `config` was in effect.
    fn look(&mut self, world: &World, config: &Config) -> Result<(), TestCaseError> {
        for (number, call) in world.made().iter().enumerate() {
            // One in flight is looked at when it has ended.
            let Some(succeeded) = call.succeeded else { continue };
            // Tables change their names with their positions; other tests have them.
            if call.name.starts_with(IDENTITIES) || !self.seen.insert(number) {
                continue;
            }
            if let Some(last) = self.last_success.remove(&call.name) {
                // A source may join a round late, but has a rest of a quarter of the interval.
                let shortest = self.intervals[&call.name] / 4;
                let gap = call.at.checked_sub(last).unwrap();
                prop_assert!(gap >= shortest, "{call:?} {gap:?} after the last, not {shortest:?}");
            }
            if succeeded {
                self.last_success.insert(call.name.clone(), call.at);
                self.intervals.insert(call.name.clone(), interval(config, &call.name));
            }
        }
        Ok(())
    }

    /// Another configuration is in effect from now on.
    fn reload(&mut self, before: &Config, after: &Config) {
        let (old_names, old) = (names(before), definitions(before));
        let (new_names, new) = (names(after), definitions(after));
        let find = |name: &str| new_names.entries().find(|(_, known)| ***known == *name);
        for (id, name) in old_names.entries() {
            if find(name).is_none_or(|(after, _)| new[after] != old[id]) {
                self.last_success.remove(&**name);
            } else if let Some(shortest) = self.intervals.get_mut(&**name) {
                *shortest = interval(after, name).min(*shortest);
            }
        }
    }
}

fn interval(config: &Config, name: &str) -> Duration {
    let source = config.sources.iter().find(|source| source.name == name);
    source.and_then(|source| source.every).unwrap_or(config.cache.ttl)
}

/// What a client sees of a refresh, but for ages and times.
fn visible(bench: &Bench) -> String {
    let snapshot = bench.snapshot();
    let sources: Vec<_> = snapshot
        .sources
        .iter()
        .map(|source| {
            let state = source.freshness(Instant::now());
            let (name, upstream, policy) = (&source.name, &source.upstream, &source.policy);
            let errors = (&source.last_error, source.consecutive_failures);
            let sizes = (source.records, source.bytes, source.pages);
            format!("{name} {upstream:?} {policy:?} {state:?} {errors:?} {sizes:?}")
        })
        .collect();
    let names = snapshot.view.names();
    format!("{sources:#?} {names:?} {:?} {}", snapshot.view.fields(), bench.document())
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let world = World::new();
    let mut present = configured(&["/one/"], &[Part { name: "a", version: 0, every: None }], 30, 0);
    let mut running = Running::start(&world, &present);
    let mut snapshots = running.bench.snapshots.clone();
    let watch = tokio::spawn(async move {
        let mut last_view = 0;
        while snapshots.changed().await.is_ok() {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let names = snapshot.sources.incidents().iter().map(|source| &source.name);
            assert!(names.eq(snapshot.view.names()), "the statuses are those of the view");
            assert_eq!(snapshot.view.revisions().len(), snapshot.view.names().len());
            assert!(snapshot.view.id() >= last_view);
            last_view = snapshot.view.id();
            for (source, batch) in snapshot.sources.incidents().iter().zip(snapshot.view.batches())
            {
                assert_eq!(source.fetched_at.is_some(), batch.is_some());
                assert_eq!(source.records, batch.as_ref().map_or(0, |batch| batch.records().len()));
            }
        }
    });
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Wait { millis } => sleep(Duration::from_millis(millis)).await,
            Step::Reload { tables, parts, ttl, retries } => {
                let next = configured(&tables, &parts, ttl, retries);
                model.look(&world, &present)?;
                model.reload(&present, &next);
                running.reconfigure(&next);
                present = next;
            }
            Step::Answer { name, millis, records } => {
                let failed = Answer::Fail(Duration::from_millis(millis), Outcome::Body, None);
                world.answer(name, records.map_or(failed, |records| list(millis, records)));
            }
        }
        let in_flight = world.in_flight.load(std::sync::atomic::Ordering::Relaxed);
        prop_assert!(in_flight <= NAMES.len() + TABLES.len(), "at most one for each source");
    }
    for (records, name) in NAMES.iter().enumerate() {
        world.answer(name, list(100, records));
    }
    // Longer than any interval and backoff.
    sleep(seconds(700)).await;
    model.look(&world, &present)?;
    running.bench.until("complete", complete).await;
    let fresh = Running::complete(&world, &present).await;
    prop_assert_eq!(visible(&running.bench), visible(&fresh.bench));
    prop_assert!(!watch.is_finished(), "no snapshot was wrong");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// After any reloads, all is as after a fresh start with the last configuration. Unchanged
    /// sources were not called before they were due, and each snapshot was consistent.
    #[test]
    fn reloads_lead_to_what_a_fresh_start_leads_to(
        steps in proptest::collection::vec(any_step(), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps))?;
    }
}
