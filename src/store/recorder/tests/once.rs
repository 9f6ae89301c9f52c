//! Writing one snapshot, and nothing after it.

use super::*;
use crate::store::{StoreError, StoreState};

/// A world whose recorder does not run, with data of all sources.
async fn world() -> World {
    let mut world = World::new();
    world.task.abort();
    world.settle().await;
    world.table = Some(table(&[1, 2]));
    world.batches =
        [Some(plain(&[record(1, 1, 0)])), Some(mapped(&[record(1, 1, 0), record(2, 1, 1)]))];
    world.succeed_all();
    world.publish();
    world
}

fn recorder(world: &World) -> Recorder {
    let metrics = StoreMetrics::register(&mut Registry::default(), &world.handle);
    Recorder::new(world.handle.clone(), world.snapshots.subscribe(), metrics)
}

fn records(world: &World) -> usize {
    world.store.memory().records.len()
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_everything_is_written() {
    let world = world().await;
    assert_eq!(records(&world), 0);
    assert_eq!(recorder(&world).write_once().await, Ok(()));
    assert_eq!(records(&world), 3);
    let writes = world.store.memory().writes.len();
    assert_eq!(recorder(&world).write_once().await, Ok(()));
    assert_eq!(records(&world), 3);
    assert_eq!(world.store.memory().writes.len(), writes + 3, "a row for each source");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_for_a_while() {
    let full = StoreError::Unavailable("disk full".to_owned());
    let world = world().await;
    world.store.fail(Some(full.clone()));
    let mend = async {
        sleep(Duration::from_secs(5)).await;
        world.store.fail(None);
    };
    let (written, ()) = tokio::join!(recorder(&world).write_once(), mend);
    assert_eq!((written, records(&world)), (Ok(()), 3));
    assert!(world.handle.state().is_up());

    // All operations fail, or only the writes of one source do.
    for all in [true, false] {
        let world = self::world().await;
        let expected = if all {
            world.store.fail(Some(full.clone()));
            full.clone()
        } else {
            world.store.fail_writes_of(Some("mapped"));
            // As the store says it.
            StoreError::Unavailable(String::new())
        };
        let started = Instant::now();
        let error = recorder(&world).write_once().await.unwrap_err();
        let took = started.elapsed();
        assert!((15..20).contains(&took.as_secs()), "{took:?}");
        if all {
            assert_eq!(error, expected);
        } else {
            let detail = world.handle.state().last_error().map(ToString::to_string);
            assert_eq!(Some(error.to_string()), detail);
            assert_eq!(records(&world), 1, "of the other source");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_without_the_lease() {
    let world = world().await;
    world.handle.update(|state| state.role = StoreState::default().role);
    assert_eq!(recorder(&world).write_once().await, Err(StoreError::LeaseLost));
    // The store knows better than the process.
    world.lead(1);
    world.store.memory().epoch = 2;
    assert_eq!(recorder(&world).write_once().await, Err(StoreError::LeaseLost));
    assert_eq!(records(&world), 0);
}
