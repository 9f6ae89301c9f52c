//! The PostgreSQL server that other tests start.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::postgres::{PostgresServer, Settings, Stop};

#[tokio::test]
async fn databases_are_apart() {
    let Some(server) = PostgresServer::shared("databases_are_apart") else { return };
    let (one, other) = (server.create_database().await, server.create_database().await);
    server.query(&one, "CREATE TABLE t (x integer); INSERT INTO t VALUES (1), (NULL)").await;
    let rows = server.query(&one, "SELECT x FROM t ORDER BY x").await;
    assert_eq!(rows, [[Some("1".to_owned())], [None]]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.value(&other, tables).await, "0");
}

#[tokio::test]
async fn a_server_keeps_its_data_when_it_stops() {
    let test = "a_server_keeps_its_data_when_it_stops";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let database = server.create_database().await;
    server.query(&database, "CREATE TABLE t (x integer)").await;
    for stop in [Stop::Fast, Stop::Immediate] {
        server.query(&database, "INSERT INTO t VALUES (1)").await;
        server.stop(stop);
        server.restart();
    }
    assert_eq!(server.value(&database, "SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    let test = "a_paused_server_answers_when_it_goes_on";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let client = server.connect("postgres").await;
    server.pause();
    let query = client.simple_query("SELECT 1");
    tokio::pin!(query);
    timeout(Duration::from_millis(200), &mut query).await.expect_err("it is paused");
    server.resume();
    query.await.unwrap();
}
