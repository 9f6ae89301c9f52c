//! Compares what a store answers with what follows from the model.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::generate::Question;
use super::model::Model;
use crate::join::OrderKey;
use crate::store::{
    HistoryFilter, HistoryQuery, HistoryRow, HistorySummary, MAX_TOP_EMPLOYEES, Store, SummaryCell,
};

/// By how many seconds times may differ: the model takes the time before the store does.
const TOLERANCE_SECONDS: f64 = 20.0;

/// Reads the whole history, page by page, and compares each page with the model.
pub(super) async fn check_history(store: &dyn Store, model: &Model, question: &Question) {
    let Question { filter, limit, max_bytes } = question;
    let expected = expected(model, filter);
    let mut seen = 0;
    let mut after = None;
    loop {
        let (filter, limit, max_bytes) = (filter.clone(), *limit, *max_bytes);
        let query = HistoryQuery { filter, after, limit, max_bytes };
        let page = store.history(query).await.unwrap();
        assert!(page.rows.len() <= limit);
        for (row, expected) in page.rows.iter().zip(&expected[seen..]) {
            assert_row(row, expected);
        }
        seen += page.rows.len();
        assert!(seen <= expected.len(), "no record more: {:?}", page.rows);
        let bytes = |rows: &[HistoryRow]| rows.iter().map(|row| row.bytes.len()).sum::<usize>();
        if let [all_but_last @ .., _] = &page.rows[..] {
            assert!(all_but_last.is_empty() || bytes(all_but_last) < max_bytes, "it is bounded");
        }
        let Some(next) = page.next else { break };
        let last = page.rows.last().expect("a page that is not the last has a record");
        assert_eq!((next.timestamp, next.number), (last.timestamp, last.number));
        let following = expected.get(seen).expect("more records follow");
        let is_full = page.rows.len() == limit;
        assert!(is_full || bytes(&page.rows) + following.bytes.len() >= max_bytes);
        after = Some(next);
    }
    assert_eq!(seen, expected.len(), "every record is on a page");
}

/// Compares a summary with the model.
pub(super) async fn check_summary(store: &dyn Store, model: &Model, filter: &HistoryFilter) {
    let summary = store.summary(filter.clone()).await.unwrap();
    let rows = expected(model, filter);
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.employee_id.as_deref()?, row.priority?, row.timestamp?)))
        .collect();
    let mut cells: BTreeMap<_, SummaryCell> = BTreeMap::new();
    let mut employees: BTreeMap<&str, ([u64; 4], f64)> = BTreeMap::new();
    for (row, employee_id, priority, timestamp) in rows {
        let key = (row.source.clone(), priority as usize);
        let source = row.source.clone();
        let (earliest, latest) = (timestamp, timestamp);
        let cell = SummaryCell { source, priority, count: 0, earliest, latest };
        let cell = cells.entry(key).or_insert(cell);
        cell.count += 1;
        cell.earliest = cell.earliest.min(timestamp);
        cell.latest = cell.latest.max(timestamp);
        let (priorities, latest) =
            employees.entry(employee_id).or_insert(([0; 4], f64::NEG_INFINITY));
        priorities[priority as usize] += 1;
        *latest = latest.max(timestamp);
    }
    let HistorySummary { cells: shown, unattributed, employees: count, top_employees } = summary;
    assert_eq!(shown, cells.into_values().collect::<Vec<_>>());
    let without = model.rows.values().filter(|row| row.record.employee_id.is_none()).count();
    assert_eq!(unattributed, without as u64);
    assert_eq!(count, employees.len() as u64);

    let mut expected: Vec<_> = employees.into_iter().collect();
    expected.sort_by_key(|(id, (priorities, _))| {
        (Reverse((priorities.iter().sum::<u64>(), priorities[3])), OrderKey::new(id))
    });
    let shown = top_employees.iter().map(|it| (&*it.employee_id, (it.priorities, it.latest)));
    assert!(top_employees.len() >= expected.len().min(MAX_TOP_EMPLOYEES));
    assert_eq!(shown.collect::<Vec<_>>(), expected[..top_employees.len()]);
}

/// The rows that meet the filter, in the order of the history.
fn expected(model: &Model, filter: &HistoryFilter) -> Vec<HistoryRow> {
    let mut rows: Vec<_> = model.rows.values().map(|row| model.history_row(row)).collect();
    rows.retain(|row| meets(row, filter));
    rows.sort_by(|left, right| compare(right, left));
    rows
}

fn meets(row: &HistoryRow, filter: &HistoryFilter) -> bool {
    let HistoryFilter { employees, types, priorities, since, until, current } = filter;
    let has_employee =
        |ids: &Vec<String>| row.employee_id.as_ref().is_some_and(|id| ids.contains(id));
    employees.as_ref().is_none_or(has_employee)
        && types.as_ref().is_none_or(|types| types.contains(&row.source))
        && priorities.as_ref().is_none_or(|it| row.priority.is_some_and(|p| it.contains(&p)))
        && since.is_none_or(|since| row.timestamp.is_some_and(|time| time >= since))
        && until.is_none_or(|until| row.timestamp.is_some_and(|time| time < until))
        && current.is_none_or(|current| row.is_current == current)
}

/// A record without a time is before all others.
fn compare(left: &HistoryRow, right: &HistoryRow) -> Ordering {
    let times = left.timestamp.partial_cmp(&right.timestamp).unwrap();
    times.then(left.number.cmp(&right.number))
}

/// Compares a row with the model's.
pub(super) fn assert_row(row: &HistoryRow, expected: &HistoryRow) {
    let times = [(row.first_seen, expected.first_seen), (row.last_seen, expected.last_seen)];
    for (shown, expected) in times {
        assert!((shown - expected).abs() < TOLERANCE_SECONDS, "{shown}, not {expected}");
    }
    assert!(row.last_seen >= row.first_seen);
    let (first_seen, last_seen) = (row.first_seen, row.last_seen);
    assert_eq!(*row, HistoryRow { first_seen, last_seen, ..expected.clone() });
}

/// Whether a time that the store shows is the model's.
pub(super) fn is_near(shown: f64, expected: f64) -> bool {
    (shown - expected).abs() < TOLERANCE_SECONDS
}
