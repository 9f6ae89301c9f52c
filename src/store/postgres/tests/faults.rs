//! Databases that are missing, refuse, stop or stand still.

use std::time::Duration;

use tokio::time::Instant;

use super::server::{PostgresServer, Settings, Stop};
use super::{config, held, store, tcp_config, within, write};
use crate::config::Postgres;
use crate::store::postgres::PostgresStore;
use crate::store::{HistoryFilter, HistoryQuery, Store, StoreError};

const SECRET: &str = "hunter2-secret";

async fn refusal(config: &Postgres) -> String {
    let refused = PostgresStore::new(config).unwrap().prepare().await;
    let Err(StoreError::Unavailable(detail)) = refused else { panic!("{refused:?}") };
    assert!(!detail.contains(SECRET), "{detail}");
    detail
}

#[tokio::test]
async fn what_cannot_be_reached_or_refuses_is_named() {
    let test = "what_cannot_be_reached_or_refuses_is_named";
    let settings = Settings { tcp: true, requires_password: true, ..Settings::default() };
    let Some(server) = PostgresServer::start(test, &settings) else { return };
    let database = server.create_database().await;
    server.query("postgres", "ALTER USER gateway PASSWORD 'correct'").await;
    let reachable = tcp_config(&server, &database);
    let with = |password: Option<&str>| Postgres {
        password: password.map(Into::into),
        ..reachable.clone()
    };
    PostgresStore::new(&with(Some("correct"))).unwrap().prepare().await.unwrap();

    let place = format!("127.0.0.1:{}, database `{database}`", server.port());
    let wrong = refusal(&with(Some(SECRET))).await;
    assert!(wrong.contains(&place) && wrong.contains("store.password_file"), "{wrong}");
    let missing = refusal(&with(None)).await;
    assert!(missing.contains("password"), "{missing}");
    let database = Postgres { database: "nowhere".into(), ..with(Some("correct")) };
    let detail = refusal(&database).await;
    assert!(detail.contains("\"nowhere\" does not exist"), "{detail}");
    // Nobody listens on the discard port.
    let detail = refusal(&Postgres { port: 9, ..with(Some(SECRET)) }).await;
    assert!(detail.contains("127.0.0.1:9") && detail.contains("refused"), "{detail}");
    let detail = refusal(&Postgres { host: "/nowhere".into(), ..with(None) }).await;
    assert!(detail.contains("/nowhere/.s.PGSQL"), "{detail}");
}

// Of several threads, so that connections are looked after while one waits for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_survived() {
    let test = "a_restart_of_the_server_is_survived";
    let Some(server) = PostgresServer::start(test, &Settings::default()) else { return };
    let database = server.create_database().await;
    let one = store(&server, &database).await;
    let epoch = held(&one).await.unwrap();
    let mut expected = 0;
    for stop in [Stop::Fast, Stop::Immediate] {
        write(&one, epoch, expected..expected + 3).await.unwrap();
        expected += 3;
        server.stop(stop);
        for _ in 0..2 {
            let refused = one.count().await;
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
            let refused = write(&one, epoch, 0..3).await;
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        }
        server.restart();
        assert_eq!(held(&one).await, Some(epoch));
        assert_eq!(one.count().await, Ok(expected as u64));
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for() {
    let test = "a_server_that_stands_still_is_not_waited_for";
    let settings = Settings { tcp: true, ..Settings::default() };
    let Some(server) = PostgresServer::start(test, &settings) else { return };
    let database = server.create_database().await;
    let one = PostgresStore::new(&tcp_config(&server, &database)).unwrap();
    one.prepare().await.unwrap();
    let epoch = held(&one).await.unwrap();
    server.pause();
    for _ in 0..2 {
        let started = Instant::now();
        let refused = one.acquire_or_renew(&super::kept_up("plain")).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    }
    server.resume();
    let started = Instant::now();
    while one.acquire_or_renew(&super::kept_up("plain")).await.is_err() {
        assert!(started.elapsed() < super::PATIENCE, "it goes on");
    }
    within(write(&one, epoch, 0..3)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_became_read_only_is_read() {
    let Some(server) = PostgresServer::shared("a_server_that_became_read_only_is_read") else {
        return;
    };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let epoch = held(&one).await.unwrap();
    write(&one, epoch, 0..3).await.unwrap();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    server.query("postgres", &read_only).await;
    let one = PostgresStore::new(&config(server, &database)).unwrap();
    one.prepare().await.unwrap();
    let refused = one.acquire_or_renew(&super::kept_up("plain")).await;
    let Err(StoreError::Unavailable(detail)) = one.forget("ada").await else { panic!("deleted") };
    assert!(detail.contains("read-only"), "{detail}");
    assert!(!matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
    let query = HistoryQuery {
        filter: HistoryFilter::default(),
        after: None,
        limit: 10,
        max_bytes: usize::MAX,
    };
    assert_eq!(one.history(query).await.unwrap().rows.len(), 3);
}

#[tokio::test]
async fn too_many_questions_are_refused() {
    let Some(server) = PostgresServer::shared("too_many_questions_are_refused") else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    let summaries = (0..60).map(|_| one.summary(HistoryFilter::default()));
    let answers = futures::future::join_all(summaries).await;
    let refused = answers.iter().filter(|answer| **answer == Err(StoreError::Overloaded)).count();
    assert_eq!(refused, 60 - crate::store::postgres::MAX_HISTORY_QUERIES);
    assert!(answers.iter().filter(|answer| answer.is_ok()).count() == 60 - refused);
}
