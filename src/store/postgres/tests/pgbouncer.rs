//! Behind pgbouncer in transaction mode, where each transaction may reach another session.

use std::sync::Arc;
use std::time::Duration;

use super::server::{PgBouncer, PostgresServer, Settings};
use super::{config, expire_lease, held, upsert, write, write_of};
use crate::config::Postgres;
use crate::store::conformance::{self, InspectedStore};
use crate::store::postgres::PostgresStore;
use crate::store::{Epoch, Store, StoreError};

async fn store(server: &PostgresServer, bouncer: &PgBouncer, database: &str) -> PostgresStore {
    let config = Postgres {
        host: bouncer.socket_directory().display().to_string(),
        port: bouncer.port(),
        ..config(server, database)
    };
    let store = PostgresStore::new(&config).unwrap();
    store.prepare().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_pgbouncer_works() {
    let test = "a_store_behind_pgbouncer_works";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let Some(bouncer) = server.start_pgbouncer(test) else { return };
    conformance::run_all(async || {
        let database = server.create_database().await;
        Arc::new(store(&server, &bouncer, &database).await) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_behind_pgbouncer_are_kept() {
    let test = "forwards_behind_pgbouncer_are_kept";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let Some(bouncer) = server.start_pgbouncer(test) else { return };
    conformance::run_forwarding(async || {
        let database = server.create_database().await;
        Arc::new(store(&server, &bouncer, &database).await) as Arc<dyn InspectedStore>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_pgbouncer_share_a_lease() {
    let test = "replicas_behind_pgbouncer_share_a_lease";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let Some(bouncer) = server.start_pgbouncer(test) else { return };
    let database = server.create_database().await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(store(&server, &bouncer, &database).await);
    }
    let replicas = &replicas;
    // Many transactions at once, of which some are given up.
    for epoch in [1, 3, 5].map(Epoch) {
        let mut holders = Vec::new();
        for replica in replicas {
            holders.push(held(replica).await);
        }
        let holder = holders.iter().position(Option::is_some).unwrap();
        assert_eq!(holders.iter().flatten().collect::<Vec<_>>(), [&epoch]);
        let reads = (0..60).map(|read| async move {
            let reader = &replicas[read % 3];
            let bound = Duration::from_micros(if read % 4 == 0 { 300 } else { 20_000_000 });
            match tokio::time::timeout(bound, reader.heads()).await {
                Ok(Err(StoreError::Unavailable(detail))) => assert!(is_refused_login(&detail)),
                Ok(heads) => drop(heads.unwrap()),
                Err(_) => assert_eq!(read % 4, 0, "only what was given up"),
            }
        });
        let write = async {
            loop {
                match write(&replicas[holder], epoch, 0..2_000).await {
                    Err(StoreError::Unavailable(detail)) => assert!(is_refused_login(&detail)),
                    written => return written,
                }
            }
        };
        let (_, written) = tokio::join!(futures::future::join_all(reads), write);
        written.unwrap();
        assert_eq!(replicas[0].count().await, Ok(2_000));
        // A former holder writes nothing.
        expire_lease(&server, &database).await;
        let next = &replicas[(holder + 1) % 3];
        let taken = held(next).await.unwrap();
        assert_eq!(taken, Epoch(epoch.0 + 1));
        let late = write_of("plain", vec![upsert(0, None)]);
        replicas[holder].write(epoch, late).await.unwrap_err();
        next.release(taken).await.unwrap();
    }
}

/// When a client gives up while pgbouncer makes a session for it, those who log in at the same time
/// are refused.
fn is_refused_login(detail: &str) -> bool {
    detail.contains("invalid server parameter")
}
