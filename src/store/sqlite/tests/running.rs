//! What happens to the file while the store runs.

use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use super::*;

pub(super) fn contains(path: &Path, needle: &[u8]) -> bool {
    ["", "-wal"].iter().any(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let bytes = fs::read(PathBuf::from(name)).unwrap_or_default();
        memchr::memmem::find(&bytes, needle).is_some()
    })
}

#[tokio::test]
async fn forget_runs_beside_and_leaves_no_bytes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    let mut write = write_of(&["somebody", "else"]);
    let Some(Content::Records(changes)) = &mut write.content else { unreachable!() };
    // One that fits into a page, and one that does not.
    changes.upserts[0].bytes = "a secret that nobody may find".into();
    let mut long = vec![b'-'; 100_000];
    long.extend_from_slice(b"a long secret");
    changes.upserts.push(Upsert { bytes: long.into(), ..upsert(2, "somebody") });
    store.write(EPOCH, write.clone()).await.unwrap();
    for needle in ["a secret that", "a long secret", "somebody"] {
        assert!(contains(&path, needle.as_bytes()), "{needle}");
    }

    let forgetting = SqliteStore::open(&path, Access::Beside, WallClock::system()).unwrap();
    forgetting.prepare().await.unwrap();
    assert_eq!(forgetting.forget("nobody").await, Ok(0));
    assert_eq!(forgetting.forget("somebody").await, Ok(2));
    assert_eq!(forgetting.forget("somebody").await, Ok(0));
    for needle in ["a secret that", "a long secret", "somebody"] {
        assert!(!contains(&path, needle.as_bytes()), "{needle}");
    }
    assert!(contains(&path, b"else"));
    assert_eq!(store.count().await, Ok(1));
    assert_eq!(store.write(EPOCH, write).await, Err(StoreError::Forgotten));
}

#[tokio::test]
async fn many_records_of_an_employee_are_forgotten_in_batches() {
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    let upserts = (0..2_500).map(|key| upsert(key, "1")).collect();
    store.write(EPOCH, write_upserts(upserts)).await.unwrap();
    assert_eq!(store.forget("1").await, Ok(2_500));
    assert_eq!(store.count().await, Ok(0));
}

#[tokio::test]
async fn reading_goes_on_when_the_disk_is_full() {
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    let before = store.history(all()).await.unwrap();
    let limit = store.writer.run(WRITE_BOUND, |connection| {
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 2))?;
        Ok(())
    });
    limit.await.unwrap();
    let many: Vec<_> = (0..3_000).map(|key| upsert(key, "2")).collect();
    match store.write(EPOCH, write_upserts(many.clone())).await {
        Err(StoreError::Unavailable(detail)) => {
            assert!(detail.contains("no space left") && detail.contains("history.db"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.history(all()).await.unwrap(), before);
    assert_eq!(store.count().await, Ok(1));
    // The next write has another connection, and there is space again.
    store.write(EPOCH, write_upserts(many)).await.unwrap();
    assert_eq!(store.count().await, Ok(3_000));
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_deleted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    fs::rename(&path, directory.path().join("moved.db")).unwrap();
    for _ in 0..2 {
        match store.write(EPOCH, write_of(&["2"])).await {
            Err(StoreError::Unavailable(detail)) => {
                assert!(detail.contains("was deleted, moved or replaced"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
        // A file that is in its place now is not the one that was opened.
        fs::write(&path, "something else").unwrap();
    }
    let _ = store.history(all()).await;
    fs::rename(directory.path().join("moved.db"), &path).unwrap();
    store.write(EPOCH, write_of(&["2"])).await.unwrap();
}

#[tokio::test]
async fn damage_that_is_found_while_running_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    let upserts = (0..2_000).map(|key| upsert(key, "1")).collect();
    store.write(EPOCH, write_upserts(upserts)).await.unwrap();
    store.writer.run(WRITE_BOUND, |connection| upkeep::truncate_log(connection)).await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_192..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    match store.history(all()).await {
        Err(StoreError::Unavailable(detail)) => {
            assert!(detail.contains("is corrupt") && detail.contains("history.db"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newer_schema_that_is_found_while_running_stops_writing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    match store.write(EPOCH, write_of(&["1"])).await {
        Err(StoreError::Unavailable(detail)) => assert!(detail.contains("newer"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn times_stay_in_order_when_the_clock_is_set() {
    let directory = TempDir::new().unwrap();
    let hour = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
    let time = Arc::new(Mutex::new(hour(500_000)));
    let shown = Arc::clone(&time);
    let clock = WallClock::new(move || *shown.lock().unwrap());
    let path = directory.path().join("history.db");
    let store = SqliteStore::open(&path, Access::Exclusive, clock).unwrap();
    store.prepare().await.unwrap();
    let first = store.write(EPOCH, write_of(&["1", "2"])).await.unwrap().first_version;
    let seen = values::seconds(hour(500_000));

    *time.lock().unwrap() = hour(400_000);
    let head = store.heads().await.unwrap().sources.remove(0);
    assert_eq!((head.age, head.fetched_at), (Duration::ZERO, hour(500_000)));
    store.write(EPOCH, SourceWrite { content: None, ..write_of(&[]) }).await.unwrap();
    assert_eq!(store.heads().await.unwrap().sources[0].fetched_at, hour(400_000));
    // The first record leaves; its last success is before it was first seen.
    let sequence = vec![SequenceItem::Stored(Version(first.0 + 1))];
    let changes = RecordChanges { upserts: Vec::new(), left: vec![first], sequence };
    let write = SourceWrite { content: Some(Content::Records(changes)), ..write_of(&[]) };
    store.write(EPOCH, write).await.unwrap();
    for row in store.history(all()).await.unwrap().rows {
        assert_eq!((row.first_seen, row.last_seen), (seen, seen));
    }

    let keep = Duration::from_hours(1_000);
    assert_eq!(store.delete_expired(EPOCH, keep, &[]).await, Ok(0));
    *time.lock().unwrap() = hour(501_000);
    assert_eq!(store.delete_expired(EPOCH, keep, &[]).await, Ok(0));
    *time.lock().unwrap() = hour(501_000) + Duration::from_secs(1);
    assert_eq!(store.delete_expired(EPOCH, keep, &[]).await, Ok(1));
    assert_eq!(store.delete_expired(EPOCH, keep, &[]).await, Ok(0));
}
