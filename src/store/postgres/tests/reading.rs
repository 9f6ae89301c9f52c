//! Reading while others write.

use super::{PostgresServer, held, store, until_value, within, write};
use crate::store::{HistoryFilter, HistoryQuery, Store};

#[tokio::test]
async fn a_page_knows_the_sources_of_its_records() {
    let test = "a_page_knows_the_sources_of_its_records";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    let query = HistoryQuery {
        filter: HistoryFilter::default(),
        after: None,
        limit: 10,
        max_bytes: usize::MAX,
    };
    let before = one.history(query.clone()).await.unwrap();

    // The page waits for the records after it has read the sources.
    let other = server.connect(&database).await;
    other.batch_execute("BEGIN; LOCK TABLE records").await.unwrap();
    let add_source = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        until_value(server, &database, waiting, "1").await;
        let add = "INSERT INTO sources (name, fetched_at) VALUES ('new', 0); \
             INSERT INTO records SELECT version + 100, number + 100, gen_random_uuid(), \
                 \"timestamp\", first_seen, last_seen, (SELECT id FROM sources WHERE name = 'new'), \
                 priority, reason, employee_id, bytes FROM records; \
             COMMIT";
        other.batch_execute(add).await.unwrap();
    };
    let (page, ()) = within(async { tokio::join!(one.history(query.clone()), add_source) }).await;
    assert_eq!(page.unwrap(), before);
    assert_eq!(one.history(query).await.unwrap().rows.len(), 6);
}
