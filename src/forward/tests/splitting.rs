//! Records at fault.

use std::time::Duration;

use tokio::time::sleep;

use super::target::{Answer, Target};
use super::{Process, add, dead_letters, forward, list, stored};
use crate::config::{Batch, Forward};
use crate::forward::ForwardState;
use crate::store::testing::MemoryStore;
use crate::store::{ForwardReport, Store as _};

fn batches_of(max_records: usize) -> Forward {
    let batch = Batch { max_records, ..forward("siem").batch };
    Forward { batch, ..forward("siem") }
}

#[tokio::test(start_paused = true)]
async fn a_record_at_fault_is_found_with_few_requests() {
    for records in [1, 2, 3, 7, 10, 64, 100, 500] {
        let step = (records / 7).max(1);
        for poison in (1..).take(records).step_by(step) {
            let (store, target) = (MemoryStore::new(), Target::new());
            add(&store, records, Some("10001"));
            target.poison([poison]);
            let process = Process::leader(&store, batches_of(records), &target).await;
            let status = process.idle().await;
            assert_eq!((status.sent, status.dead_letters), (records as u64 - 1, 1));
            assert!(status.last_error.unwrap().contains("refused with 400: no"));
            assert_eq!(dead_letters(&store).into_iter().collect::<Vec<_>>(), [(poison, 1)]);
            let letter = store.memory().dead_letters[0].1.clone();
            assert_eq!((letter.status, &*letter.answer, &*letter.source), (400, "no", "denial"));
            assert_eq!(letter.employee_id.as_deref(), Some("10001"));
            let requests = target.requests().len();
            let halvings = records.next_power_of_two().ilog2() as usize;
            assert!(requests <= 2 * halvings + 1, "{requests} for {records}");
            let good: Vec<i64> = (1..).take(records).filter(|number| *number != poison).collect();
            assert_eq!(target.taken(), good);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_records_at_fault_become_dead_letters() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 100, Some("10001"));
    target.poison(20..=70);
    let process = Process::leader(&store, forward("siem"), &target).await;
    let status = process.idle().await;
    assert_eq!((status.sent, status.dead_letters), (49, 51));
    assert_eq!(status.state, ForwardState::Idle);
    assert!(dead_letters(&store).into_iter().eq((20..=70).map(|number| (number, 1))));
    assert_eq!(stored(&store, "siem").dead_letters, 51);
}

#[tokio::test(start_paused = true)]
async fn pages_stay_large_while_parts_of_batches_are_sent() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 1000, Some("10001"));
    target.delay(Duration::from_millis(10));
    target.poison(1..=1000);
    let process = Process::leader(&store, batches_of(100), &target).await;
    assert_eq!(process.idle().await.dead_letters, 1000);
    assert_eq!(target.requests().len(), 1990);
    let calls = store.calls("due");
    assert!(calls <= 40, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_too_large_are_divided_until_they_fit() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let numbers = add(&store, 100, Some("10001"));
    target.script(vec![Answer::TooLarge(3); 1000]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    assert_eq!(process.idle().await.dead_letters, 0);
    assert_eq!(target.taken(), numbers);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_forgotten_before_a_slow_refusal_are_not_sent_again() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 5, Some("10001"));
    add(&store, 5, Some("10002"));
    target.delay(Duration::from_secs(9));
    target.script([Answer::TooLarge(5)]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    sleep(Duration::from_secs(8)).await;
    add(&store, 1, Some("10002"));
    process.note_write();
    assert_eq!(store.forget("10001").await, Ok(5));
    process.idle().await;
    assert_eq!(target.taken(), list(6..=11));
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_not_answered_are_divided_until_they_are() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let numbers = add(&store, 20, Some("10001"));
    target.script(vec![Answer::Overwhelmed(3); 1000]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.idle().await;
    assert_eq!(target.taken(), numbers);
    let lengths: Vec<usize> = target.batches().iter().map(Vec::len).collect();
    // A part is divided after three failures, and behind the parts nothing is.
    let divided = [5, 5, 5, 2, 3, 5, 5, 5, 2, 3];
    assert_eq!(lengths, [&[10, 10, 10][..], &divided, &[5, 10, 10], &divided].concat());
    assert!(dead_letters(&store).is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_failures_divide_no_batch_and_a_single_record_is_never_refused_by_silence() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 10, Some("10001"));
    let failures = [Answer::Lost, Answer::Lost, Answer::Failed(None), Answer::Lost, Answer::Lost];
    target.script(failures);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process.idle().await;
    assert!(target.batches().iter().all(|batch| batch.len() == 10), "{:?}", target.batches());
    assert_eq!(target.batches().len(), 6);
    target.script(vec![Answer::Overwhelmed(0); 20]);
    add(&store, 1, Some("10001"));
    process.note_write();
    let status = process.wait_for(|status| status.sent == 11).await;
    assert_eq!((target.batches().len(), status.dead_letters), (27, 0));
}

#[tokio::test(start_paused = true)]
async fn only_items_that_may_be_taken_later_are_sent_again() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 12, Some("10001"));
    target.script([
        Answer::Items(vec![(3, 429), (4, 409), (5, 404), (7, 503)]),
        Answer::Items(vec![(7, 500)]),
        Answer::Items(vec![(7, 429)]),
        Answer::Items(vec![]),
        Answer::Items(vec![]),
    ]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    let status = process.wait_for(|status| status.state == ForwardState::Retrying).await;
    assert!(status.last_error.unwrap().contains("429"));
    let status = process.idle().await;
    let expected: [&[i64]; 5] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[3, 7], &[7], &[7], &[11, 12]];
    assert_eq!(target.batches(), expected);
    assert_eq!((status.sent, status.dead_letters), (11, 1));
    assert_eq!(dead_letters(&store).into_iter().collect::<Vec<_>>(), [(5, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_refused_item_stays_when_the_receiver_is_well_again() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 2, Some("10001"));
    target.script([
        Answer::Failed(None),
        Answer::WrongItems(1),
        Answer::Items(vec![(1, 400)]),
        Answer::Failed(None),
    ]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    process
        .wait_for(|status| {
            status
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("answered for 3 records, and got 2"))
        })
        .await;
    let status = process.idle().await;
    assert!(status.last_error.unwrap().contains("refused with 400: item"));
    // A failure is newer, and is over then.
    add(&store, 1, Some("10001"));
    process.note_write();
    let status = process.wait_for(|status| status.state == ForwardState::Retrying).await;
    assert_eq!(status.last_error.as_deref(), Some("the receiver answered 503"));
    assert_eq!(process.wait_for(|status| status.sent == 2).await.last_error, None);
    assert_eq!(stored(&store, "siem").report, ForwardReport::default());
}
