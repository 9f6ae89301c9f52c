//! The schedule and the keeping of last good data, under paused time against a scripted fetcher.

mod intervals;
mod named_script;
mod random_reloads;
mod reconfigure;
mod replica;
mod roles;
mod script;
mod stored;

use std::sync::Mutex;
use std::time::SystemTime;

use tokio::time::{advance, sleep};

use self::script::*;
use super::calls::{Call, CallEnd};
use super::*;
use crate::outcome::Outcome;
use crate::render::compress::Coding;
use crate::snapshot::Completeness;
use crate::sources::SourceId;

#[tokio::test(start_paused = true)]
async fn data_is_fetched_unasked_and_again_every_ttl() {
    let mut bench =
        start([vec![table(1, "{}")], vec![incidents(2, &["7"])], vec![incidents(3, &["8"])]]);
    assert!(bench.snapshot().is_loading() && !bench.snapshot().has_data());
    bench.until("denial", Snapshot::has_data).await;
    assert_eq!(bench.completeness(), Completeness::Partial);
    assert!(bench.until("all", complete).await < seconds(2));
    assert_eq!(bench.snapshot().view.index().employee_count(), 2);
    sleep(seconds(300)).await;
    for source in names().ids() {
        let calls = bench.script.calls_of(source);
        assert!((10..=12).contains(&calls.len()), "{calls:?}");
        let gaps = calls.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap());
        for gap in gaps {
            assert!(gap <= TTL + debounce::QUIET_TIME && gap >= TTL.mul_f64(0.95), "{gap:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_slowest_source_is_called_first() {
    let bench =
        start([vec![table(1, "{}")], vec![incidents(2, &["7"])], vec![incidents(5, &["8"])]]);
    sleep(seconds(35)).await;
    let order: Vec<SourceId> =
        bench.script.calls.lock().unwrap().iter().map(|(source, ..)| *source).collect();
    let first = [SourceId::Table(0), DENIAL, PROBING];
    assert_eq!((&order[..3], &order[3..]), (&first[..], &[PROBING, DENIAL, first[0]][..]));
}

#[tokio::test(start_paused = true)]
async fn last_good_data_is_served_until_it_is_too_old() {
    let probing = vec![incidents(1, &["8"]), fail(1, Outcome::Timeout)];
    let mut bench = start([vec![table(1, "{}")], vec![incidents(1, &["7"])], probing]);
    bench.until("all", complete).await;
    let whole = bench.document();
    bench
        .until("stale", |snapshot| snapshot.completeness(Instant::now()) == Completeness::Stale)
        .await;
    assert_eq!(bench.state(PROBING), Freshness::Stale);
    assert_eq!(bench.document(), whole);
    assert_eq!(
        bench.snapshot().sources[PROBING].last_error.as_ref().unwrap().kind,
        Outcome::Timeout
    );
    let took =
        bench.until("missing", |snapshot| snapshot.sources[PROBING].fetched_at.is_none()).await;
    assert!(took + TTL + seconds(5) > STALE_FOR && took < STALE_FOR, "{took:?}");
    assert_eq!(bench.completeness(), Completeness::Partial);
    assert_eq!(bench.snapshot().view.index().employee_count(), 1);
    // The other sources were refreshed all the while.
    assert_eq!(bench.state(DENIAL), Freshness::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_recovered_source_is_fresh_again() {
    let probing = vec![fail(1, Outcome::Connect), fail(1, Outcome::Connect), incidents(1, &["8"])];
    let mut bench = start([vec![table(1, "{}")], vec![incidents(1, &["7"])], probing]);
    bench.until("every source was attempted", |snapshot| !snapshot.is_loading()).await;
    assert_eq!(bench.completeness(), Completeness::Partial);
    let took = bench.until("all", complete).await;
    assert!(took < seconds(10), "a failed source is tried again sooner than the rest: {took:?}");
    assert_eq!(bench.snapshot().sources[PROBING].consecutive_failures, 0);
    assert_eq!(bench.script.calls_of(DENIAL).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn records_are_unattributed_until_the_identities_come() {
    let identities = vec![fail(1, Outcome::Status), table(1, r#"{"17.0.0.1": 7}"#)];
    let mut bench = start([
        identities,
        vec![incidents(1, &["\"17.0.0.1\""])],
        vec![incidents(1, &["\"17.0.0.2\"", "9"])],
    ]);
    bench.until("every source was attempted", |snapshot| !snapshot.is_loading()).await;
    let reasons = |bench: &Bench| -> Vec<_> {
        bench
            .snapshot()
            .view
            .index()
            .unattributed()
            .iter()
            .map(|record| record.reason.as_str())
            .collect()
    };
    assert_eq!(reasons(&bench), ["identities_unavailable", "identities_unavailable"]);
    bench.until("identities", complete).await;
    assert_eq!(reasons(&bench), ["unknown_ip"]);
    assert!(bench.document().contains(r#""7":{"low":{"count":1"#), "{}", bench.document());
}

#[tokio::test(start_paused = true)]
async fn unchanged_data_becomes_fresh_without_a_new_view() {
    let mut bench =
        start([vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(1, &["8"])]]);
    bench.until("all", complete).await;
    let view = bench.snapshot().view.id();
    sleep(STALE_FOR * 3).await;
    assert_eq!(bench.snapshot().view.id(), view);
    assert_eq!(bench.completeness(), Completeness::Complete);
    assert!(bench.snapshot().age(Instant::now()).unwrap() <= TTL + seconds(1));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    let busy = Answer::Fail(seconds(1), Outcome::Status, Some(seconds(120)));
    let bench =
        start([vec![table(1, "{}")], vec![busy, incidents(1, &["7"])], vec![incidents(1, &["8"])]]);
    sleep(seconds(115)).await;
    assert_eq!(bench.script.calls_of(DENIAL).len(), 1);
    sleep(seconds(10)).await;
    assert_eq!(bench.script.calls_of(DENIAL).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn data_that_comes_close_together_is_published_together() {
    let after = |millis, body: Answer| {
        let Answer::Body(_, body) = body else { unreachable!() };
        vec![Answer::Body(Duration::from_millis(millis), body)]
    };
    let (identities, probing) = (after(10, table(0, "{}")), after(90, incidents(0, &["8"])));
    let mut bench = start([identities, after(50, incidents(0, &["7"])), probing]);
    let took = bench.until("data", Snapshot::has_data).await;
    assert_eq!((took, bench.completeness()), (Duration::from_millis(90), Completeness::Complete));
    assert_eq!(bench.snapshot().view.id(), 1, "nothing was joined on the way");
}

#[tokio::test(start_paused = true)]
async fn data_is_published_without_waiting_for_a_slow_source() {
    let mut bench =
        start([vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(3, &["8"])]]);
    let took = bench.until("data", Snapshot::has_data).await;
    assert_eq!(
        (took, bench.completeness()),
        (seconds(1) + debounce::QUIET_TIME, Completeness::Partial)
    );
}

#[tokio::test(start_paused = true)]
async fn data_that_comes_during_a_publication_waits_for_the_next() {
    let now = Instant::now();
    let cache = Arc::new(Cache::new(1 << 20, 2));
    let metrics = RefreshMetrics::register(&mut crate::metrics::registry());
    let (mut refresh, snapshots) = Refresh::new(never(), cache, metrics, settings(), options());
    let end = |source: SourceId, who: &str| {
        let Answer::Body(_, body) =
            (if source == SourceId::Table(0) { table(0, "{}") } else { incidents(0, &[who]) })
        else {
            unreachable!()
        };
        let started_wall = SystemTime::now();
        let call = Call {
            source,
            started: now,
            started_wall,
            is_in_round: true,
            refresh_started: now,
            period: seconds(29),
            lease: None,
        };
        CallEnd { call, result: Ok(fetched(source, body, now.elapsed())) }
    };
    refresh.round.calls = 4;
    for source in names().ids() {
        refresh.finish(end(source, "7")).await;
    }
    refresh.publish_when_due().await;
    // The next answer of one source is faster than the view of its first.
    refresh.finish(end(DENIAL, "8")).await;
    let view = (&mut refresh.publication.as_mut().unwrap().view).await.unwrap();
    refresh.publish(view).await;
    let snapshot = Arc::clone(&snapshots.borrow());
    assert!(!snapshot.is_loading() && complete(&snapshot));
    assert_eq!(snapshot.view.index().incident_count(), 2);
    refresh.publish_when_due().await;
    // All are due; that one waits until its second answer is published.
    refresh.sources.iter_mut().for_each(|source| source.due = now);
    refresh.start_due_calls();
    assert_eq!(
        refresh.sources.iter().map(|source| source.call.is_some()).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert!(refresh.next_wake() > now, "waiting is not asking again and again");
    let view = (&mut refresh.publication.as_mut().unwrap().view).await.unwrap();
    refresh.publish(view).await;
    assert!(snapshots.borrow().view.index().employee("8").is_some());
    refresh.start_due_calls();
    assert!(refresh.sources[DENIAL].call.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_old_view_is_freed_with_the_last_answer_from_it() {
    let denial = vec![incidents(1, &["7"]), incidents(1, &["7", "7"])];
    let mut bench = start([vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]]);
    bench.until("all", complete).await;
    let view = Arc::clone(&bench.snapshot().view);
    let (old, batch) = (Arc::downgrade(&view), Arc::downgrade(view.batches()[0].as_ref().unwrap()));
    let resource = crate::cache::Resource::Document(crate::render::Document::Incidents(
        crate::render::Format::Json,
    ));
    let answer = bench
        .cache
        .get_or_render(&view, resource, Coding::Identity, Instant::now() + seconds(1), || {
            vec![b'x'; 64]
        })
        .await;
    drop(view);
    let (body, answer) = {
        let answer = answer.unwrap();
        (bench.cache.response_bytes(&answer, None), Arc::downgrade(&answer))
    };
    let id = old.upgrade().unwrap().id();
    bench.until("second", |snapshot| snapshot.view.id() != id).await;
    sleep(seconds(1)).await;
    assert!(bench.frees(|| old.strong_count() + batch.strong_count() == 0).await);
    assert!(
        bench.frees(|| answer.strong_count() == 1).await,
        "only the response that is being sent still holds the old document"
    );
    drop(body);
    assert_eq!(answer.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn documents_in_demand_are_rendered_before_publication() {
    let denial = vec![incidents(1, &["7"]), incidents(1, &["7", "7"])];
    let mut bench = start([vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]]);
    bench.until("all", complete).await;
    let ask = |bench: &Bench, rendered: &'static str| {
        let (cache, view) = (Arc::clone(&bench.cache), Arc::clone(&bench.snapshot().view));
        async move {
            let resource = crate::cache::Resource::Document(crate::render::Document::Incidents(
                crate::render::Format::Json,
            ));
            let coding = Coding::Identity;
            cache
                .get_or_render(&view, resource, coding, Instant::now() + seconds(1), || {
                    rendered.into()
                })
                .await
                .unwrap()
                .bytes()
                .to_vec()
        }
    };
    assert_eq!(ask(&bench, "first").await, b"first");
    let before = bench.snapshot().view.id();
    bench.until("second", |snapshot| snapshot.view.id() != before).await;
    // It is there already, so what this caller would render is not used.
    assert_eq!(ask(&bench, "second").await, bench.document().as_bytes());
    advance(seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_an_open_circuit_keeps_the_last_error() {
    let refused = Answer::Fail(Duration::ZERO, Outcome::CircuitOpen, Some(seconds(20)));
    let denial = vec![fail(1, Outcome::Timeout), refused.clone(), refused, incidents(1, &["7"])];
    let mut bench = start([vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]]);
    sleep(seconds(30)).await;
    assert_eq!(
        bench.script.calls_of(DENIAL).len(),
        3,
        "the circuit's wish to be left alone is obeyed"
    );
    let source = bench.snapshot().sources[DENIAL].clone();
    assert_eq!(source.last_error.unwrap().kind, Outcome::Timeout);
    assert_eq!((source.consecutive_failures, source.last_duration), (1, Some(seconds(1))));
    bench.until("all", complete).await;
    assert!(bench.snapshot().sources[DENIAL].last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_retried_attempt_counts_as_a_failure_until_the_call_succeeds() {
    let Answer::Body(_, body) = incidents(0, &["8"]) else { unreachable!() };
    let probing = vec![incidents(1, &["8"]), Answer::Retried(seconds(4), body)];
    let mut bench = start([vec![table(1, "{}")], vec![incidents(1, &["7"])], probing]);
    bench.until("all", complete).await;
    let took =
        bench.until("stale", |snapshot| snapshot.sources[PROBING].consecutive_failures == 1).await;
    assert!(took <= TTL, "{took:?}");
    assert_eq!((bench.state(PROBING), bench.state(DENIAL)), (Freshness::Stale, Freshness::Fresh));
    assert_eq!(
        bench.snapshot().sources[PROBING].last_error.as_ref().unwrap().kind,
        Outcome::Status
    );
    assert!(bench.until("fresh", complete).await > seconds(3));
}

#[tokio::test(start_paused = true)]
async fn each_refresh_has_one_trace_of_its_own() {
    let bench =
        start([vec![table(1, "{}")], vec![incidents(2, &["7"])], vec![incidents(3, &["8"])]]);
    sleep(seconds(35)).await;
    let traces: Vec<_> =
        bench.script.calls.lock().unwrap().iter().map(|(.., trace)| trace.trace_id()).collect();
    assert_eq!(traces.len(), 6);
    assert!(traces[..3].iter().all(|trace| *trace == traces[0]));
    assert!(traces[3..].iter().all(|trace| *trace == traces[3]));
    assert_ne!(traces[0], traces[3]);
}

#[tokio::test(start_paused = true)]
async fn an_identity_table_that_lost_most_addresses_is_accepted_and_counted() {
    let tables = [r#"{"17.0.0.1": 7, "17.0.0.2": 8, "17.0.0.3": 9}"#, r#"{"17.0.0.1": 7}"#, "{}"];
    let whole = tables[0];
    let kept = r#"{"17.0.0.1": 7, "17.0.0.2": 8}"#;
    for (second, counted) in [(tables[1], 1), (tables[2], 1), (kept, 0), (whole, 0)] {
        let denial = vec![incidents(1, &["\"17.0.0.1\""])];
        let bench = start([vec![table(1, whole), table(1, second)], denial.clone(), denial]);
        sleep(seconds(100)).await;
        let page = crate::metrics::encode(&bench.registry);
        let series = format!("incident_gateway_identities_shrunk_total {counted}\n");
        assert!(page.contains(&series), "{second}: {page}");
        let snapshot = bench.snapshot();
        assert_eq!(snapshot.completeness(Instant::now()), Completeness::Complete);
        let unattributed = if second == "{}" { 2 } else { 0 };
        assert_eq!(snapshot.view.index().unattributed().len(), unattributed, "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn ages_do_not_change_when_the_wall_clock_is_set() {
    let offset = Arc::new(Mutex::new(Duration::ZERO));
    let shown = Arc::clone(&offset);
    let start_of_time = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let clock = WallClock::new(move || start_of_time - *shown.lock().unwrap());
    let failing = vec![incidents(1, &["7"]), fail(1, Outcome::Timeout)];
    let answers = [vec![table(1, "{}")], failing, vec![incidents(1, &["8"])]];
    let mut bench = start_at(answers, settings(), clock);
    bench.until("all", complete).await;
    *offset.lock().unwrap() = Duration::from_hours(24);
    sleep(seconds(60)).await;
    let snapshot = bench.snapshot();
    let age = snapshot.sources[DENIAL].age(Instant::now()).unwrap();
    assert!(age >= seconds(59) && age <= seconds(61), "{age:?}");
    assert_eq!(snapshot.sources[DENIAL].fetched_at.unwrap().wall(), start_of_time);
    let attempted = snapshot.sources[DENIAL].last_attempt.unwrap();
    assert_eq!(attempted, start_of_time - Duration::from_hours(24));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_truncated_while_its_data_says_that_there_is_more() {
    let list = |members: &str| {
        let record = r#"{"who":7,"priority":"low","timestamp":1}"#;
        table(1, &format!(r#"{{"results":[{record}]{members}}}"#))
    };
    let denial = vec![list(""), list(r#","next":"/?page=2""#), list(r#","count":3"#), list("")];
    let mut bench = start([vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]]);
    bench.until("all", complete).await;
    let mut view = bench.snapshot().view.id();
    assert!(!bench.snapshot().sources[DENIAL].truncated);
    for is_truncated in [true, true, false] {
        bench.until("the next", |snapshot| snapshot.view.id() != view).await;
        let snapshot = bench.snapshot();
        view = snapshot.view.id();
        assert_eq!(snapshot.sources[DENIAL].truncated, is_truncated);
        assert!(!snapshot.sources[SourceId::Table(0)].truncated);
        assert_eq!(snapshot.completeness(Instant::now()), Completeness::Complete);
    }
}
