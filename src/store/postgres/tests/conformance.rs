//! What every store must do.

use std::sync::Arc;

use super::{PostgresServer, store};
use crate::store::{Store, conformance};

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
