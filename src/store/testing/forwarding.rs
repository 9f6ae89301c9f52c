//! Forwarding from the store in memory.

use std::time::{Duration, SystemTime};

use super::{Memory, MemoryStore, StoredRow};
use crate::config::{ForwardFrom, Selection};
use crate::store::{
    Advance, DuePage, DueQuery, DueRange, Epoch, ForwardClaim, ForwardStore, HistoryRow,
    StoreError, StoreFuture, StoredForward,
};

/// A page ends after so many records in a row that are not selected.
const MAX_PASSED_ROWS: usize = 20;

impl ForwardStore for MemoryStore {
    fn begin_forwards<'a>(
        &'a self,
        epoch: Epoch,
        forwards: &'a [(String, ForwardFrom)],
    ) -> StoreFuture<'a, ()> {
        self.operation("begin_forwards", move |memory, _| {
            memory.check(epoch)?;
            for (name, from) in forwards {
                let last_number = memory.last_number;
                memory.forwards.entry(name.clone()).or_insert_with(|| {
                    let (position, start) = match from {
                        ForwardFrom::Now => (last_number, Some(last_number)),
                        ForwardFrom::Beginning => (0, None),
                    };
                    StoredForward { name: name.clone(), position, start, ..Default::default() }
                });
            }
            Ok(())
        })
    }

    fn forwards(&self) -> StoreFuture<'_, Vec<StoredForward>> {
        self.operation("forwards", |memory, _| Ok(memory.forwards.values().cloned().collect()))
    }

    fn due(&self, query: DueQuery) -> StoreFuture<'_, DuePage> {
        self.operation("due", move |memory, _| Ok(memory.due(&query)))
    }

    fn count_due(&self, range: DueRange) -> StoreFuture<'_, u64> {
        self.operation("count_due", move |memory, _| {
            let rows = memory.records.values();
            Ok(rows.filter(|row| memory.is_due(row, &range)).count() as u64)
        })
    }

    fn advance(&self, epoch: Epoch, advance: Advance) -> StoreFuture<'_, ()> {
        self.operation("advance", move |memory, now| {
            memory.check(epoch)?;
            memory.advance(advance, now)?;
            if memory.loses_answers {
                return Err(StoreError::Unavailable("the answer was lost".to_owned()));
            }
            Ok(())
        })
    }
}

impl Memory {
    /// The due records of a forward in the order of their numbers.
    pub(crate) fn all_due(&self, range: &DueRange) -> Vec<&StoredRow> {
        let mut rows: Vec<_> =
            self.records.values().filter(|row| self.is_due(row, range)).collect();
        rows.sort_unstable_by_key(|row| row.number);
        rows
    }

    fn is_due(&self, row: &StoredRow, range: &DueRange) -> bool {
        let is_left_out = range.start.is_some_and(|start| {
            let first_through = self.first_through.get(&row.source).copied();
            row.first_number <= start.max(first_through.unwrap_or_default())
        });
        row.number > range.after && !is_left_out && is_selected(row, &range.selection)
    }

    fn due(&self, query: &DueQuery) -> DuePage {
        let mut rows: Vec<_> =
            self.records.values().filter(|row| row.number > query.range.after).collect();
        rows.sort_unstable_by_key(|row| row.number);
        let mut page = DuePage { through: query.range.after, ..DuePage::default() };
        let (mut bytes, mut passed) = (0, 0);
        for row in rows {
            let is_full = page.rows.len() >= query.limit || bytes >= query.max_bytes;
            if is_full || passed >= MAX_PASSED_ROWS {
                return page;
            }
            page.through = row.number;
            passed += 1;
            if self.is_due(row, &query.range) {
                passed = 0;
                bytes += row.record.bytes.len();
                page.rows.push(history_row(row));
            }
        }
        page.is_end = true;
        page
    }

    fn advance(&mut self, advance: Advance, now: SystemTime) -> Result<(), StoreError> {
        let Advance { name, from, to, sent, dead_letters, report } = advance;
        let forward = self.forwards.get_mut(&name).ok_or(StoreError::Outdated)?;
        if forward.position != from {
            return Err(StoreError::Outdated);
        }
        assert!(from <= to, "a position never goes back");
        forward.position = to;
        forward.sent += sent;
        forward.dead_letters += dead_letters.len() as u64;
        forward.report = report;
        let letters = dead_letters.into_iter().map(|letter| (name.clone(), letter, now));
        self.dead_letters.extend(letters);
        Ok(())
    }

    pub(super) fn delete_expired(
        &mut self,
        keep: Duration,
        claims: &[ForwardClaim],
        now: SystemTime,
    ) -> u64 {
        let position = |memory: &Self, claim: &ForwardClaim| {
            memory.forwards.get(&claim.name).map_or(i64::MAX, |forward| forward.position)
        };
        let is_claimed = |row: &StoredRow| {
            claims.iter().any(|claim| {
                row.number > position(self, claim) && row.number <= claim.sending_through
            })
        };
        let is_expired = |row: &StoredRow| row.last_seen.is_some_and(|seen| seen + keep < now);
        let expired: Vec<i64> = self
            .records
            .values()
            .filter(|row| is_expired(row) && !is_claimed(row))
            .map(|row| row.number)
            .collect();
        for claim in claims {
            let Some(StoredForward { position, start, .. }) = self.forwards.get(&claim.name) else {
                continue;
            };
            let range =
                DueRange { after: *position, start: *start, selection: claim.selection.clone() };
            let due = self.all_due(&range);
            let is_unsent = |row: &&&StoredRow| {
                expired.contains(&row.number) && !claim.done.contains(&row.number)
            };
            let unsent = due.iter().filter(is_unsent).count() as u64;
            if let Some(forward) = self.forwards.get_mut(&claim.name) {
                forward.dead_letters += unsent;
            }
        }
        let before = self.dead_letters.len();
        self.dead_letters.retain(|(_, _, at)| *at + keep >= now);
        let letters = (before - self.dead_letters.len()) as u64;
        self.delete(|row| expired.contains(&row.number)) + letters
    }
}

fn is_selected(row: &StoredRow, selection: &Selection) -> bool {
    let record = &row.record;
    let Selection { priorities, types, unattributed } = selection;
    (*unattributed || record.employee_id.is_some())
        && priorities.as_ref().is_none_or(|priorities| {
            record.priority.is_some_and(|priority| priorities.contains(&priority))
        })
        && types.as_ref().is_none_or(|types| types.contains(&row.source))
}

fn history_row(row: &StoredRow) -> HistoryRow {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs_f64()
    };
    let record = &row.record;
    HistoryRow {
        id: record.id,
        number: row.number,
        source: row.source.clone(),
        employee_id: record.employee_id.as_deref().map(str::to_owned),
        priority: record.priority,
        timestamp: record.timestamp,
        reason: record.reason,
        first_seen: seconds(row.first_seen),
        last_seen: 0.0,
        is_current: false,
        bytes: record.bytes.to_vec(),
    }
}
