use std::collections::VecDeque;

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::time::{advance, pause};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn attempts() -> Arc<Attempts> {
    Arc::new(Attempts::new(MAX_FAILURES))
}

#[test]
fn an_ipv6_host_counts_by_its_network_and_a_mapped_address_as_ipv4() {
    assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1:2:3"));
    assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
    assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    assert_ne!(address("::1"), address("127.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn after_ten_failures_an_address_is_limited_until_a_minute_after_the_first() {
    let attempts = attempts();
    let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
    for _ in 0..MAX_FAILURES {
        assert_eq!(attempts.limited_for(one), None);
        assert_eq!(attempts.fail(one), Ok(()));
        advance(SECOND).await;
    }
    assert_eq!(attempts.limited_for(one), Some(50 * SECOND));
    assert_eq!(attempts.limited_for(other), None);
    advance(49 * SECOND).await;
    assert_eq!(attempts.begin(one).await.unwrap_err(), Limited { retry_after: SECOND });
    // A failure while the address is limited does not prolong that.
    assert_eq!(attempts.fail(one), Err(SECOND));
    advance(SECOND).await;
    assert_eq!(attempts.limited_for(one), None);
    // Nine failures are still within the minute, so that one more is the tenth.
    attempts.begin(one).await.unwrap().fail(Instant::now());
    assert_eq!(attempts.limited_for(one), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn successes_do_not_count() {
    let attempts = attempts();
    for _ in 0..100 {
        drop(attempts.begin(address("::1")).await.unwrap());
    }
    assert!(attempts.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn attempts_under_way_count_as_failed_until_they_are_decided() {
    let attempts = attempts();
    let one = address("10.0.0.1");
    attempts.fail(one).unwrap();
    let mut under_way: VecDeque<Attempt> = (1..MAX_FAILURES)
        .map(|_| attempts.begin(one).now_or_never().expect("at once").unwrap())
        .collect();
    let mut next = attempts.begin(one).boxed();
    assert!(next.as_mut().now_or_never().is_none(), "an eleventh attempt is made");
    assert!(attempts.begin(address("10.0.0.2")).now_or_never().is_some());
    // One that succeeds makes room for one.
    under_way.pop_front();
    let next = next.now_or_never().expect("after the success").unwrap();
    under_way.push_back(next);
    // When all have failed, those that wait are refused unchecked.
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let attempts = Arc::clone(&attempts);
                async move { attempts.begin(one).await.unwrap_err() }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    for attempt in under_way {
        attempt.fail(Instant::now());
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Limited { retry_after: WINDOW });
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_of_an_address_are_under_way_than_may_be() {
    let attempts = Arc::new(Attempts::new(2));
    let one = address("10.0.0.1");
    let mut under_way: Vec<Attempt> =
        (0..2).map(|_| attempts.begin(one).now_or_never().unwrap().unwrap()).collect();
    let mut next = attempts.begin(one).boxed();
    assert!(next.as_mut().now_or_never().is_none(), "a third attempt is made");
    assert!(attempts.begin(address("10.0.0.2")).now_or_never().is_some());
    under_way.remove(0).fail(Instant::now());
    assert!(next.now_or_never().expect("after the failure").is_ok());
}

#[tokio::test(start_paused = true)]
async fn waiting_attempts_are_bounded_and_leave_no_trace() {
    let attempts = attempts();
    let one = address("10.0.0.1");
    let under_way: Vec<Attempt> =
        (0..MAX_FAILURES).map(|_| attempts.begin(one).now_or_never().unwrap().unwrap()).collect();
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| attempts.begin(one).boxed()).collect();
    for waiting in &mut waiting {
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    assert_eq!(attempts.begin(one).await.unwrap_err(), Limited { retry_after: RETRY_DELAY });
    waiting.pop();
    assert!(attempts.begin(one).now_or_never().is_none(), "a caller that left keeps its place");
    drop(waiting);
    drop(under_way);
    assert!(attempts.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_addresses_that_have_failed_longest_ago_are_forgotten_first() {
    let attempts = attempts();
    let number = |number: usize| Address::V6Network(number as u64);
    let under_way = attempts.begin(number(0)).await.unwrap();
    for address in 0..3 * MAX_ADDRESSES {
        attempts.fail(number(address)).unwrap();
        // All within a minute.
        advance(Duration::from_micros(100)).await;
        if address % 1000 == 0 {
            assert!(attempts.lock().len() <= MAX_ADDRESSES);
        }
    }
    assert!(attempts.lock().len() <= MAX_ADDRESSES);
    let is_known = |address: usize| attempts.lock().contains_key(&number(address));
    assert!(is_known(0), "an attempt of it is under way");
    assert!((3 * MAX_ADDRESSES - MAX_ADDRESSES / 4..3 * MAX_ADDRESSES).all(is_known));
    drop(under_way);
    advance(WINDOW).await;
    // When the next addition needs room, those of long ago go.
    for address in 0..MAX_ADDRESSES {
        attempts.fail(number(usize::MAX - address)).unwrap();
    }
    assert!(!is_known(3 * MAX_ADDRESSES - 1));
}

proptest! {
    /// Whenever an attempt is made, fewer than ten have failed within the minute before it; and one
    /// is refused only when ten have.
    #[test]
    fn never_more_than_ten_attempts_fail_within_a_minute(
        waits in prop::collection::vec(prop_oneof![0..3u64, 0..15_000u64, 50_000..70_000u64], 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async move {
            pause();
            let attempts = attempts();
            let mut made: Vec<Instant> = Vec::new();
            for wait in waits {
                advance(Duration::from_millis(wait)).await;
                let now = Instant::now();
                let recent: Vec<_> = made.iter().filter(|at| **at + WINDOW > now).collect();
                let expected = if recent.len() < MAX_FAILURES {
                    made.push(now);
                    Ok(())
                } else {
                    let first = *recent[recent.len() - MAX_FAILURES];
                    Err(first + WINDOW - now)
                };
                assert_eq!(attempts.fail(address("::1")), expected);
            }
        });
    }
}
