//! The adaptive concurrency limit, through the whole stack, against simulated upstreams on paused
//! time. The scenarios are data: `tests/scenarios/`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::support::one_source::get;
use crate::support::simulated_upstream::{Law, SimulatedUpstream};
use futures::future::join_all;
use incident_gateway::config::{Concurrency, Config};
use incident_gateway::metrics;
use incident_gateway::upstream::{CallContext, Upstream, UpstreamMetrics};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

const EVERY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    about: String,
    sources: usize,
    most: usize,
    seeds: u64,
    phases: Vec<Phase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Phase {
    refreshes: usize,
    law: Law,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    limit: (usize, usize),
    refresh_over_best: Option<f64>,
    #[serde(default)]
    latency_below_most: bool,
}

/// One refresh: all sources at once, as the refresh stage calls them.
struct Refresh {
    limit: usize,
    took: f64,
    latencies: Vec<f64>,
}

fn upstream(
    sim: &SimulatedUpstream,
    concurrency: Concurrency,
    scenario: &Scenario,
    seed: u64,
) -> Upstream {
    let settings = incident_gateway::config::Upstream {
        concurrency,
        max_concurrency: scenario.most,
        ..Config::default().upstream
    };
    let names: Vec<_> = (0..scenario.sources).map(|i| format!("source{i}").into()).collect();
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    Upstream::with_transport("default", &settings, &names, sim, &metrics, seed)
}

async fn refresh(upstream: &Upstream, sources: usize) -> Refresh {
    let (began, limit) = (Instant::now(), upstream.load().limit);
    let caller = CallContext::default();
    let calls =
        (0..sources).map(|source| upstream.fetch(source, get(upstream, "/"), caller.clone()));
    let answers = join_all(calls).await;
    let took = began.elapsed();
    let answered = answers.into_iter().flatten();
    let latencies = answered
        .map(|fetched| {
            let latency = fetched.duration().as_secs_f64();
            fetched.accept();
            latency
        })
        .collect();
    sleep(EVERY.saturating_sub(took)).await;
    Refresh { limit, took: took.as_secs_f64(), latencies }
}

async fn refreshes(upstream: &Upstream, sources: usize, count: usize) -> Vec<Refresh> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(refresh(upstream, sources).await);
    }
    all
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

fn mean_took(refreshes: &[Refresh]) -> f64 {
    mean(refreshes.iter().map(|refresh| refresh.took))
}

fn mean_latency(refreshes: &[Refresh]) -> f64 {
    mean(refreshes.iter().flat_map(|refresh| refresh.latencies.iter().copied()))
}

/// What each fixed limit makes of a law, from 1 up.
async fn fixed(scenario: &Scenario, law: &Law) -> Vec<Vec<Refresh>> {
    let mut all = Vec::new();
    for limit in 1..=scenario.most.min(scenario.sources) {
        let sim = SimulatedUpstream::new(law.clone(), 1);
        let upstream = upstream(&sim, Concurrency::Fixed(limit), scenario, 1);
        let refreshes = refreshes(&upstream, scenario.sources, 20).await;
        assert!(
            sim.most_in_flight() <= limit,
            "a fixed limit of {limit} let {} through",
            sim.most_in_flight()
        );
        all.push(refreshes);
    }
    all
}

fn usual_limit(refreshes: &[Refresh]) -> usize {
    let mut counts = BTreeMap::new();
    for refresh in refreshes {
        *counts.entry(refresh.limit).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).unwrap().0
}

/// Plays a scenario with each of its seeds; what it finds wrong, in words.
async fn play(name: &str, scenario: &Scenario) -> Vec<String> {
    let mut faults = Vec::new();
    let mut baselines = Vec::new();
    for phase in &scenario.phases {
        baselines.push(fixed(scenario, &phase.law).await);
    }
    for seed in 0..scenario.seeds {
        let sim = SimulatedUpstream::new(scenario.phases[0].law.clone(), seed);
        let upstream = upstream(&sim, Concurrency::Auto, scenario, seed);
        for (number, (phase, fixed)) in scenario.phases.iter().zip(&baselines).enumerate() {
            sim.obey(phase.law.clone());
            let refreshes = refreshes(&upstream, scenario.sources, phase.refreshes).await;
            let limits: Vec<_> = refreshes.iter().map(|refresh| refresh.limit).collect();
            for fault in judge(&phase.expect, &refreshes, fixed) {
                faults.push(format!(
                    "{name}, phase {number}, seed {seed}: {fault}\n  limits {limits:?}"
                ));
            }
        }
        if sim.most_in_flight() > scenario.most {
            faults.push(format!("{name}, seed {seed}: {} in flight at once", sim.most_in_flight()));
        }
    }
    faults
}

fn judge(expect: &Expect, refreshes: &[Refresh], fixed: &[Vec<Refresh>]) -> Vec<String> {
    let mut faults = Vec::new();
    let judged = &refreshes[refreshes.len() / 2..];
    let (usual, (low, high)) = (usual_limit(judged), expect.limit);
    if !(low..=high).contains(&usual) {
        faults.push(format!("the limit is usually {usual}, not within {low} to {high}"));
    }
    if let Some(most) = expect.refresh_over_best {
        let best = fixed.iter().map(|refreshes| mean_took(refreshes)).fold(f64::INFINITY, f64::min);
        let ratio = mean_took(judged) / best;
        if ratio > most {
            faults.push(format!(
                "a refresh takes {ratio:.3} times the best fixed limit's {best:.2} s"
            ));
        }
    }
    if expect.latency_below_most {
        let (mine, most) = (mean_latency(judged), mean_latency(fixed.last().unwrap()));
        if mine >= most {
            faults.push(format!("a call takes {mine:.2} s, at the highest limit {most:.2} s"));
        }
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut played = 0;
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let scenario: Scenario =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            println!("{name}: {}", scenario.about);
            faults.extend(play(&name, &scenario).await);
            played += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(played >= 16, "only {played} scenarios were found");
}

/// The figures that the contract reports of the upstream: what the scenarios stand on.
#[tokio::test(start_paused = true)]
async fn the_simulated_upstream_matches_the_reported_latencies() {
    for law in [
        r#"{ "latency": 1.5, "factor": 0.0463, "power": 2 }"#,
        r#"{ "latency": 1.5, "factor": 0.278, "power": 1 }"#,
    ] {
        let law: Law = serde_json::from_str(law).unwrap();
        let scenario =
            Scenario { about: String::new(), sources: 7, most: 7, seeds: 1, phases: Vec::new() };
        let sim = SimulatedUpstream::new(law, 0);
        for (limit, alone) in [(1, 1.5), (7, 4.0)] {
            let upstream = upstream(&sim, Concurrency::Fixed(limit), &scenario, 0);
            let latency = mean_latency(&[refresh(&upstream, scenario.sources).await]);
            assert!((latency - alone).abs() < 0.02, "at {limit}: {latency}");
        }
    }
}

/// A call that is given up must give its place back, or the limit would leak away.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_returns_its_permit() {
    let law: Law = serde_json::from_str(r#"{ "latency": 1.5, "hanging": [0, 1, 2] }"#).unwrap();
    let scenario =
        Scenario { about: String::new(), sources: 8, most: 8, seeds: 1, phases: Vec::new() };
    let sim = SimulatedUpstream::new(law, 0);
    let upstream = upstream(&sim, Concurrency::Fixed(3), &scenario, 0);
    for _ in 0..3 {
        let caller = CallContext::default();
        let calls = join_all(
            (0..6).map(|source| upstream.fetch(source, get(&upstream, "/"), caller.clone())),
        );
        assert!(tokio::time::timeout(Duration::from_secs(1), calls).await.is_err());
        assert_eq!(upstream.load().in_flight, 0);
    }
    assert_eq!(upstream.load().limit, 3);
    let took = Instant::now();
    upstream.fetch(5, get(&upstream, "/"), CallContext::default()).await.unwrap().accept();
    assert!(took.elapsed() < Duration::from_secs(2));
    assert_eq!(sim.calls(5), 1, "a call that was waiting when it was dropped must never be made");
}
