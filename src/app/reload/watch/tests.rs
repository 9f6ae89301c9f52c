use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::config::from_yaml;
use crate::metrics::{encode, registry};

/// A configuration that is what the test says, from one look to the next; the last stays.
struct Script(Mutex<VecDeque<String>>);

impl Script {
    fn new(texts: &[&str]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(texts.iter().map(|text| (*text).to_owned()).collect())))
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if texts.len() > 1 { texts.pop_front() } else { texts.front().cloned() };
        from_yaml("c.yaml", &text.unwrap())
    }

    fn set(&self, texts: &[&str]) {
        *self.0.lock().unwrap() = texts.iter().map(|text| (*text).to_owned()).collect();
    }

    fn looks_left(&self) -> usize {
        self.0.lock().unwrap().len() - 1
    }
}

const OLD: &str = "response_budget: 1s";
const NEW: &str = "response_budget: 2s";
const INVALID: &str = "response_budget: never";

fn valid(text: &str) -> Loaded {
    Loaded::Valid(Box::new(from_yaml("c.yaml", text).unwrap()))
}

fn look_at(texts: &[&str], last: &Loaded) -> (Option<Loaded>, usize) {
    let script = Script::new(texts);
    let load = Arc::clone(&script);
    let seen = look(&move || load.load(), last);
    (seen, script.looks_left())
}

#[test]
fn a_change_counts_once_two_looks_agree() {
    let last = valid(OLD);
    assert_eq!(look_at(&[OLD], &last).0, None);
    assert_eq!(look_at(&[NEW], &last).0, Some(valid(NEW)));
    let between = "response_budget: 1500ms";
    assert_eq!(look_at(&[between, NEW, NEW, OLD], &last), (Some(valid(NEW)), 0));
    assert_eq!(look_at(&[between, OLD, NEW], &last), (None, 0), "it is as it was");
    let restless = [NEW, between, NEW, between, NEW, between, NEW];
    assert_eq!(look_at(&restless, &last), (None, restless.len() - 1 - MAX_LOOKS));
}

#[test]
fn faults_are_equal_if_their_text_is() {
    let (first, _) = look_at(&[INVALID], &valid(OLD));
    let first = first.unwrap();
    let Loaded::Invalid(faults) = &first else { panic!("{first:?}") };
    assert!(faults.contains("c.yaml:1:") && faults.contains("response_budget"), "{faults}");
    assert_eq!(look_at(&[INVALID], &first).0, None);
    assert!(matches!(
        look_at(&["response_budget: soon"], &first).0,
        Some(Loaded::Invalid(other)) if other != *faults
    ));
    let (two, _) = look_at(&["response_budget: never\ncache: { ttl: x }"], &first);
    let Some(Loaded::Invalid(faults)) = two else { panic!("{two:?}") };
    assert!(faults.contains(" | c.yaml:2:"), "{faults}");
}

/// Whether the metrics say that the last reload was successful.
struct Metrics(prometheus_client::registry::Registry, ReloadMetrics);

impl Metrics {
    fn new() -> Self {
        let mut registry = registry();
        let metrics = ReloadMetrics::register(&mut registry);
        Self(registry, metrics)
    }

    fn is_successful(&self) -> bool {
        let page = encode(&self.0);
        page.contains("\nincident_gateway_config_last_reload_successful 1\n")
    }
}

#[tokio::test(start_paused = true)]
async fn the_configuration_is_looked_at_in_intervals() {
    let script = Script::new(&[OLD]);
    let load = Arc::clone(&script);
    let interval = Duration::from_secs(10);
    let loaded = script.load().unwrap();
    let mut watch = ConfigWatch::new(loaded, Arc::new(move || load.load()), interval).unwrap();
    let metrics = Metrics::new();
    assert!(metrics.is_successful(), "from the start");
    let began = Instant::now();
    script.set(&[OLD, OLD, NEW]);
    let changed = watch.changed(&metrics.1).await;
    assert_eq!(changed.response_budget, Duration::from_secs(2));
    assert_eq!(began.elapsed().as_secs(), 30, "the third look");

    script.set(&[INVALID]);
    let minute = tokio::time::timeout(Duration::from_mins(1), watch.changed(&metrics.1));
    assert!(minute.await.is_err());
    assert!(!metrics.is_successful());
    script.set(&[NEW]);
    let again = watch.changed(&metrics.1).await;
    assert_eq!(again, changed, "an invalid one in between does not hide the one before");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_is_a_fault_until_one_succeeds() {
    let script = Script::new(&[OLD]);
    let load = Arc::clone(&script);
    let loaded = script.load().unwrap();
    let load = Arc::new(move || {
        let loaded = load.load();
        assert!(loaded.is_ok(), "the test's panic");
        loaded
    });
    let mut watch = ConfigWatch::new(loaded.clone(), load, LOOK_INTERVAL).unwrap();
    let metrics = Metrics::new();
    script.set(&[INVALID]);
    let minute = tokio::time::timeout(Duration::from_mins(1), watch.changed(&metrics.1));
    assert!(minute.await.is_err());
    assert!(!metrics.is_successful());
    script.set(&[OLD]);
    assert_eq!(watch.changed(&metrics.1).await, loaded, "it takes effect, though it did before");
}
