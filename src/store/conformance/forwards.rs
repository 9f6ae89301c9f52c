//! The model of forwards, and what a store answers compared with it.

use std::time::Duration;

use super::Subject;
use super::forward_steps::{AdvanceStep, Claim, DueQuestion, FORWARDS, Mistake};
use super::model::{Model, Row, now};
use crate::config::{ForwardFrom, Selection};
use crate::store::{
    Advance, DeadLetter, DueQuery, DueRange, Epoch, ForwardClaim, HistoryRow, Store, StoreError,
    StoredForward,
};

impl Model {
    /// Begins a forward as the store has begun it.
    fn begin(&mut self, stored: &StoredForward, from: ForwardFrom) {
        let start = match from {
            ForwardFrom::Beginning => None,
            ForwardFrom::Now => {
                assert!(stored.start >= Some(self.greatest_number), "all numbers were taken");
                stored.start
            }
        };
        // No number that is taken later is smaller.
        self.greatest_number = self.greatest_number.max(start.unwrap_or_default());
        let position = start.unwrap_or_default();
        let forward =
            StoredForward { name: stored.name.clone(), position, start, ..Default::default() };
        assert_eq!(*stored, forward);
        self.forwards.insert(forward.name.clone(), forward);
    }

    fn advance(&mut self, advance: &Advance) {
        let forward = self.forwards.get_mut(&advance.name).expect("it has begun");
        assert_eq!(forward.position, advance.from);
        forward.position = advance.to;
        forward.sent += advance.sent;
        forward.dead_letters += advance.dead_letters.len() as u64;
        forward.report = advance.report.clone();
        for letter in &advance.dead_letters {
            if self.rows.contains_key(&letter.id) {
                self.dead_letters.push((advance.name.clone(), letter.clone()));
            }
        }
    }

    /// Deletes what has expired; returns how many records and dead letters. A dead letter is
    /// younger than all times to keep but none.
    pub(super) fn expire(&mut self, keep: Duration, claims: &[ForwardClaim]) -> u64 {
        let before = now() - keep.as_secs_f64();
        let is_expired = |row: &Row| {
            let number = row.number.expect("it has been seen");
            let is_claimed = claims.iter().any(|claim| {
                self.forwards.get(&claim.name).is_some_and(|forward| {
                    forward.position < number && number <= claim.sending_through
                })
            });
            row.last_seen.is_some_and(|last_seen| last_seen < before) && !is_claimed
        };
        let expired: Vec<_> = self.rows.values().filter(|row| is_expired(row)).cloned().collect();
        for claim in claims {
            let Some(forward) = self.forwards.get_mut(&claim.name) else { continue };
            let selection = claim.selection.clone();
            let range = DueRange { after: forward.position, start: forward.start, selection };
            let is_done = |row: &Row| row.number.is_some_and(|it| claim.done.contains(&it));
            let unsent = expired.iter().filter(|row| is_due(row, &range) && !is_done(row));
            forward.dead_letters += unsent.count() as u64;
        }
        let letters = if keep.is_zero() { self.dead_letters.drain(..).count() } else { 0 };
        let is_expired = |row: &Row| expired.iter().any(|it| it.record.id == row.record.id);
        self.delete(is_expired) + letters as u64
    }

    /// The records that are due, in the order of their numbers.
    fn due(&self, range: &DueRange) -> Vec<HistoryRow> {
        let due = self.rows.values().filter(|row| is_due(row, range));
        let mut due: Vec<_> = due.map(|row| self.history_row(row)).collect();
        due.sort_by_key(|row| row.number);
        due
    }

    fn has_number_above(&self, number: i64) -> bool {
        self.rows.values().any(|row| row.number > Some(number))
    }
}

fn is_due(row: &Row, range: &DueRange) -> bool {
    let Selection { priorities, types, unattributed } = &range.selection;
    let is_left_out =
        range.start.is_some_and(|start| row.is_of_first_refresh || row.first_number <= Some(start));
    row.number > Some(range.after)
        && !is_left_out
        && (row.record.employee_id.is_some() || *unattributed)
        && priorities.as_ref().is_none_or(|it| row.record.priority.is_some_and(|p| it.contains(&p)))
        && types.as_ref().is_none_or(|types| types.contains(&row.source))
}

/// Begins forwards in the store and in the model.
pub(super) async fn begin(
    store: &dyn Store,
    epoch: Epoch,
    model: &mut Model,
    forwards: &[(usize, ForwardFrom)],
) {
    let named: Vec<_> =
        forwards.iter().map(|(forward, from)| (FORWARDS[*forward].to_owned(), *from)).collect();
    let lost = store.begin_forwards(Epoch(epoch.0 + 1), &named).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)) || named.is_empty(), "{lost:?}");
    store.begin_forwards(epoch, &named).await.unwrap();
    let stored = store.forwards().await.unwrap();
    for (name, from) in named {
        if !model.forwards.contains_key(&name) {
            let stored = stored.iter().find(|stored| stored.name == name).expect("it has begun");
            model.begin(stored, from);
        }
    }
}

/// The claims of a step. Forwards that have not begun have one too.
pub(super) fn claims(model: &Model, claims: &[Claim]) -> Vec<ForwardClaim> {
    let claim = |Claim { forward, selection, numbers }: &Claim| {
        let name = FORWARDS[*forward];
        let position = model.forwards.get(name).map_or(0, |forward| forward.position);
        let sending_through = if *numbers == 0 { 0 } else { position + numbers };
        // Every third of those behind.
        let done = (1..10).map(|nth| position + numbers + 3 * nth).collect();
        ForwardClaim { name: name.to_owned(), selection: selection.clone(), sending_through, done }
    };
    claims.iter().map(claim).collect()
}

/// Moves a forward behind the next records, in the store and in the model.
pub(super) async fn advance(
    store: &dyn Store,
    epoch: Epoch,
    model: &mut Model,
    step: &AdvanceStep,
) {
    let name = FORWARDS[step.forward];
    let Some(forward) = model.forwards.get(name) else { return };
    let selection = step.selection.clone();
    let range = DueRange { after: forward.position, start: forward.start, selection };
    let mut due = model.due(&range);
    due.truncate(step.records);
    let is_refused = |index: usize| (step.refused >> (index % 8)) & 1 == 1;
    let refused = due.iter().enumerate().filter(|(index, _)| is_refused(*index));
    let dead_letters: Vec<_> = refused.map(|(_, row)| dead_letter(row)).collect();
    let right = Advance {
        name: name.to_owned(),
        from: forward.position,
        to: due.last().map_or(forward.position, |row| row.number),
        sent: (due.len() - dead_letters.len()) as u64,
        dead_letters,
        report: step.report.clone(),
    };
    let wrong = match step.mistake {
        None => {
            store.advance(epoch, right.clone()).await.unwrap();
            model.advance(&right);
            return;
        }
        Some(Mistake::Epoch) => store.advance(Epoch(epoch.0 + 1), right).await,
        Some(Mistake::Position) => {
            let (from, to) = (right.from + 1, right.to + 1);
            store.advance(epoch, Advance { from, to, ..right }).await
        }
        Some(Mistake::Name) => {
            store.advance(epoch, Advance { name: "unknown".to_owned(), ..right }).await
        }
    };
    let expected = match step.mistake {
        Some(Mistake::Epoch) => StoreError::LeaseLost,
        _ => StoreError::Outdated,
    };
    assert_eq!(wrong, Err(expected));
}

/// A dead letter of a record.
pub(super) fn dead_letter(row: &HistoryRow) -> DeadLetter {
    DeadLetter {
        number: row.number,
        id: row.id,
        source: row.source.clone(),
        employee_id: row.employee_id.clone(),
        status: 422,
        answer: format!("number {}: o'\"\\,{{}} ß", row.number),
    }
}

/// Compares what is stored of forwards with the model.
pub(super) async fn check(subject: &Subject, model: &Model, questions: &[DueQuestion]) {
    let Some(inspected) = &subject.inspected else { return };
    let store = &*subject.store;
    let stored = store.forwards().await.unwrap();
    assert_eq!(stored, model.forwards.values().cloned().collect::<Vec<_>>());

    let by_number = |(name, letter): &(String, DeadLetter)| (name.clone(), letter.number);
    let (mut shown, mut expected) = (inspected.dead_letters().await, model.dead_letters.clone());
    shown.sort_by_key(by_number);
    expected.sort_by_key(by_number);
    assert_eq!(shown, expected);

    for question in questions {
        check_due(store, model, question).await;
        for StoredForward { position, start, .. } in model.forwards.values() {
            let question = DueQuestion { after: *position, start: *start, ..question.clone() };
            check_due(store, model, &question).await;
        }
    }
}

/// Reads all records that are due, page by page, and compares them with the model.
async fn check_due(store: &dyn Store, model: &Model, question: &DueQuestion) {
    let DueQuestion { after, start, selection, limit, max_bytes } = question.clone();
    let mut range = DueRange { after, start, selection };
    let expected = model.due(&range);
    assert_eq!(store.count_due(range.clone()).await.unwrap(), expected.len() as u64);

    let mut rest = &expected[..];
    loop {
        let query = DueQuery { range: range.clone(), limit, max_bytes };
        let page = store.due(query).await.unwrap();
        assert!(page.rows.len() <= limit);
        let in_page = rest.iter().take_while(|row| row.number <= page.through).count();
        let (expected, behind) = rest.split_at(in_page);
        let numbers = |rows: &[HistoryRow]| rows.iter().map(|row| row.number).collect::<Vec<_>>();
        assert_eq!(numbers(&page.rows), numbers(expected), "all up to {}", page.through);
        for (row, expected) in page.rows.iter().zip(expected) {
            assert_due_row(row, expected);
        }
        let bytes = |rows: &[HistoryRow]| rows.iter().map(|row| row.bytes.len()).sum::<usize>();
        if let [all_but_last @ .., _] = &page.rows[..] {
            assert!(all_but_last.is_empty() || bytes(all_but_last) < max_bytes, "it is bounded");
        }
        assert_eq!(page.is_end, !model.has_number_above(page.through));
        if page.is_end {
            assert!(page.through >= range.after && behind.is_empty());
            break;
        }
        assert!(page.through > range.after, "a walk comes to its end");
        let next = behind.first().map_or(0, |row| row.bytes.len());
        let has_enough = page.rows.len() == limit || bytes(&page.rows) + next >= max_bytes;
        assert!(has_enough, "a page does not end before it has enough");
        (range.after, rest) = (page.through, behind);
    }
}

fn assert_due_row(row: &HistoryRow, expected: &HistoryRow) {
    assert!(super::queries::is_near(row.first_seen, expected.first_seen));
    let HistoryRow { first_seen, last_seen, is_current, .. } = *row;
    assert_eq!(*row, HistoryRow { first_seen, last_seen, is_current, ..expected.clone() });
}
