//! Tests of the store in a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::store::conformance;

/// A store in a new file, ready for use.
async fn prepared(path: &Path) -> Arc<SqliteStore> {
    let store = SqliteStore::open(path, Access::Exclusive, WallClock::system()).unwrap();
    store.prepare().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store() {
    let directory = TempDir::new().unwrap();
    let count = AtomicUsize::new(0);
    conformance::run_all(async || {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        prepared(&directory.path().join(name)).await as Arc<dyn Store>
    })
    .await;
}
