//! Records at fault.

use super::target::{Answer, Target};
use super::{Process, add, dead_letters, forward, stored};
use crate::config::{Batch, Forward};
use crate::forward::ForwardState;
use crate::store::ForwardReport;
use crate::store::testing::MemoryStore;

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
async fn batches_that_are_too_large_are_divided_until_they_fit() {
    let (store, target) = (MemoryStore::new(), Target::new());
    let numbers = add(&store, 100, Some("10001"));
    target.script(vec![Answer::TooLarge(3); 1000]);
    let process = Process::leader(&store, forward("siem"), &target).await;
    assert_eq!(process.idle().await.dead_letters, 0);
    assert_eq!(target.taken(), numbers);
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
