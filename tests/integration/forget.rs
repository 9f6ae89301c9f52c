//! `forget`, as its caller sees it: beside a gateway or alone, and what it says when it cannot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use incident_gateway::clock::WallClock;
use incident_gateway::config::{self, StoreUrl};
use incident_gateway::join::Reason;
use incident_gateway::sources::Fingerprint;
use incident_gateway::store::postgres::PostgresStore;
use incident_gateway::store::sqlite::{Access, SqliteStore};
use incident_gateway::store::{
    Content, HistoryFilter, HistoryQuery, KeptUp, Lease, RecordChanges, SequenceItem, SourceReport,
    SourceWrite, StableId, Store, Upsert,
};

use tokio::time::{sleep, timeout};

use super::cli::{Ran, file, refused, run};
use super::support::client::get;
use super::support::postgres::{PostgresServer, Settings};
use super::support::process::Process;

/// Stores a record for each of these employees.
async fn store_records(store: &dyn Store, employees: &[Option<&str>]) {
    store.prepare().await.unwrap();
    let Lease::Held { epoch, .. } = store.acquire_or_renew(&KeptUp::default()).await.unwrap()
    else {
        panic!("nobody else is there")
    };
    let upsert = |(index, employee): (usize, Option<&str>)| {
        let bytes = format!("{{\"n\":{index}}}");
        Upsert {
            id: StableId::of_bytes("denial", bytes.as_bytes()),
            bytes: bytes.into(),
            employee_id: employee.map(Into::into),
            priority: None,
            timestamp: None,
            reason: employee.is_none().then_some(Reason::UnknownIp),
        }
    };
    let upserts: Vec<Upsert> = employees.iter().copied().enumerate().map(upsert).collect();
    let sequence = (0..upserts.len()).map(SequenceItem::Upsert).collect();
    let write = SourceWrite {
        name: "denial".to_owned(),
        fingerprint: Fingerprint([1; 32]),
        based_on: None,
        age: Some(Duration::ZERO),
        report: SourceReport::default(),
        content: Some(Content::Records(RecordChanges { upserts, left: Vec::new(), sequence })),
    };
    store.write(epoch, write).await.unwrap();
}

/// The employees of the records that are left.
async fn employees(store: &dyn Store) -> Vec<Option<String>> {
    store.prepare().await.unwrap();
    let filter = HistoryFilter::default();
    let query = HistoryQuery { filter, after: None, limit: 100, max_bytes: 1 << 20 };
    let rows = store.history(query).await.unwrap().rows;
    rows.into_iter().map(|row| row.employee_id).collect()
}

fn sqlite(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, Access::Exclusive, WallClock::system()).unwrap()
}

fn some(employees: &[&str]) -> Vec<Option<String>> {
    employees.iter().map(|employee| Some((*employee).to_owned())).collect()
}

/// Runs `forget` for an employee that must be known or unknown to the store, not to the command.
fn forgets(employee: &str, config: &Path, expected: &str) {
    let Ran { code, stdout, stderr } =
        run(&["forget", "--config", config.to_str().unwrap(), "--", employee], &[]);
    assert_eq!((code, &*stdout), (Some(0), expected), "{stderr}");
    assert_eq!(
        stderr,
        "a source that still lists such records brings them back with its next refresh\n"
    );
}

const EMPLOYEES: [Option<&str>; 6] =
    [Some("E1"), Some("Ann \"é\""), Some("E1"), None, Some("-2"), Some("E12")];

fn forgets_each(config: &Path) {
    forgets("E1", config, "deleted 2 records of employee E1\n");
    forgets("Ann \"é\"", config, "deleted 1 record of employee Ann \"é\"\n");
    forgets("E1", config, "deleted 0 records of employee E1\n");
    forgets("-2", config, "deleted 1 record of employee -2\n");
    forgets("e12", config, "deleted 0 records of employee e12\n");
    forgets(
        &"x".repeat(256),
        config,
        &format!("deleted 0 records of employee {}\n", "x".repeat(256)),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_of_an_employee_are_deleted_from_sqlite_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    // The files of upstreams and listeners need not be there, nor need credentials.
    let (_directory, config) = file(&format!(
        "store: {{ url: 'sqlite:{}' }}\nupstream: {{ password_file: /none }}\n\
         tls: {{ cert_file: /none, key_file: /none }}\n",
        path.display()
    ));
    let store = sqlite(&path);
    store_records(&*store, &EMPLOYEES).await;
    // This process has the file, and goes on having it.
    forgets_each(&config);
    let mut left = employees(&*store).await;
    left.sort();
    assert_eq!(left, [vec![None], some(&["E12"])].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_of_an_employee_are_deleted_from_postgresql_and_counted() {
    let name = "all_records_of_an_employee_are_deleted_from_postgresql_and_counted";
    let Some(server) = PostgresServer::shared(name) else { return };
    let database = server.create_database().await;
    let (_directory, config) = file(&format!("store: {{ url: '{}' }}\n", server.url(&database)));
    let loaded = config::from_yaml("c", &std::fs::read_to_string(&config).unwrap()).unwrap();
    let StoreUrl::Postgres(postgres) = loaded.store.url else { panic!() };
    let store = PostgresStore::new(&postgres).unwrap();
    store_records(&store, &EMPLOYEES).await;
    forgets_each(&config);
    let mut left = employees(&store).await;
    left.sort();
    assert_eq!(left, [vec![None], some(&["E12"])].concat());
}

#[test]
fn without_a_store_there_is_nothing_to_forget() {
    let expected = "error: there is no store to delete from (`store.url` is `none`); give the \
        configuration of the gateway with `--config`, or set `store.url`\n";
    assert_eq!(refused(&["forget", "E1"], &[]), expected);
    let errors = refused(&["forget", "E1"], &[("INCIDENT_GATEWAY__STORE__URL", "history.db")]);
    assert!(errors.starts_with("error: INCIDENT_GATEWAY__STORE__URL: is no address"), "{errors}");
}

#[test]
fn an_id_that_nobody_can_have_is_bad_usage() {
    let long = "x".repeat(257);
    for (id, message) in [("", "the id is empty"), (&long, "longer than 256 bytes")] {
        let errors =
            refused(&["forget", id], &[("INCIDENT_GATEWAY__STORE__URL", "sqlite:/none/x")]);
        assert!(errors.contains(message), "{errors}");
    }
    assert!(refused(&["forget"], &[]).contains("EMPLOYEE_ID"));
}

/// Runs what must fail: exit 1, nothing on stdout. Gives stderr.
fn fails(url: &str, more: &[(&str, &str)]) -> String {
    let variables = [&[("INCIDENT_GATEWAY__STORE__URL", url)], more].concat();
    let Ran { code, stdout, stderr } = run(&["forget", "E1"], &variables);
    assert_eq!((code, &*stdout), (Some(1), ""), "{url}: {stderr}");
    assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn a_file_that_is_no_history_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let url = format!("sqlite:{}", path.display());
    let shown = path.display().to_string();
    assert!(fails(&url, &[]).contains(&shown));
    assert!(!path.exists(), "a wrong path makes no file");
    assert!(fails("sqlite:/none/history.db", &[]).contains("/none/history.db"));
    std::fs::write(&path, "no database").unwrap();
    assert!(fails(&url, &[]).contains(&shown));
    assert_eq!(std::fs::read(&path).unwrap(), b"no database");
}

#[test]
fn a_server_that_cannot_be_reached_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2").unwrap();
    let file = [("INCIDENT_GATEWAY__STORE__PASSWORD_FILE", password.to_str().unwrap())];
    // Port 1 of the loopback address: nobody listens there.
    let errors = fails("postgres://u@127.0.0.1:1/d", &file);
    assert!(errors.contains("127.0.0.1:1") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_wrong_password_is_not_shown() {
    let settings = Settings { tcp: true, requires_password: true, ..Settings::default() };
    let Some(server) = PostgresServer::start("a_wrong_password_is_not_shown", &settings) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2").unwrap();
    let file = [("INCIDENT_GATEWAY__STORE__PASSWORD_FILE", password.to_str().unwrap())];
    let errors = fails(&server.tcp_url("postgres"), &file);
    assert!(errors.contains("password") && !errors.contains("hunter2"), "{errors}");
}

/// The employees of the newest records in the history, once there are some.
async fn employees_at(gateway: &Process, query: &str) -> Vec<String> {
    let target = format!("/history?limit=100{query}");
    let found = async {
        loop {
            let answer = get(gateway.address, &target).await.json();
            let rows = answer["incidents"].as_array().unwrap();
            let employees = rows.iter().filter_map(|row| row["employee_id"].as_str());
            let employees: Vec<String> = employees.map(str::to_owned).collect();
            if !employees.is_empty() {
                return employees;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_mins(1), found).await.expect("there are records in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_gateway_records_that_a_source_still_lists_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("history.db").display());
    let url = ("INCIDENT_GATEWAY__STORE__URL", &*url);
    let ttl = ("INCIDENT_GATEWAY__CACHE__TTL", "4s");
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let flags = [&["serve", "--demo"][..], &listen].concat();
    let (gateway, mut log) = Process::serve_with(&flags, &[url, ttl]).await;
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    // Their ids are numbers, so that nothing needs to be encoded.
    let employees = employees_at(&gateway, "").await;
    let employee = employees.iter().find(|id| id.parse::<u64>().is_ok()).unwrap();
    let Ran { code, stdout, stderr } = run(&["forget", employee], &[url]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("deleted ") && !stdout.starts_with("deleted 0 "), "{stdout}");
    assert_eq!(get(gateway.address, "/incidents").await.status, 200);
    employees_at(&gateway, &format!("&employee_id={employee}")).await;
}
