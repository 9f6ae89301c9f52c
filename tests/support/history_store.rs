//! A store that only has a history: the rows that the test gives it, in memory. It can be down,
//! overloaded, slow, or not answer at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use incident_gateway::config::ForwardFrom;
use incident_gateway::decode::Priority;
use incident_gateway::join::Reason;
use incident_gateway::store::{
    Advance, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, ForwardStore, Heads, HistoryFilter,
    HistoryPage, HistoryPosition, HistoryQuery, HistoryRow, HistorySummary, KeptUp, Lease,
    Operation, RecordChunk, SourceWrite, StableId, Store, StoreError, StoreFuture, StoreHandle,
    StoreKey, StoredForward, SummaryCell, SummaryEmployee, Version, Written,
};

/// How the store answers queries.
#[derive(Clone, Debug)]
pub(crate) enum Answers {
    AtOnce,
    After(Duration),
    Never,
    With(StoreError),
}

pub(crate) struct HistoryStore {
    rows: Mutex<Vec<HistoryRow>>,
    answers: Mutex<Answers>,
    /// Queries that have begun and were neither answered nor dropped.
    pub(crate) open_queries: AtomicUsize,
    /// All queries.
    pub(crate) queries: AtomicUsize,
}

impl HistoryStore {
    /// A store that is up and has these rows.
    pub(crate) fn with(rows: Vec<HistoryRow>) -> (Arc<Self>, StoreHandle) {
        let store = Arc::new(Self {
            rows: Mutex::new(rows),
            answers: Mutex::new(Answers::AtOnce),
            open_queries: AtomicUsize::new(0),
            queries: AtomicUsize::new(0),
        });
        let handle = StoreHandle::new(Arc::clone(&store) as Arc<dyn Store>);
        handle.note(Operation::Session, &Ok(()));
        (store, handle)
    }

    pub(crate) fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    pub(crate) fn rows(&self) -> Vec<HistoryRow> {
        self.rows.lock().unwrap().clone()
    }

    pub(crate) fn add(&self, row: HistoryRow) {
        self.rows.lock().unwrap().push(row);
    }

    fn query<'a, T: Send + 'a>(
        &'a self,
        answer: impl FnOnce(Vec<HistoryRow>) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        struct Open<'a>(&'a AtomicUsize);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, atomic::Ordering::Relaxed);
            }
        }
        async move {
            self.queries.fetch_add(1, atomic::Ordering::Relaxed);
            self.open_queries.fetch_add(1, atomic::Ordering::Relaxed);
            let _open = Open(&self.open_queries);
            let answers = self.answers.lock().unwrap().clone();
            match answers {
                Answers::AtOnce => {}
                Answers::After(delay) => tokio::time::sleep(delay).await,
                Answers::Never => future::pending().await,
                Answers::With(error) => return Err(error),
            }
            Ok(answer(self.rows()))
        }
        .boxed()
    }
}

/// A row of an employee, of whom it says so, or of nobody.
pub(crate) fn row(
    number: i64,
    source: &str,
    employee: Option<(&str, Priority, f64)>,
    is_current: bool,
) -> HistoryRow {
    let bytes = match employee {
        Some((id, priority, time)) => format!(
            r#"{{"who":{},"priority":"{}","timestamp":{time},"number":{number}}}"#,
            serde_json::to_string(id).unwrap(),
            priority.as_str()
        ),
        None => format!("[{number}]"),
    };
    HistoryRow {
        id: StableId::of_bytes(source, bytes.as_bytes()),
        number,
        source: source.to_owned(),
        employee_id: employee.map(|(id, ..)| id.to_owned()),
        priority: employee.map(|(_, priority, _)| priority),
        timestamp: employee.map(|(.., time)| time),
        reason: employee.is_none().then_some(Reason::NotAnObject),
        first_seen: 1e9 + number as f64,
        last_seen: 1e9 + number as f64 + 0.25,
        is_current,
        bytes: bytes.into_bytes(),
    }
}

/// Whether a row meets a filter.
fn meets(row: &HistoryRow, filter: &HistoryFilter) -> bool {
    fn among<T: PartialEq>(wanted: Option<&Vec<T>>, value: Option<&T>) -> bool {
        wanted.is_none_or(|wanted| value.is_some_and(|value| wanted.contains(value)))
    }
    among(filter.employees.as_ref(), row.employee_id.as_ref())
        && among(filter.types.as_ref(), Some(&row.source))
        && among(filter.priorities.as_ref(), row.priority.as_ref())
        && filter.since.is_none_or(|since| row.timestamp.is_some_and(|time| time >= since))
        && filter.until.is_none_or(|until| row.timestamp.is_some_and(|time| time < until))
        && filter.current.is_none_or(|current| row.is_current == current)
}

/// Newest first, rows without a time last.
fn order(left: HistoryPosition, right: HistoryPosition) -> Ordering {
    let key = |position: HistoryPosition| position.timestamp.unwrap_or(f64::NEG_INFINITY);
    key(right).total_cmp(&key(left)).then(right.number.cmp(&left.number))
}

fn position(row: &HistoryRow) -> HistoryPosition {
    HistoryPosition { timestamp: row.timestamp, number: row.number }
}

fn page(mut rows: Vec<HistoryRow>, query: &HistoryQuery) -> HistoryPage {
    rows.retain(|row| {
        let is_after = query.after.is_none_or(|after| order(after, position(row)).is_lt());
        is_after && meets(row, &query.filter)
    });
    rows.sort_by(|left, right| order(position(left), position(right)));
    let mut bytes = 0;
    let fits = rows.iter().take(query.limit).take_while(|row| {
        let is_first = bytes == 0;
        bytes += row.bytes.len();
        is_first || bytes <= query.max_bytes
    });
    let count = fits.count();
    let has_more = count < rows.len();
    rows.truncate(count);
    let next = rows.last().filter(|_| has_more).map(position);
    HistoryPage { rows, next }
}

fn summary(rows: Vec<HistoryRow>, filter: &HistoryFilter) -> HistorySummary {
    let unattributed = rows.iter().filter(|row| row.employee_id.is_none()).count() as u64;
    let mut cells: BTreeMap<(String, Priority), SummaryCell> = BTreeMap::new();
    let mut employees: BTreeMap<String, SummaryEmployee> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| meets(row, filter)) {
        let (Some(employee_id), Some(priority), Some(time)) =
            (row.employee_id, row.priority, row.timestamp)
        else {
            continue;
        };
        let cell = cells.entry((row.source.clone(), priority)).or_insert(SummaryCell {
            source: row.source,
            priority,
            count: 0,
            earliest: time,
            latest: time,
        });
        cell.count += 1;
        (cell.earliest, cell.latest) = (cell.earliest.min(time), cell.latest.max(time));
        let employee = employees.entry(employee_id.clone()).or_insert(SummaryEmployee {
            employee_id,
            priorities: [0; 4],
            latest: time,
        });
        employee.priorities[priority as usize] += 1;
        employee.latest = employee.latest.max(time);
    }
    HistorySummary {
        cells: cells.into_values().collect(),
        unattributed,
        employees: employees.len() as u64,
        top_employees: employees.into_values().collect(),
    }
}

fn unused<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    future::ready(Err(StoreError::Unavailable("this store only has a history".to_owned()))).boxed()
}

impl Store for HistoryStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn key(&self) -> StoreFuture<'_, StoreKey> {
        self.query(|_| StoreKey([7; 16]))
    }

    fn history(&self, query: HistoryQuery) -> StoreFuture<'_, HistoryPage> {
        self.query(move |rows| page(rows, &query))
    }

    fn summary(&self, filter: HistoryFilter) -> StoreFuture<'_, HistorySummary> {
        self.query(move |rows| summary(rows, &filter))
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        self.query(|rows| rows.len() as u64)
    }

    fn notified(&self) -> BoxFuture<'_, ()> {
        future::pending().boxed()
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        unused()
    }

    fn take_generation(&self, _: u64) -> StoreFuture<'_, u64> {
        unused()
    }

    fn acquire_or_renew<'a>(&'a self, _: &'a KeptUp) -> StoreFuture<'a, Lease> {
        unused()
    }

    fn release(&self, _: Epoch) -> StoreFuture<'_, ()> {
        unused()
    }

    fn heads(&self) -> StoreFuture<'_, Heads> {
        unused()
    }

    fn sequence<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Vec<Version>> {
        unused()
    }

    fn records<'a>(&'a self, _: &'a [Version]) -> StoreFuture<'a, RecordChunk> {
        unused()
    }

    fn table<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        unused()
    }

    fn write(&self, _: Epoch, _: SourceWrite) -> StoreFuture<'_, Written> {
        unused()
    }

    fn retain_sources<'a>(&'a self, _: Epoch, _: &'a [String]) -> StoreFuture<'a, ()> {
        unused()
    }

    fn save_limits<'a>(&'a self, _: Epoch, _: &'a [(String, usize)]) -> StoreFuture<'a, ()> {
        unused()
    }

    fn delete_expired<'a>(
        &'a self,
        _: Epoch,
        _: Duration,
        _: &'a [ForwardClaim],
    ) -> StoreFuture<'a, u64> {
        unused()
    }

    fn forget<'a>(&'a self, _: &'a str) -> StoreFuture<'a, u64> {
        unused()
    }
}

impl ForwardStore for HistoryStore {
    fn begin_forwards<'a>(
        &'a self,
        _: Epoch,
        _: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()> {
        unused()
    }

    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>> {
        unused()
    }

    fn due(&self, _: DueQuery) -> StoreFuture<'_, DuePage> {
        unused()
    }

    fn count_due(&self, _: DueRange) -> StoreFuture<'_, u64> {
        unused()
    }

    fn advance(&self, _: Epoch, _: Advance) -> StoreFuture<'_, ()> {
        unused()
    }
}
