//! The history is read in the order of an index, whatever the filter.

use super::forwarding_due::{BY_KEY, BY_NEW_NUMBER, IN_ANY_ORDER, KEY_COLUMNS};
use super::ranges::{Ranges, Times};
use super::*;
use crate::decode::Priority;

#[tokio::test]
async fn due_records_are_read_in_the_order_of_their_numbers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    prepared(&path).await;
    let connection = Connection::open(&path).unwrap();
    for (order, expected) in [
        (BY_KEY, "SEARCH records USING INTEGER PRIMARY KEY (rowid>?)"),
        (BY_NEW_NUMBER, "SEARCH records USING INDEX records_by_new_number (number>?)"),
    ] {
        let sql = format!("SELECT {KEY_COLUMNS}, bytes FROM records {order}");
        assert_eq!(plan(&connection, &sql), expected);
    }
    let sql = format!("SELECT {KEY_COLUMNS} FROM records {IN_ANY_ORDER}");
    let expected = "SCAN records USING COVERING INDEX records_by_employee";
    assert_eq!(plan(&connection, &sql), expected);
    for (sql, index) in [
        ("SELECT 1 FROM dead_letters WHERE refused_at < ? ORDER BY refused_at", "by_time"),
        ("SELECT 1 FROM dead_letters WHERE employee_id = ?", "by_employee"),
        ("DELETE FROM dead_letters WHERE id = (SELECT id FROM records WHERE record = ?)", "by_id"),
    ] {
        let plan = plan(&connection, sql);
        assert!(plan.starts_with("SEARCH dead_letters USING") && plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP"), "{plan}");
    }
}

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
    let ranges = Ranges::new(filter, &[1, 2]);
    assert!(!ranges.owners().is_empty());
    for owner in ranges.owners() {
        let (range, other) = match (&filter.employees, filter.current) {
            (Some(_), _) => ("records_by_employee (employee_id=?", "former"),
            (None, Some(false)) => ("former_by_source (source=?", "records"),
            (None, _) => ("records_by_source (source=?", "former"),
        };
        for (times, bounds) in [
            (Times::Some, "timestamp>? AND (timestamp,number)<(?,?)"),
            (Times::None, "timestamp=? AND number<?"),
        ] {
            let plan = plan(connection, &ranges.sql(owner, times, history::COLUMNS));
            let first = format!("SEARCH ordered USING INDEX {range} AND {bounds}); ");
            let rest = plan.strip_prefix(&first).unwrap_or_else(|| panic!("{plan}"));
            assert!(
                rest.starts_with(&format!("SEARCH {other} USING INTEGER PRIMARY KEY (rowid=?)")),
                "{plan}"
            );
            assert!(!rest.contains(';') && !plan.contains("TEMP"), "{plan}");
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
        ("SELECT record FROM records WHERE id = ?", "records_by_id (id=?)"),
        ("DELETE FROM former WHERE record = ?", "INTEGER PRIMARY KEY"),
        ("SELECT record FROM former WHERE last_seen < ? ORDER BY last_seen", "former_by_expiry"),
        ("SELECT record FROM records WHERE employee_id = ? AND version < ?", "records_by_employee"),
        ("SELECT count(*) FROM records WHERE employee_id IS NULL", "records_by_employee"),
        (
            "SELECT record FROM records WHERE source = ? \
             AND NOT EXISTS (SELECT 1 FROM former WHERE former.record = records.record)",
            "records_by_source",
        ),
    ] {
        let plan = plan(&connection, sql);
        assert!(plan.starts_with("SEARCH ") && plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP"), "{plan}");
    }
}

#[tokio::test]
async fn a_removed_source_is_not_searched_for_current_records() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("history.db");
    let store = prepared(&path).await;
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    let searched = |current| {
        let filter = HistoryFilter { current, ..HistoryFilter::default() };
        history::searched(&history::sources(&connection, &filter).unwrap(), &filter).len()
    };
    let states = [None, Some(true), Some(false)];
    assert_eq!(states.map(searched), [1, 1, 1]);
    store.retain_sources(EPOCH, &[]).await.unwrap();
    assert_eq!(states.map(searched), [1, 0, 1]);
    store.write(EPOCH, write_of(&["1"])).await.unwrap();
    assert_eq!(states.map(searched), [1, 1, 1]);
}
