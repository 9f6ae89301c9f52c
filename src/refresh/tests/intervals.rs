//! Sources with intervals of their own, and upstreams that ask for a wait.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn gaps(calls: &[Duration]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_source_is_asked_at_its_own_interval() {
    let answers = [vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(1, &["8"])]];
    let settings = settings_with(&[(DENIAL, 5 * MINUTE), (PROBING, seconds(10))]);
    let bench = start_with(answers, settings);
    sleep(31 * MINUTE).await;
    let within = |source, every: Duration| {
        let gaps = gaps(&bench.script.calls_of(source));
        let longest = every + debounce::QUIET_TIME;
        assert!(gaps.iter().all(|gap| *gap >= every.mul_f64(0.95) && *gap <= longest), "{gaps:?}");
        gaps.len()
    };
    assert!((6..=7).contains(&within(DENIAL, 5 * MINUTE)));
    assert!(within(PROBING, seconds(10)) >= 185);
    assert!((61..=66).contains(&within(SourceId::Table(0), TTL)));
    assert_eq!(bench.completeness(), Completeness::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_long_does_not_hasten_the_other_sources() {
    let answers = [vec![table(1, "{}")], vec![incidents(100, &["7"])], vec![incidents(1, &["8"])]];
    let bench = start_with(answers, settings_with(&[(DENIAL, TTL)]));
    sleep(10 * MINUTE).await;
    for source in [SourceId::Table(0), PROBING] {
        let calls = bench.script.calls_of(source);
        assert!(gaps(&calls).iter().all(|gap| *gap >= TTL.mul_f64(0.95)), "{calls:?}");
    }
    let calls = bench.script.calls_of(DENIAL);
    assert!(gaps(&calls).iter().all(|gap| *gap >= seconds(100) + TTL / 4), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn freshness_follows_the_interval() {
    let never = Answer::Body(Duration::from_hours(100), String::new());
    let denial = vec![incidents(1, &["7"]), never];
    let answers = [vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]];
    let mut bench = start_with(answers, settings_with(&[(DENIAL, 5 * MINUTE)]));
    bench.until("all", complete).await;
    let age = |bench: &Bench| bench.snapshot().sources[DENIAL].age(Instant::now()).unwrap();
    while bench.state(DENIAL) == Freshness::Fresh {
        sleep(seconds(1)).await;
    }
    assert_eq!(age(&bench).as_secs(), 2 * 300 + 10 + 1);
    let took =
        bench.until("missing", |snapshot| snapshot.sources[DENIAL].fetched_at.is_none()).await;
    let expected = 5 * MINUTE + STALE_FOR;
    assert!(took < expected && took + 11 * MINUTE > expected, "{took:?}");
    assert_eq!(bench.completeness(), Completeness::Partial);
}

#[tokio::test(start_paused = true)]
async fn a_failed_source_is_asked_again_sooner_than_its_interval() {
    let denial = vec![fail(1, Outcome::Timeout), fail(1, Outcome::Timeout), incidents(1, &["7"])];
    let answers = [vec![table(1, "{}")], denial, vec![incidents(1, &["8"])]];
    let mut bench = start_with(answers, settings_with(&[(DENIAL, Duration::from_hours(1))]));
    assert!(bench.until("all", complete).await < seconds(10));
    sleep(30 * MINUTE).await;
    assert_eq!(bench.script.calls_of(DENIAL).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_not_asked_while_its_upstream_asks_for_a_wait() {
    let answers = [vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(1, &["8"])]];
    let mut bench = start(answers);
    bench.until("all", complete).await;
    sleep(seconds(20)).await;
    let until = Instant::now() + 10 * MINUTE;
    *bench.script.wait.lock().unwrap() = Some(until);
    sleep(5 * MINUTE).await;
    for source in names().ids() {
        assert_eq!(bench.script.calls_of(source).len(), 1);
        let status = bench.snapshot().sources[source].clone();
        assert_eq!((status.next_attempt, status.consecutive_failures), (Some(until), 0));
        assert!(status.last_error.is_none(), "nobody has failed");
        assert_eq!(status.freshness(Instant::now()), Freshness::Stale, "but nothing new came");
    }
    sleep(5 * MINUTE + seconds(2)).await;
    assert_eq!(bench.script.calls_of(DENIAL).len(), 2);
    assert_eq!(bench.completeness(), Completeness::Complete);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_source_that_may_not_be_asked_yet() {
    let answers = [vec![table(1, "{}")], vec![incidents(1, &["7"])], vec![incidents(1, &["8"])]];
    let mut bench = start(answers);
    let until = Instant::now() + 10 * MINUTE;
    *bench.script.wait.lock().unwrap() = Some(until);
    bench.until("nothing is loading", |snapshot| !snapshot.is_loading()).await;
    let status = bench.snapshot().sources[DENIAL].clone();
    assert_eq!(status.last_error.unwrap().kind, Outcome::RateLimited);
    assert_eq!(status.next_attempt, Some(until));
    assert!(bench.until("all", complete).await > 9 * MINUTE);
}
