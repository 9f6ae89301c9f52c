//! The history is read in the order of an index, whatever the filter.

use super::keys::{Parts, Times};
use super::*;
use crate::decode::Priority;

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps.join("; ")
}

#[tokio::test]
async fn every_filter_reads_ranges_of_an_index() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1", "2", "3"])).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    let employees = [None, Some(vec!["1".to_owned()]), Some(vec!["1".to_owned(), "2".to_owned()])];
    for employees in employees {
        for types in [None, Some(vec!["okta".to_owned()])] {
            for priorities in [None, Some(vec![Priority::High, Priority::Low])] {
                for current in [None, Some(true), Some(false)] {
                    let (employees, types) = (employees.clone(), types.clone());
                    let priorities = priorities.clone();
                    let filter = HistoryFilter {
                        employees,
                        types,
                        priorities,
                        current,
                        ..HistoryFilter::default()
                    };
                    check(&connection, &filter);
                }
            }
        }
    }
}

fn check(connection: &Connection, filter: &HistoryFilter) {
    let parts = Parts::new(filter, &[1, 2]);
    assert!(!parts.parts().is_empty());
    for part in parts.parts() {
        let range = match filter.employees {
            Some(_) => "INDEX records_by_employee (employee_id=?",
            None => "INDEX records_by_source (source=? AND is_current=?",
        };
        for (times, bounds) in [
            (Times::Some, "timestamp>? AND (timestamp,number)<(?,?)"),
            (Times::None, "timestamp=? AND number<?"),
        ] {
            let plan = plan(connection, &parts.sql(part, times));
            assert!(plan.ends_with(&format!("{range} AND {bounds})")), "{plan}");
            assert!(plan.starts_with("SEARCH records USING "), "{plan}");
            assert!(!plan.contains("TEMP"), "{plan}");
        }
    }
}

#[tokio::test]
async fn rows_are_found_by_their_keys() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    prepared(&path).await;
    let connection = Connection::open(&path).unwrap();
    for (sql, index) in [
        ("SELECT bytes FROM records WHERE version BETWEEN ? AND ?", "records_by_version"),
        ("SELECT bytes FROM records WHERE record = ?", "INTEGER PRIMARY KEY"),
        ("UPDATE records SET last_seen = 1 WHERE version = ?", "records_by_version"),
        ("SELECT record FROM records WHERE id = ?", "records_by_id (id=?)"),
        ("SELECT record FROM records WHERE last_seen < ? ORDER BY last_seen", "records_by_expiry"),
        ("SELECT record FROM records WHERE employee_id = ? AND version < ?", "records_by_employee"),
        ("SELECT count(*) FROM records WHERE employee_id IS NULL", "records_by_employee"),
        (
            "UPDATE records SET last_seen = 1 WHERE source = ? AND is_current = 1",
            "records_by_source",
        ),
    ] {
        let plan = plan(&connection, sql);
        assert!(plan.starts_with("SEARCH records USING") && plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP"), "{plan}");
    }
}
