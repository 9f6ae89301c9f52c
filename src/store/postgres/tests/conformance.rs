//! What every store must do.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_postgres::Row;

use super::{PostgresServer, PostgresStore, store};
use crate::store::conformance::{self, InspectedStore};
use crate::store::postgres::READ;
use crate::store::postgres::codes::{Id, column_text};
use crate::store::postgres::lane::Mode;
use crate::store::{DeadLetter, Store};

impl InspectedStore for PostgresStore {
    fn dead_letters(&self) -> BoxFuture<'_, Vec<(String, DeadLetter)>> {
        const LETTERS: &str = "SELECT forward, number, id, source, employee_id, status, answer \
             FROM dead_letters";
        let letter = |row: &Row| {
            let employee: Option<&str> = row.get(4);
            let letter = DeadLetter {
                number: row.get(1),
                id: row.get::<_, Id>(2).0,
                source: row.get(3),
                employee_id: employee.map(|id| column_text(id).into_owned()),
                status: row.get::<_, i32>(5).try_into().unwrap(),
                answer: column_text(row.get(6)).into_owned(),
            };
            (row.get(0), letter)
        };
        async move {
            let connection = self.reads.connection(READ.server).await.unwrap();
            let rows = connection.run(Mode::Read, LETTERS, &[]).await.unwrap();
            rows.iter().map(letter).collect()
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_what_every_store_must_do() {
    let test = "it_does_what_every_store_must_do";
    let Some(server) = PostgresServer::shared(test) else { return };
    conformance::run_all(async || {
        let database = server.create_database().await;
        Arc::new(store(server, &database).await) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_forwards() {
    let Some(server) = PostgresServer::shared("it_keeps_forwards") else { return };
    conformance::run_forwarding(async || {
        let database = server.create_database().await;
        Arc::new(store(server, &database).await) as Arc<dyn InspectedStore>
    })
    .await;
}
