//! Bounds of operations in number and time.

use std::sync::mpsc;
use std::time::Instant;

use super::*;

/// A statement that does not end by itself.
fn endless(connection: &mut Connection) -> Result<(), Fault> {
    let sql = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
               SELECT count(*) FROM n";
    Ok(connection.query_one(sql, [], |_| Ok(()))?)
}

#[tokio::test]
async fn an_operation_ends_when_its_time_is_up_or_nobody_waits() {
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    let bound = Duration::from_millis(50);
    match store.history.run(bound, endless).await {
        Err(StoreError::Unavailable(detail)) => {
            assert!(detail.contains("took too long"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    // All threads are free again soon after the futures were dropped.
    for _ in 0..HISTORY_THREADS {
        let run = store.history.run(Duration::from_hours(1), endless);
        tokio::time::timeout(bound, run).await.unwrap_err();
    }
    store.history(all()).await.unwrap();
}

#[tokio::test]
async fn too_many_questions_are_refused() {
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let waiting: Vec<_> = (0..MAX_HISTORY_QUERIES)
        .map(|_| {
            let (store, gate) = (Arc::clone(&store), Arc::clone(&gate));
            tokio::spawn(async move {
                let wait = move |_: &mut Connection| {
                    let _ = gate.lock().unwrap().recv();
                    Ok(())
                };
                store.history.try_run(Duration::from_mins(1), wait).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(store.history(all()).await, Err(StoreError::Overloaded));
    assert_eq!(store.summary(HistoryFilter::default()).await, Err(StoreError::Overloaded));
    // What the refresh reads and writes does not wait for them.
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    assert_eq!(store.count().await, Ok(1));
    drop(release);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.history(all()).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_operation() {
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    let failed = store.writer.run(WRITE_BOUND, |_| -> Result<(), Fault> { panic!("expected") });
    assert!(matches!(failed.await, Err(StoreError::Unavailable(_))));
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
}

#[tokio::test]
async fn nothing_is_done_before_it_is_open() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = SqliteStore::open(&path, Access::Exclusive, WallClock::system()).unwrap();
    assert!(matches!(store.count().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.history(all()).await, Err(StoreError::Unavailable(_))));
    let write = store.write(EPOCH, write_of(&["1"])).await;
    assert!(matches!(write, Err(StoreError::Unavailable(_))));
    assert!(!path.exists());
}

/// The bound is far above what it takes, and far below an hour.
#[tokio::test]
async fn a_write_waits_for_another_process() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begin = Instant::now();
    let write = store.write(EPOCH, write_of(&["1"]));
    let commit = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    let (written, ()) = tokio::join!(write, commit);
    written.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(100));
}
