//! Forwards.

use futures::future::BoxFuture;

use super::*;
use crate::config::Selection;
use crate::store::DeadLetter;
use crate::store::conformance::InspectedStore;

impl InspectedStore for SqliteStore {
    fn dead_letters(&self) -> BoxFuture<'_, Vec<(String, DeadLetter)>> {
        let sql = "SELECT forward, number, id, source, employee_id, status, answer \
                   FROM dead_letters";
        let letters = self.read(move |connection| {
            let mut statement = connection.prepare(sql)?;
            let letters = statement.query_map([], |row| {
                let letter = DeadLetter {
                    number: row.get(1)?,
                    id: StableId(row.get(2)?),
                    source: row.get(3)?,
                    employee_id: row.get(4)?,
                    status: row.get(5)?,
                    answer: row.get(6)?,
                };
                Ok((row.get(0)?, letter))
            });
            Ok(letters?.collect::<Result<_, _>>()?)
        });
        async { letters.await.unwrap() }.boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_forwards() {
    let directory = TempDir::new().unwrap();
    let count = AtomicUsize::new(0);
    conformance::run_forwarding(async || {
        let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
        prepared(&directory.path().join(name)).await as Arc<dyn InspectedStore>
    })
    .await;
}

/// The records that a forward selects all have new numbers, or none of them has one.
#[tokio::test]
async fn records_with_new_numbers_are_looked_at_in_bounded_steps() {
    const RECORDS: usize = 25_000;
    let directory = TempDir::new().unwrap();
    let store = prepared(&directory.path().join("history.db")).await;
    let unattributed = |key| Upsert { employee_id: None, ..upsert(key, "") };
    store.write(EPOCH, write_upserts((0..RECORDS).map(unattributed).collect())).await.unwrap();
    let attributed = (1..RECORDS).map(|key| upsert(key, "1")).collect();
    store.write(EPOCH, write_upserts(attributed)).await.unwrap();
    let mut range = DueRange::default();
    let (mut pages, mut found) = (Vec::new(), 0);
    loop {
        let query = DueQuery { range: range.clone(), limit: 10_000, max_bytes: 1 << 30 };
        let page = store.due(query).await.unwrap();
        found += page.rows.len();
        pages.push(page.through);
        range.after = page.through;
        if page.is_end {
            break;
        }
    }
    assert_eq!(pages, [10_000, 20_000, 30_000, 40_000, 49_999]);
    assert_eq!(found, RECORDS - 1);
    assert_eq!(store.count_due(DueRange::default()).await, Ok(found as u64));
}

#[tokio::test]
async fn nothing_is_written_when_nothing_can_be_deleted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    let forwards = [("siem".to_owned(), ForwardFrom::Beginning)];
    store.begin_forwards(EPOCH, &forwards).await.unwrap();
    store.write(EPOCH, write_of(&["1", "2"])).await.unwrap();
    store.retain_sources(EPOCH, &[]).await.unwrap();
    // It would wait for the lock.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let claim = |through| ForwardClaim {
        name: "siem".to_owned(),
        selection: Selection::default(),
        sending_through: through,
        done: Vec::new(),
    };
    assert_eq!(store.delete_expired(EPOCH, Duration::ZERO, &[claim(2)]).await, Ok(0));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.delete_expired(EPOCH, Duration::ZERO, &[claim(1)]).await, Ok(1));
    assert_eq!(store.forwards().await.unwrap()[0].dead_letters, 1);
    // Beginning again writes nothing either.
    let version = |connection: &Connection| -> i64 {
        connection.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap()
    };
    let before = version(&other);
    store.begin_forwards(EPOCH, &forwards).await.unwrap();
    assert_eq!(version(&other), before);
}

#[tokio::test]
async fn forget_leaves_no_bytes_of_dead_letters() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.begin_forwards(EPOCH, &[("siem".to_owned(), ForwardFrom::Beginning)]).await.unwrap();
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    let letter = DeadLetter {
        number: 1,
        id: upsert(0, "1").id,
        source: "okta".to_owned(),
        employee_id: Some("1".to_owned()),
        status: 400,
        answer: "the receiver repeats a secret".to_owned(),
    };
    let name = "siem".to_owned();
    let advance = Advance { name, to: 1, dead_letters: vec![letter], ..Advance::default() };
    store.advance(EPOCH, advance).await.unwrap();
    // Another employee has the record by then.
    store.write(EPOCH, write_of(&["2"])).await.unwrap();
    assert!(running::contains(&path, b"repeats a secret"));
    assert_eq!(store.forget("1").await, Ok(0));
    assert!(!running::contains(&path, b"repeats a secret"));
}
