//! What the replies of a receiver mean for the records of a request.

use std::time::Duration;

use tokio::time::Instant;

use super::Mode;
use super::term::{MAX_RETRY_AFTER, Term};
use crate::forward::settings::Destination;
use crate::forward::{Accepted, ItemStatus, Reply};
use crate::store::{DeadLetter, ForwardReport, HistoryRow};

/// After so many requests in a row without an answer, a batch is divided.
const MAX_UNANSWERED: u32 = 3;

impl<D: Destination> Term<'_, D> {
    pub(super) fn note_reply(&mut self, reply: Reply) {
        let rows = self.pages.take_in_flight();
        let had_gaps = self.progress.has_gaps();
        let is_unanswered = matches!(reply, Reply::Failed { is_unanswered: true, .. });
        self.note_unanswered(is_unanswered, &rows);
        match reply {
            Reply::Done(Accepted::All) => {
                self.note_answer();
                self.progress.advance(self.pages.passed(), rows.len());
            }
            Reply::Done(Accepted::Items(items)) if items.len() == rows.len() => {
                self.note_items(&rows, items);
            }
            Reply::Done(Accepted::Items(items)) => {
                let (got, sent) = (items.len(), rows.len());
                let detail = format!("the receiver answered for {got} records, and got {sent}");
                self.note_failure(&rows, detail, None);
            }
            Reply::Blamed { status, answer } => self.note_blame(rows, status, answer),
            Reply::Failed { detail, retry_after, .. } => {
                self.note_failure(&rows, detail, retry_after);
            }
        }
        if had_gaps || self.progress.has_gaps() {
            let done = self.progress.done().collect();
            self.worker.handle.claims().set_done(&self.progress.stored.name, done);
        }
    }

    /// The receiver has answered, whatever it says of the records.
    fn note_answer(&mut self) {
        if self.retry.failures() > 0 || self.progress.report.is_retrying {
            let forward = &self.progress.stored.name;
            tracing::info!(%forward, "the receiver takes records again");
        }
        self.retry.note_success();
        // The error of a record that was refused stays.
        if self.progress.report.is_retrying {
            self.progress.report = ForwardReport::default();
        }
    }

    /// The next batches are smaller after some requests in a row without an answer: this one may
    /// be too much for the receiver. If it is not, they cost some more requests.
    fn note_unanswered(&mut self, is_unanswered: bool, rows: &[HistoryRow]) {
        self.unanswered = if is_unanswered { self.unanswered + 1 } else { 0 };
        if self.unanswered == MAX_UNANSWERED {
            self.unanswered = 0;
            if rows.len() > 1 {
                self.boundaries.split(rows);
            }
        }
    }

    /// The receiver has answered for each record.
    fn note_items(&mut self, rows: &[HistoryRow], items: Vec<ItemStatus>) {
        let unsent = items.iter().position(|item| Item::of(item.status) == Item::Unsent);
        let Some(unsent) = unsent else {
            self.note_answer();
            self.finish_items(rows, items);
            return self.progress.advance(self.pages.passed(), 0);
        };
        let ItemStatus { status, error } = &items[unsent];
        let why = format!("the receiver answered {status} for a record: {error}");
        if self.finish_items(rows, items) {
            self.retry.note_success();
        }
        self.progress.advance(rows[unsent].number - 1, 0);
        // They are sent alone.
        if let Some(last) = rows.last() {
            self.boundaries.end_at(last.number);
        }
        self.note_failure(rows, why, None);
    }

    /// Notes which records are done; returns whether some are.
    fn finish_items(&mut self, rows: &[HistoryRow], items: Vec<ItemStatus>) -> bool {
        let mut is_any_done = false;
        for (row, item) in rows.iter().zip(items) {
            match Item::of(item.status) {
                Item::Sent => self.progress.finish(row.number, None),
                Item::Refused => self.refuse(row, item.status, item.error),
                Item::Unsent => continue,
            }
            is_any_done = true;
        }
        is_any_done
    }

    /// The receiver has refused a batch because of what is in it.
    fn note_blame(&mut self, rows: Vec<HistoryRow>, status: u16, answer: String) {
        self.worker.metrics.failed.inc();
        self.note_answer();
        match &rows[..] {
            [row] => {
                self.refuse(row, status, answer);
                self.progress.advance(self.pages.passed(), 0);
            }
            _ => {
                self.boundaries.split(&rows);
                self.pages.put_back(rows);
            }
        }
    }

    /// The record becomes a dead letter.
    fn refuse(&mut self, row: &HistoryRow, status: u16, answer: String) {
        let error = format!("record {} was refused with {status}: {answer}", row.id);
        self.progress.report.last_error = Some(error);
        let letter = DeadLetter {
            number: row.number,
            id: row.id,
            source: row.source.clone(),
            employee_id: row.employee_id.clone(),
            status,
            answer,
        };
        self.progress.finish(row.number, Some(letter));
    }

    /// The request has failed, and its records are sent again.
    fn note_failure(&mut self, rows: &[HistoryRow], detail: String, retry_after: Option<Duration>) {
        self.worker.metrics.failed.inc();
        if self.retry.failures() == 0 {
            let forward = &self.progress.stored.name;
            tracing::warn!(%forward, %detail, "a request has failed; it is tried again");
        }
        self.retry.note_failure(Instant::now(), retry_after.unwrap_or_default());
        self.give_up_after(self.retry.failures(), || detail.clone());
        if self.worker.mode == Mode::Once
            && let Some(wait) = retry_after.filter(|wait| *wait > MAX_RETRY_AFTER)
        {
            let wait = wait.as_secs();
            self.gave_up = Some(format!("{detail}; the receiver asks to wait for {wait} s"));
        }
        self.progress.report = ForwardReport { is_retrying: true, last_error: Some(detail) };
        self.waited_through = rows.iter().map(|row| row.number).fold(self.waited_through, i64::max);
        // Records that are deleted or changed meanwhile are not sent as they were.
        self.read_again();
        if self.reading.take().is_some() {
            // They may not be in its count.
            self.lag.note_write();
        }
        self.gives_claim_back = true;
    }
}

/// What the status of an item says of its record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Item {
    /// The receiver has it.
    Sent,
    /// It is at fault.
    Refused,
    /// It is to be sent again.
    Unsent,
}

impl Item {
    fn of(status: u16) -> Self {
        match status {
            200..=299 | 409 => Self::Sent,
            429 => Self::Unsent,
            400..=499 => Self::Refused,
            _ => Self::Unsent,
        }
    }
}
