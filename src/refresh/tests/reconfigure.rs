//! Sources that stay, change, come and go while the refresh runs.

mod schedule;

use std::sync::atomic::Ordering;

use tokio::time::sleep;

use super::named_script::*;
use super::script::*;
use super::*;
use crate::config::{Config, TableRows};
use crate::json::Path;
use crate::mapping::IdentityKind;

const MINUTE: Duration = Duration::from_mins(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A table, and two sources.
fn three() -> Config {
    config(&["/t/"], &[("a", "/a/"), ("b", "/b/")])
}

/// A world in which these sources have records.
fn world() -> Arc<World> {
    let world = World::new();
    world.answer("a", incidents(1, &["7"]));
    world.answer("b", incidents(1, &["8", "8"]));
    world.answer("c", incidents(1, &["9"]));
    world
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_makes_no_call_and_no_view() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    sleep(seconds(5)).await;
    let (view, calls) = (running.bench.snapshot().view.id(), world.made().len());
    let due: Vec<_> =
        running.bench.snapshot().sources.iter().map(|source| source.next_attempt).collect();
    for _ in 0..100 {
        running.apply(&three()).await;
    }
    let snapshot = running.bench.snapshot();
    assert_eq!((snapshot.view.id(), world.made().len()), (view, calls));
    let now_due: Vec<_> = snapshot.sources.iter().map(|source| source.next_attempt).collect();
    assert_eq!(now_due, due);
    assert!(snapshot.sources[SourceId::Incidents(0)].age(Instant::now()).unwrap() >= seconds(5));
    sleep(TTL).await;
    assert_eq!(world.made().len(), 2 * calls, "the schedule goes on");
    assert!(world.made()[calls..].iter().all(|made| made.has_held));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_unchanged_source_goes_on() {
    let world = world();
    world.answer("b", incidents(5, &["8"]));
    let mut running = Running::start(&world, &three());
    sleep(seconds(2)).await;
    // Its position changes, too.
    running.apply(&config(&["/t/"], &[("c", "/c/"), ("b", "/b/"), ("a", "/a/")])).await;
    assert_eq!(world.in_flight.load(Ordering::Relaxed), 2, "those of b and c");
    let took = running.bench.until("all", complete).await;
    assert!(took <= seconds(3), "{took:?}");
    assert_eq!((world.calls_of("a"), world.calls_of("b"), world.calls_of("c")), (1, 1, 1));
    let snapshot = running.bench.snapshot();
    let records: Vec<_> = snapshot.sources.incidents().iter().map(|one| one.records).collect();
    assert_eq!(records, [1, 1, 1]);
    assert_eq!(&*snapshot.sources.incidents()[1].name, "b");
}

#[tokio::test(start_paused = true)]
async fn a_new_source_is_fetched_at_once_and_nobody_waits_for_it() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    sleep(seconds(3)).await;
    let before = world.made().len();
    world.answer("c", incidents(4, &["9"]));
    let four = config(&["/t/"], &[("a", "/a/"), ("c", "/c/"), ("b", "/b/")]);
    running.apply(&four).await;
    let snapshot = running.bench.snapshot();
    assert!(!snapshot.is_loading() && snapshot.has_data() && snapshot.has_had_data());
    assert_eq!(snapshot.completeness(Instant::now()), Completeness::Partial);
    assert_eq!(snapshot.view.index().incident_count(), 3, "those of a and b");
    assert!(snapshot.is_fetching_missing(), "who needs all of them may wait");
    assert!(running.bench.until("all", complete).await <= seconds(4));
    assert_eq!(world.made().len(), before + 1);
    assert_eq!(running.bench.snapshot().view.index().incident_count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_source_is_gone_at_once_with_its_call_and_its_data() {
    let world = world();
    world.answer("b", incidents(5, &["8"]));
    let mut running = Running::start(&world, &three());
    sleep(seconds(2)).await;
    let batch = Arc::downgrade(running.bench.snapshot().view.batches()[0].as_ref().unwrap());
    running.apply(&config(&["/t/"], &[("c", "/c/")])).await;
    assert_eq!(world.in_flight.load(Ordering::Relaxed), 1, "that of c alone");
    assert_eq!(running.bench.snapshot().sources.len(), 2);
    running.bench.until("all", complete).await;
    sleep(seconds(1)).await;
    assert!(running.bench.frees(|| batch.strong_count() == 0).await);
    sleep(5 * MINUTE).await;
    assert_eq!((world.calls_of("a"), world.calls_of("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_source_stands_on_its_old_data_until_its_first_fetch() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    let revisions = running.bench.snapshot().view.revisions().to_vec();
    sleep(seconds(5)).await;
    let mut changed = three();
    redefine(&mut changed, "b");
    world.answer("b", fail(1, Outcome::Status));
    running.apply(&changed).await;
    assert_eq!(world.calls_of("b"), 2, "it is due at once");
    assert!(!world.made().last().unwrap().has_held, "nothing of the old definition is used");
    sleep(seconds(2)).await;
    let snapshot = running.bench.snapshot();
    assert_eq!(snapshot.sources[SourceId::Incidents(1)].records, 2);
    let age = snapshot.sources[SourceId::Incidents(1)].age(Instant::now()).unwrap();
    assert!(age >= seconds(7), "{age:?}");
    assert_eq!(snapshot.completeness(Instant::now()), Completeness::Stale);
    assert_eq!(snapshot.view.revisions(), revisions);

    // The same bytes are other data now: they may be mapped differently.
    world.answer("b", incidents(1, &["8", "8"]));
    let view = snapshot.view.id();
    running.bench.until("new", |snapshot| snapshot.view.id() != view).await;
    assert!(!world.made().last().unwrap().has_held);
    let snapshot = running.bench.snapshot();
    assert_eq!(snapshot.view.revisions()[0], revisions[0]);
    assert_ne!(snapshot.view.revisions()[1], revisions[1]);
    assert_eq!(world.calls_of("a"), 1);
    sleep(TTL + seconds(2)).await;
    assert!(world.made().iter().rev().find(|made| made.name == "b").unwrap().has_held);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_the_old_definition_is_dropped() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    world.answer("b", incidents(10, &["1"]));
    sleep(TTL + seconds(3)).await;
    assert_eq!(world.in_flight.load(Ordering::Relaxed), 1);
    let mut changed = three();
    redefine(&mut changed, "b");
    world.answer("b", incidents(20, &["2"]));
    running.apply(&changed).await;
    assert_eq!(world.in_flight.load(Ordering::Relaxed), 1, "not two at once");
    sleep(seconds(15)).await;
    assert_eq!(running.bench.snapshot().view.index().employee("8").map(|_| ()), Some(()));
    sleep(seconds(10)).await;
    let snapshot = running.bench.snapshot();
    let index = snapshot.view.index();
    assert!(index.employee("2").is_some() && index.employee("1").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_dropped_call_is_no_failure_of_its_successor() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    sleep(TTL.saturating_sub(seconds(2))).await;
    let Answer::Body(_, body) = incidents(0, &["8"]) else { unreachable!() };
    world.answer("b", Answer::Retried(seconds(9), body));
    running.bench.until("a retry", |snapshot| snapshot.sources[PROBING].last_error.is_some()).await;
    let mut changed = three();
    redefine(&mut changed, "b");
    world.answer("b", incidents(3, &["8"]));
    running.apply(&changed).await;
    sleep(seconds(5)).await;
    let status = running.bench.snapshot().sources[PROBING].clone();
    assert_eq!((status.consecutive_failures, status.records), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_newest_of_several_reconfigurations_counts() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    running.reconfigure(&config(&["/t/"], &[("c", "/c/")]));
    running.reconfigure(&config(&[], &[("b", "/elsewhere/")]));
    running.apply(&config(&["/t/"], &[("b", "/b/"), ("a", "/a/")])).await;
    sleep(seconds(5)).await;
    assert_eq!(world.made().len(), 3, "those between were never applied");
    assert_eq!(running.bench.completeness(), Completeness::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_reload_can_replace_everything() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    running.apply(&config(&[], &[("c", "/c/")])).await;
    let snapshot = running.bench.snapshot();
    assert!(snapshot.has_had_data(), "readiness does not depend on a reload");
    assert!(!snapshot.has_data() && snapshot.is_loading(), "as at the start, callers wait");
    assert!(running.bench.until("all", complete).await <= seconds(2));
    assert!(running.bench.snapshot().has_had_data());
}

#[tokio::test(start_paused = true)]
async fn a_reload_helps_where_no_source_has_data() {
    let world = World::new();
    for name in ["identities", "a", "b"] {
        world.answer(name, fail(1, Outcome::Status));
    }
    let mut running = Running::start(&world, &three());
    sleep(10 * MINUTE).await;
    assert!(!running.bench.snapshot().has_had_data());
    let calls = world.made().len();
    for (name, answer) in
        [("identities", table(1, "{}")), ("a", incidents(1, &["7"])), ("b", incidents(1, &["8"]))]
    {
        world.answer(name, answer);
    }
    let mut changed = three();
    changed.upstream.username = Some("corrected".to_owned());
    running.apply(&changed).await;
    assert_eq!(world.made().len(), calls + 3, "all sources of the upstream");
    assert!(running.bench.snapshot().is_fetching_missing(), "it is worth waiting");
    assert!(running.bench.until("all", complete).await <= seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_table_keeps_its_data_when_its_position_changes() {
    let world = world();
    world.answer("identities", table(1, r#"{"17.0.0.1": 7}"#));
    world.answer("identities-2", table(1, r#"{"17.0.0.2": 8}"#));
    world.answer("a", incidents(1, &["\"17.0.0.1\"", "\"17.0.0.2\""]));
    let sources = [("a", "/a/")];
    let mut running = Running::complete(&world, &config(&["/one/", "/two/"], &sources)).await;
    let (calls, document) = (world.made().len(), running.bench.document());
    running.apply(&config(&["/two/", "/one/"], &sources)).await;
    sleep(seconds(3)).await;
    let names = |bench: &Bench| -> Vec<_> {
        bench.snapshot().sources.tables().iter().map(|table| table.name.to_string()).collect()
    };
    assert_eq!(names(&running.bench), ["identities", "identities-2"]);
    assert_eq!((world.made().len(), running.bench.document()), (calls, document));

    // The first is dropped: the other takes its name, and has its own data still.
    running.apply(&config(&["/one/"], &sources)).await;
    sleep(seconds(1)).await;
    assert_eq!((world.made().len(), names(&running.bench)), (calls, vec!["identities".to_owned()]));
    let snapshot = running.bench.snapshot();
    let index = snapshot.view.index();
    assert!(index.employee("7").is_some() && index.employee("8").is_none());
    assert_eq!(index.unattributed()[0].reason.as_str(), "unknown_ip");
}

#[tokio::test(start_paused = true)]
async fn a_changed_table_stands_on_its_old_data() {
    let world = world();
    world.answer("identities", table(1, r#"{"17.0.0.1": 7}"#));
    world.answer("a", incidents(1, &["\"17.0.0.1\"", "\"17.0.0.2\""]));
    let mut with_emails = config(&["/t/"], &[("a", "/a/")]);
    let mut running = Running::complete(&world, &with_emails).await;
    world.answer("identities", fail(1, Outcome::Status));
    with_emails.identities[0].rows = Some(TableRows {
        records: None,
        employee: vec![Path::name("id")],
        keys: vec![(IdentityKind::Email, vec![Path::name("mail")])],
        name: Vec::new(),
    });
    running.apply(&with_emails).await;
    sleep(seconds(3)).await;
    let snapshot = running.bench.snapshot();
    assert!(snapshot.view.index().employee("7").is_some(), "it stands on its old data");
    let reason = snapshot.view.index().unattributed()[0].reason;
    assert_eq!(reason.as_str(), "unknown_ip");
}

#[tokio::test(start_paused = true)]
async fn another_cache_gets_the_views_from_now_on() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    let old = Arc::clone(&running.bench.cache);
    let new = Arc::new(Cache::new(1 << 20, 2));
    let resource = || {
        crate::cache::Resource::Document(crate::render::Document::Incidents(
            crate::render::Format::Json,
        ))
    };
    let ask = |cache: &Arc<Cache>, view: &Arc<View>, rendered: &'static [u8]| {
        let (cache, view, resource) = (Arc::clone(cache), Arc::clone(view), resource());
        async move {
            let deadline = Instant::now() + seconds(1);
            let render = move || rendered.to_vec();
            let body = cache.get_or_render(&view, resource, Coding::Identity, deadline, render);
            body.await.unwrap().bytes().to_vec()
        }
    };
    let view = Arc::clone(&running.bench.snapshot().view);
    assert_eq!(ask(&old, &view, b"old").await, b"old");
    running.reconfigure_with(&three(), Arc::clone(&new));
    sleep(millis(10)).await;
    assert_eq!(running.bench.snapshot().view.id(), view.id(), "view ids are those of the process");
    assert_eq!(ask(&old, &view, b"again").await, b"again", "the old cache keeps nothing any more");
    assert_eq!(ask(&new, &view, b"new").await, b"new");
    running.bench.cache = Arc::clone(&new);
    world.answer("a", incidents(1, &["7", "7"]));
    let id = view.id();
    running.bench.until("next", |snapshot| snapshot.view.id() != id).await;
    let next = Arc::clone(&running.bench.snapshot().view);
    assert_eq!(next.id(), id + 1);
    // In demand, so it was rendered before the publication.
    assert_eq!(ask(&new, &next, b"?").await, running.bench.document().as_bytes());
    assert_eq!(ask(&new, &view, b"retired").await, b"retired");
}

#[tokio::test(start_paused = true)]
async fn reconfigurations_leave_nothing_behind() {
    let world = world();
    let mut running = Running::complete(&world, &three()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    sleep(seconds(1)).await;
    let tasks_before = tasks();
    let mut batches = Vec::new();
    for round in 0..100 {
        let path = format!("/{round}/");
        let sets: [&[(&str, &str)]; 2] =
            [&[("a", "/a/"), ("c", &path)], &[("a", "/a/"), ("b", &path)]];
        running.apply(&config(&["/t/"], sets[round % 2])).await;
        running.bench.until("all", complete).await;
        let view = Arc::clone(&running.bench.snapshot().view);
        batches.push(Arc::downgrade(view.batches()[1].as_ref().unwrap()));
    }
    running.apply(&three()).await;
    running.bench.until("all", complete).await;
    sleep(seconds(1)).await;
    let alive = || batches.iter().filter(|batch| batch.strong_count() > 0).count();
    assert!(running.bench.frees(|| alive() == 0).await, "{} batches are kept", alive());
    assert_eq!((tasks(), world.in_flight.load(Ordering::Relaxed)), (tasks_before, 0));
    assert_eq!(Arc::strong_count(&world), 3, "this one, that of the bench, and the fetcher's");
    let calls = world.calls_of("a");
    assert!((1..=10).contains(&calls), "one for each interval: {calls}");
}
