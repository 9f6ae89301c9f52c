//! How the schema is created, migrated and refused.

use super::{PostgresServer, config, held, store, write};
use crate::store::postgres::PostgresStore;
use crate::store::{Store, StoreError};

#[tokio::test]
async fn processes_that_start_at_once_create_it_once() {
    let test = "processes_that_start_at_once_create_it_once";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let stores: Vec<_> =
        (0..6).map(|_| PostgresStore::new(&config(server, &database)).unwrap()).collect();
    for prepared in futures::future::join_all(stores.iter().map(Store::prepare)).await {
        prepared.unwrap();
    }
    assert_eq!(server.value(&database, "SELECT count(*) FROM schema_version").await, "1");
    // Once more does nothing, also for a new process while another one migrates.
    let migrating = server.connect(&database).await;
    migrating
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7597128863573929588)")
        .await
        .unwrap();
    stores[0].prepare().await.unwrap();
    store(server, &database).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let test = "a_newer_schema_is_refused_and_left_as_it_is";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let running = store(server, &database).await;
    let epoch = held(&running).await.unwrap();
    write(&running, epoch, 0..3).await.unwrap();
    server.query(&database, "UPDATE schema_version SET version = 9").await;
    let new = PostgresStore::new(&config(server, &database)).unwrap();
    let Err(StoreError::Unusable(detail)) = new.prepare().await else { panic!("it is newer") };
    assert!(detail.contains("version 9") && detail.contains(&database), "{detail}");
    // A process that runs goes on as if the database could not be reached.
    let refused = write(&running, epoch, 3..6).await;
    let Err(StoreError::Unavailable(detail)) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("version 9"), "{detail}");
    assert!(matches!(
        running.acquire_or_renew(&super::kept_up("plain")).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(running.heads().await, Err(StoreError::Unavailable(_))));
    // It was restored.
    server.query(&database, "UPDATE schema_version SET version = 1").await;
    assert_eq!(held(&running).await, Some(epoch));
    assert_eq!(running.count().await, Ok(3));
}

#[tokio::test]
async fn tables_that_were_dropped_are_created_again() {
    let test = "tables_that_were_dropped_are_created_again";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let running = store(server, &database).await;
    server.query(&database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let Err(StoreError::Unavailable(_)) = running.count().await else { panic!("no tables") };
    running.prepare().await.unwrap();
    assert_eq!(running.count().await, Ok(0));
}

#[tokio::test]
async fn a_user_with_a_schema_of_its_own_needs_no_more() {
    let test = "a_user_with_a_schema_of_its_own_needs_no_more";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let role = format!("role_{database}");
    let sql = format!(
        "CREATE ROLE {role} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         CREATE SCHEMA {role} AUTHORIZATION {role}"
    );
    server.query(&database, &sql).await;
    let config = crate::config::Postgres { user: role.clone(), ..config(server, &database) };
    let (one, other) = (PostgresStore::new(&config).unwrap(), PostgresStore::new(&config).unwrap());
    one.prepare().await.unwrap();
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    super::expire_lease_of(server, &database, &format!("{role}.lease")).await;
    other.prepare().await.unwrap();
    // It may end the sessions of its own role.
    assert!(held(&other).await.is_some());
    // Without any schema it is told what it lacks.
    server.query(&database, &format!("DROP SCHEMA {role} CASCADE")).await;
    let Err(StoreError::Unavailable(detail)) = PostgresStore::new(&config).unwrap().prepare().await
    else {
        panic!("it may create nothing")
    };
    assert!(detail.contains("database `test_"), "{detail}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let test = "a_database_of_another_encoding_is_refused";
    let Some(server) = PostgresServer::shared(test) else { return };
    let name = "latin";
    let sql = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    server.query("postgres", sql).await;
    let refused = PostgresStore::new(&config(server, name)).unwrap().prepare().await;
    let Err(StoreError::Unusable(detail)) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("LATIN1"), "{detail}");
}
