//! What an employee's page shows of the history: the records that no source lists any more, and
//! those of sources that have no data at present.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::decode::Priority;
use crate::http::Gateway;
use crate::http::context::Context;
use crate::http::query::Query;
use crate::snapshot::View;
use crate::store::{HistoryFilter, HistoryQuery, HistoryRow, Store, StoreError};

/// How long a page waits for the history.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// How many records the page reads, for its timeline; it lists fewer.
pub(super) const MAX_RECORDS: usize = 1_000;

/// The records end early where they reach this many bytes.
const MAX_BYTES: usize = 1 << 20;

/// What the store answered.
pub(super) enum EmployeeHistory {
    /// It cannot be reached, or did not answer in time.
    Unavailable,
    /// The employee's records beyond those of the view.
    Read(ReadHistory),
}

/// An employee's records beyond those of the view.
pub(super) struct ReadHistory {
    /// The newest ones, newest first.
    pub(super) rows: Vec<HistoryRow>,
    /// Whether there are more.
    pub(super) has_more: bool,
    /// Whether the employee has any record in the history, whatever the filter.
    is_known: bool,
    /// Bounds the memory of such records, until the page is rendered.
    _permit: Option<OwnedSemaphorePermit>,
}

impl EmployeeHistory {
    /// Whether the history is known to have a record of the employee, whatever the filter.
    pub(super) fn has_employee(&self) -> bool {
        matches!(self, Self::Read(history) if history.is_known)
    }

    /// The times and priorities of the records, for the timeline.
    pub(super) fn times(&self) -> impl Iterator<Item = (f64, Priority)> {
        let rows = match self {
            Self::Read(history) => &*history.rows,
            Self::Unavailable => &[],
        };
        rows.iter().filter_map(|row| Some((row.timestamp?, row.priority?)))
    }
}

impl Gateway {
    /// The history of an employee beyond a view; `None` without a store. It waits for [`MAX_WAIT`]
    /// at most, and not at all while the store is known to be down.
    pub(super) async fn employee_history(
        &self,
        id: &str,
        query: &Query,
        view: &View,
        context: &Context,
    ) -> Option<EmployeeHistory> {
        let handle = self.store.as_ref()?;
        if !handle.state().is_reachable() {
            return Some(EmployeeHistory::Unavailable);
        }
        let deadline = context.started + MAX_WAIT.min(self.budget);
        let question = Question::new(id, query, view);
        let answer = self.query_store(handle.store(), deadline, |store| {
            async move { question.ask(store).await }.boxed()
        });
        Some(match answer.await {
            Ok((history, permit)) => {
                EmployeeHistory::Read(ReadHistory { _permit: Some(permit), ..history })
            }
            Err(_) => EmployeeHistory::Unavailable,
        })
    }
}

/// The filters of the queries that an employee's page needs.
struct Question {
    /// All records of the employee.
    everything: HistoryFilter,
    /// The records that meet the page's filter, whether the view has them or not.
    chosen: HistoryFilter,
    /// The sources of which the view has no data, as far as the page's filter wants them.
    missing: Vec<String>,
    /// Whether the view has no record of the employee.
    is_only_in_history: bool,
}

impl Question {
    fn new(id: &str, query: &Query, view: &View) -> Self {
        let names = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
        let types: Option<Vec<String>> = query.types().map(names);
        let everything =
            HistoryFilter { employees: Some(vec![id.to_owned()]), ..HistoryFilter::default() };
        let chosen = HistoryFilter {
            priorities: query.filter.priorities.clone(),
            since: query.filter.since,
            until: query.filter.until,
            types: types.clone(),
            ..everything.clone()
        };
        let sources = view.names().iter().zip(view.batches());
        let missing = sources
            .filter(|(_, batch)| batch.is_none())
            .map(|(name, _)| name.to_string())
            .filter(|name| types.as_ref().is_none_or(|types| types.contains(name)));
        let is_only_in_history = view.index().rank(id).is_none();
        Self { everything, chosen, missing: missing.collect(), is_only_in_history }
    }

    async fn ask(self, store: &dyn Store) -> Result<ReadHistory, StoreError> {
        let page = |filter, limit| {
            store.history(HistoryQuery { filter, after: None, limit, max_bytes: MAX_BYTES })
        };
        let Self { everything, chosen, missing, is_only_in_history } = self;
        let current = (!is_only_in_history).then_some(false);
        let left = page(HistoryFilter { current, ..chosen.clone() }, MAX_RECORDS).await?;
        let (mut rows, mut has_more) = (left.rows, left.next.is_some());
        if !is_only_in_history && !missing.is_empty() {
            let (types, current) = (Some(missing), Some(true));
            let hidden = page(HistoryFilter { types, current, ..chosen }, MAX_RECORDS).await?;
            has_more |= hidden.next.is_some();
            rows.extend(hidden.rows);
            let newest_first = |row: &HistoryRow| row.timestamp.unwrap_or(f64::NEG_INFINITY);
            rows.sort_by(|left, right| {
                newest_first(right)
                    .total_cmp(&newest_first(left))
                    .then(right.number.cmp(&left.number))
            });
        }
        let is_known =
            !rows.is_empty() || (is_only_in_history && !page(everything, 1).await?.rows.is_empty());
        Ok(ReadHistory { rows, has_more, is_known, _permit: None })
    }
}
