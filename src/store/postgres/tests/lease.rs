//! The lease: who holds it, and that a former holder writes nothing.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    PATIENCE, PostgresServer, expire_lease, held, kept_up, store, until_value, within, write,
};
use crate::store::{Epoch, Lease, Store, StoreError};

/// Sessions that wait for a lock of another one.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test]
async fn one_process_holds_the_lease() {
    let Some(server) = PostgresServer::shared("one_process_holds_the_lease") else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    let before = Instant::now();
    let Lease::Held { epoch, until } = one.acquire_or_renew(&kept_up("plain")).await.unwrap()
    else {
        panic!("nobody holds it")
    };
    assert_eq!(epoch, Epoch(1));
    assert!(until >= before + Duration::from_secs(10));
    assert!(until <= Instant::now() + Duration::from_secs(10));
    let Lease::Other { kept_up: of } = other.acquire_or_renew(&kept_up("x")).await.unwrap() else {
        panic!("the first one holds it")
    };
    assert_eq!(of, kept_up("plain"));
    // Renewals keep the epoch.
    assert_eq!(held(&one).await, Some(Epoch(1)));
    // What the holder gives back, another one gets at once, with another epoch.
    one.release(epoch).await.unwrap();
    assert_eq!(held(&other).await, Some(Epoch(2)));
    assert_eq!(held(&one).await, None);
    // Nobody gives back what another one holds.
    one.release(epoch).await.unwrap();
    one.release(Epoch(2)).await.unwrap();
    assert_eq!(held(&other).await, Some(Epoch(2)));
}

#[tokio::test]
async fn only_one_takes_a_lease_that_is_free() {
    let test = "only_one_takes_a_lease_that_is_free";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let mut stores = Vec::new();
    for _ in 0..5 {
        stores.push(store(server, &database).await);
    }
    for epoch in 1..5 {
        let holders = futures::future::join_all(stores.iter().map(held)).await;
        let holders: Vec<_> = holders.into_iter().flatten().collect();
        assert_eq!(holders, [Epoch(epoch)]);
        expire_lease(server, &database).await;
        // Without a holder, so that nobody renews it.
        server.query(&database, "UPDATE lease SET holder = NULL").await;
    }
}

#[tokio::test]
async fn a_former_holder_writes_nothing() {
    let Some(server) = PostgresServer::shared("a_former_holder_writes_nothing") else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    let first = held(&one).await.unwrap();
    write(&one, first, 0..3).await.unwrap();
    expire_lease(server, &database).await;
    assert_eq!(write(&one, first, 3..6).await, Err(StoreError::LeaseLost));
    let second = held(&other).await.unwrap();
    // Its connections were closed, which it may not have noticed yet.
    while write(&one, first, 3..6).await != Err(StoreError::LeaseLost) {
        assert_eq!(other.count().await, Ok(3));
    }
    let keep = Duration::ZERO;
    assert_eq!(one.retain_sources(first, &[]).await, Err(StoreError::LeaseLost));
    assert_eq!(one.save_limits(first, &[("u".into(), 1)]).await, Err(StoreError::LeaseLost));
    assert_eq!(one.count().await, Ok(3));
    write(&other, second, 3..6).await.unwrap();
    other.retain_sources(second, &[]).await.unwrap();
    assert_eq!(one.delete_expired(first, keep, &[]).await, Err(StoreError::LeaseLost));
    assert_eq!(other.delete_expired(second, keep, &[]).await, Ok(6));
    assert_eq!(other.delete_expired(second, keep, &[]).await, Ok(0));
}

/// A process that was stopped in the middle of a write: its session has begun a transaction and
/// holds the locks of a writer, that of the lease among them.
#[tokio::test]
async fn a_stopped_writer_neither_delays_a_takeover_nor_commits() {
    let test = "a_stopped_writer_neither_delays_a_takeover_nor_commits";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    let epoch = held(&one).await.unwrap();
    let stopped = server.connect(&database).await;
    let name = format!("SET application_name = '{}'", one.instance);
    stopped.batch_execute(&name).await.unwrap();
    stopped
        .batch_execute(
            "BEGIN; SELECT value FROM counters FOR UPDATE; \
             INSERT INTO sources (name) VALUES ('stopped'); \
             SELECT true FROM lease FOR KEY SHARE",
        )
        .await
        .unwrap();
    // Its own renewals go on.
    assert_eq!(held(&one).await, Some(epoch));
    // A writer that was not ended would be waited for.
    expire_lease(server, &database).await;
    let started = Instant::now();
    let taken = held(&other).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(taken, Epoch(2));
    stopped.batch_execute("COMMIT").await.expect_err("its session was ended");
    within(write(&other, taken, 0..3)).await.unwrap();
    let stored = "SELECT string_agg(name, ',') FROM sources";
    assert_eq!(server.value(&database, stored).await, "plain");
    // The former holder finds another one; its connections are made anew.
    assert_eq!(held(&one).await, None);
}

/// As above, with the store itself as the writer, which waits for a lock in the middle.
#[tokio::test]
async fn a_write_that_outlives_the_lease_is_rolled_back() {
    let test = "a_write_that_outlives_the_lease_is_rolled_back";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    let epoch = held(&one).await.unwrap();
    let blocker = server.connect(&database).await;
    let lock = "BEGIN; SELECT value FROM counters WHERE name = 'version' FOR UPDATE";
    blocker.batch_execute(lock).await.unwrap();
    let write = write(&one, epoch, 0..3);
    let takeover = async {
        until_value(server, &database, WAITING, "1").await;
        expire_lease(server, &database).await;
        let taken = held(&other).await;
        blocker.batch_execute("COMMIT").await.unwrap();
        taken
    };
    let (written, taken) = within(async { tokio::join!(write, takeover) }).await;
    assert_eq!(taken, Some(Epoch(2)));
    assert!(written.is_err(), "{written:?}");
    assert_eq!(other.count().await, Ok(0));
}

/// The lease is renewed while a write waits, whatever the write has locked.
#[tokio::test]
async fn a_long_write_does_not_hold_up_renewals_or_readers() {
    let test = "a_long_write_does_not_hold_up_renewals_or_readers";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    let blocker = server.connect(&database).await;
    let lock = "BEGIN; SELECT value FROM counters WHERE name = 'version' FOR UPDATE";
    blocker.batch_execute(lock).await.unwrap();
    let write = write(&one, epoch, 0..3);
    let meanwhile = async {
        until_value(server, &database, WAITING, "1").await;
        assert_eq!(held(&one).await, Some(epoch));
        assert_eq!(one.count().await, Ok(0));
        assert!(one.heads().await.unwrap().sources.is_empty());
        assert_eq!(one.take_generation(41).await, Ok(42));
        assert_eq!(one.delete_expired(epoch, Duration::ZERO, &[]).await, Ok(0));
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (written, ()) = within(async { tokio::join!(write, meanwhile) }).await;
    written.unwrap();
    assert_eq!(one.count().await, Ok(3));
}

#[tokio::test]
async fn others_are_notified_of_writes_and_of_a_release() {
    let test = "others_are_notified_of_writes_and_of_a_release";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    // What happened before they listened is not known, so both look once.
    within(one.notified()).await;
    within(other.notified()).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    within(other.notified()).await;
    one.release(epoch).await.unwrap();
    within(other.notified()).await;
    // Nobody is told of its own writes.
    timeout(Duration::from_millis(100), one.notified()).await.unwrap_err();
    // A connection that ends is made anew; what was told meanwhile may be lost.
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = '{}' AND query LIKE 'LISTEN%'",
        other.instance
    );
    assert_eq!(server.value(&database, &end).await, "t");
    timeout(PATIENCE, other.notified()).await.unwrap();
}

#[tokio::test]
async fn generations_grow_and_never_repeat() {
    let Some(server) = PostgresServer::shared("generations_grow_and_never_repeat") else { return };
    let database = server.create_database().await;
    let (one, other) = (store(server, &database).await, store(server, &database).await);
    assert_eq!(one.take_generation(1_000).await, Ok(1_001));
    assert_eq!(other.take_generation(5).await, Ok(1_002));
    assert_eq!(one.take_generation(2_000).await, Ok(2_001));
}
