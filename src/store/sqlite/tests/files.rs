//! What is done to the file, and what is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn refused(path: &Path, access: Access) -> String {
    let store = SqliteStore::open(path, access, WallClock::system()).unwrap();
    match store.prepare().await {
        Err(StoreError::Unusable(detail)) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_the_owner_reads_and_writes_the_files() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&beside(&path, suffix)), 0o600, "{suffix}");
    }

    // An empty file that was there before, too.
    let path = directory.path().join("other.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    assert_eq!([mode(&path), mode(&beside(&path, "-wal"))], [0o600; 2]);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let first = prepared(&path).await;
    let detail = refused(&path, Access::Exclusive).await;
    assert!(detail.contains("another incident-gateway process uses"), "{detail}");
    assert!(detail.contains("history.db"), "{detail}");
    first.write(EPOCH, write_of(&["1"])).await.unwrap();
    drop(first);
    assert_eq!(prepared(&path).await.count().await, Ok(1));
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_not_changed() {
    let directory = TempDir::new().unwrap();
    let good = directory.path().join("good.db");
    let store = prepared(&good).await;
    store.write(EPOCH, write_of(&vec!["1"; 2_000])).await.unwrap();
    drop(store);
    let good = fs::read(&good).unwrap();
    assert!(good.len() > 200_000, "{}", good.len());
    let changed = |sql: &str| {
        let path = directory.path().join("changed.db");
        fs::write(&path, &good).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::read(&path).unwrap()
    };
    let damaged = |range: std::ops::Range<usize>| {
        let mut bytes = good.clone();
        bytes[range].fill(0xa5);
        bytes
    };
    let other = directory.path().join("foreign.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();

    let path = directory.path().join("history.db");
    for (bytes, expected) in [
        (b"not a database, but some text".to_vec(), "not a SQLite database"),
        (vec![0; 8_192], "not a SQLite database"),
        (damaged(0..100), "not a SQLite database"),
        (damaged(4_096..12_288), "corrupt"),
        (damaged(good.len() / 2..good.len() / 2 + 8_192), "corrupt"),
        (good[..good.len() / 2].to_vec(), "corrupt"),
        (good[..5_000].to_vec(), "corrupt"),
        (fs::read(&other).unwrap(), "another program"),
        (changed("PRAGMA user_version = 99"), "version 99 of the schema, newer"),
        (changed("PRAGMA user_version = -1"), "of the schema, newer"),
        (changed("PRAGMA application_id = 7"), "another program"),
    ] {
        fs::write(&path, &bytes).unwrap();
        for access in [Access::Exclusive, Access::Beside] {
            let detail = refused(&path, access).await;
            assert!(detail.contains(expected) && detail.contains("history.db"), "{detail}");
            assert!(fs::read(&path).unwrap() == bytes, "{detail}: the file has changed");
        }
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(prepared(&path).await.count().await, Ok(2_000));
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_refused() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing").join("history.db");
    let detail = refused(&missing, Access::Exclusive).await;
    assert!(detail.contains("missing does not exist: create it"), "{detail}");
    assert!(!missing.exists() && !missing.parent().unwrap().exists());

    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let detail = refused(&folder, Access::Exclusive).await;
    assert!(detail.contains("folder"), "{detail}");

    let none = directory.path().join("none.db");
    let detail = refused(&none, Access::Beside).await;
    assert!(detail.contains("there is no history database"), "{detail}");
    assert!(!none.exists());
    fs::write(&none, "").unwrap();
    let detail = refused(&none, Access::Beside).await;
    assert!(detail.contains("start `incident-gateway serve` once"), "{detail}");
}

/// A copy of the files while they are open is what a process that was killed leaves.
#[tokio::test]
async fn what_was_written_outlives_a_crash() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1", "2"])).await.unwrap();
    let generation = store.take_generation(0).await.unwrap();
    let copy = directory.path().join("copy.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&path, suffix), beside(&copy, suffix)).unwrap();
    }
    let copy = prepared(&copy).await;
    assert_eq!(copy.sequence("okta").await, store.sequence("okta").await);
    let rows = copy.history(all()).await.unwrap();
    assert_eq!((rows.rows.len(), Ok(rows)), (2, store.history(all()).await));
    assert!(copy.take_generation(0).await.unwrap() > generation);
}
