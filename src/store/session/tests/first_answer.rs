//! What happens before a gateway serves.

use super::*;
use crate::store::{StoreError, first_answer};

/// Asks a database for its first answer; returns the answer and how long it took.
async fn ask(database: &Arc<Database>, link: Link) -> (Result<u64, StoreError>, Duration, bool) {
    let (store, connection) = database.connect(1);
    *connection.lock().unwrap() = link;
    let handle = StoreHandle::new(store);
    let started = Instant::now();
    let answer = first_answer(&handle, started + BUDGET, 1000, 7).await;
    (answer, started.elapsed(), handle.state().last_error().is_some())
}

#[tokio::test(start_paused = true)]
async fn generations_never_repeat_though_the_clock_is_set_back() {
    let database = Arc::default();
    for expected in [1000, 1001, 1002] {
        let (answer, took, is_faulty) = ask(&database, Link::Good).await;
        assert_eq!((answer, is_faulty), (Ok(expected), false));
        assert!(took < Duration::from_millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_waited_for_as_long_as_the_budget() {
    for link in [Link::Silent, Link::Refused] {
        assert_eq!(ask(&Arc::default(), link).await, (Ok(1000), BUDGET, true), "{link:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_cut_is_tried_again() {
    let database: Arc<Database> = Arc::default();
    let (store, link) = database.connect(1);
    *link.lock().unwrap() = Link::Refused;
    let handle = StoreHandle::new(store);
    let mend = async {
        seconds(0.5).await;
        *link.lock().unwrap() = Link::Good;
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(first_answer(&handle, started + BUDGET, 5, 7), mend);
    assert_eq!(answer, Ok(5));
    assert!(started.elapsed() < Duration::from_millis(1200));
}

#[tokio::test(start_paused = true)]
async fn an_unusable_store_is_an_error_at_once() {
    let (answer, took, _) = ask(&Arc::default(), Link::Unusable).await;
    assert_eq!(answer, Err(StoreError::Unusable("a newer schema".to_owned())));
    assert!(took < Duration::from_millis(100));
}
