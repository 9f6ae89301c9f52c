//! Forwards.

use futures::future::BoxFuture;

use super::*;
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
