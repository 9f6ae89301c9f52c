//! Sending what is due, once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::target::{Answer, Outlet, Target};
use super::{LONG, add, configure_claims, forward, list, next_epoch, stored};
use crate::config::{Batch, Forward};
use crate::forward::once::{Outcome, send_all};
use crate::store::testing::MemoryStore;
use crate::store::{
    Epoch, ForwardClaim, ForwardStore as _, Role, Store as _, StoreError, StoreHandle,
};

pub(super) async fn send(store: &Arc<MemoryStore>, outlets: &[Arc<Outlet>]) -> Vec<Outcome> {
    let handle = StoreHandle::new(Arc::clone(store) as _);
    configure_claims(&handle, outlets);
    let epoch = next_epoch(store);
    let names: Vec<_> =
        outlets.iter().map(|outlet| (outlet.forward.name.clone(), outlet.forward.from)).collect();
    store.begin_forwards(epoch, &names).await.unwrap();
    handle.update(|state| state.role = Role::Leader { epoch, until: Instant::now() + LONG });
    let progress = watch::Sender::default();
    let outcomes = send_all(&handle, outlets, epoch, 7, &progress).await;
    let statuses = progress.borrow().clone();
    assert_eq!(statuses.len(), outlets.len());
    for (status, outcome) in statuses.iter().zip(&outcomes) {
        assert_eq!((&status.name, status.lag), (&outcome.name, outcome.due));
    }
    outcomes
}

pub(super) fn outcome(
    name: &str,
    sent: u64,
    dead_letters: u64,
    due: u64,
    gave_up: &str,
) -> Outcome {
    Outcome {
        name: name.to_owned(),
        sent,
        dead_letters,
        due: Some(due),
        gave_up: (!gave_up.is_empty()).then(|| gave_up.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_is_due_is_sent_without_waiting_for_more() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.poison([3]);
    let batch = Batch { max_wait: Duration::from_hours(1), ..forward("siem").batch };
    let outlets = [Outlet::new(Forward { batch, ..forward("siem") }, &target)];
    let started = Instant::now();
    assert_eq!(send(&store, &outlets).await, [outcome("siem", 24, 1, 0, "")]);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(stored(&store, "siem").position, 25);
    // The next time, nothing is due. Counts are of one run.
    assert_eq!(send(&store, &outlets).await, [outcome("siem", 0, 0, 0, "")]);
}

#[tokio::test(start_paused = true)]
async fn a_forward_gives_up_and_the_others_go_on() {
    let (store, well) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    let (down, asks, flaps) = (Target::new(), Target::new(), Target::new());
    let failed = || Answer::Failed(None);
    down.script([Answer::Honest].into_iter().chain((0..100).map(|_| failed())));
    asks.script([Answer::Honest, Answer::Failed(Some(30)), Answer::Failed(Some(31))]);
    flaps.script((0..20).map(|n| if n % 5 == 4 { Answer::Honest } else { failed() }));
    let outlets = [
        Outlet::new(forward("down"), &down),
        Outlet::new(forward("asks"), &asks),
        Outlet::new(forward("flaps"), &flaps),
        Outlet::new(forward("well"), &well),
    ];
    let error = "the receiver answered 503";
    let asked = format!("{error}; the receiver asks to wait for 31 s");
    let expected = [
        outcome("down", 10, 0, 15, error),
        outcome("asks", 10, 0, 15, &asked),
        outcome("flaps", 25, 0, 0, ""),
        outcome("well", 25, 0, 0, ""),
    ];
    assert_eq!(send(&store, &outlets).await, expected);
    assert_eq!((down.requests().len(), asks.requests().len()), (6, 3));
    assert_eq!(stored(&store, "down").position, 10);
    // The next run goes on behind what was sent.
    down.script([]);
    assert_eq!(send(&store, &outlets[..1]).await, [outcome("down", 15, 0, 0, "")]);
    assert_eq!(down.taken(), list(1..=25));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_given_up() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    let outlets = [Outlet::new(forward("siem"), &target)];
    let handle = StoreHandle::new(Arc::clone(&store) as _);
    configure_claims(&handle, &outlets);
    let epoch = next_epoch(&store);
    handle.update(|state| state.role = Role::Leader { epoch, until: Instant::now() + LONG });
    let progress = watch::Sender::default();
    let outcomes = send_all(&handle, &outlets, epoch, 7, &progress).await;
    assert_eq!(outcomes[0].gave_up.as_deref(), Some("the store has no position for it"));
    let begun = [("siem".to_owned(), forward("siem").from)];
    store.begin_forwards(epoch, &begun).await.unwrap();
    target.delay(Duration::from_secs(2));
    let fail = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.fail(Some(StoreError::Unavailable("the disk is full".to_owned())));
    };
    let (outcomes, ()) = tokio::join!(send_all(&handle, &outlets, epoch, 7, &progress), fail);
    assert_eq!(outcomes[0].gave_up.as_deref(), Some("the store: the disk is full"));
    assert_eq!((outcomes[0].sent, outcomes[0].due), (0, None));
    store.fail(None);
    next_epoch(&store);
    target.delay(Duration::ZERO);
    let outcomes = send_all(&handle, &outlets, epoch, 7, &progress).await;
    let lost = "another process has the lease of the store";
    assert_eq!(outcomes[0].gave_up.as_deref(), Some(lost));
}

#[tokio::test(start_paused = true)]
async fn what_keep_deletes_meanwhile_is_among_the_dead_letters() {
    let (store, target) = (MemoryStore::new(), Target::new());
    add(&store, 25, Some("10001"));
    target.script([Answer::Honest, Answer::Failed(Some(20))]);
    let outlets = [Outlet::new(forward("siem"), &target)];
    let expire = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for row in store.memory().records.values_mut() {
            row.last_seen = Some(std::time::SystemTime::UNIX_EPOCH);
        }
        let claim = ForwardClaim {
            name: "siem".to_owned(),
            selection: forward("siem").select,
            sending_through: 0,
            done: Vec::new(),
        };
        let epoch = Epoch(store.memory().epoch);
        store.delete_expired(epoch, Duration::from_mins(1), &[claim]).await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(send(&store, &outlets), expire);
    assert_eq!(outcomes, [outcome("siem", 10, 15, 0, "")]);
}
