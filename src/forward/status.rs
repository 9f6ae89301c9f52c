//! How far forwards have come, as `/sources` shows it.

use std::sync::Arc;

use tokio::sync::watch;

use super::ForwardMetrics;
use crate::store::{ForwardReport, StoredForward};

/// What a forward does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardState {
    /// Nothing is due.
    #[default]
    Idle,
    /// Records are due, and are being sent.
    Sending,
    /// The last request has failed; it is tried again.
    Retrying,
}

impl ForwardState {
    /// `idle`, `sending` or `retrying`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
        }
    }
}

/// How far a forward has come. Counts are of records, since its position began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForwardStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: ForwardState,
    /// How many records are due; `None` until they were counted.
    pub lag: Option<u64>,
    /// How many were sent.
    pub sent: u64,
    /// How many have become dead letters.
    pub dead_letters: u64,
    /// Why its last request failed, or its last record was refused.
    pub last_error: Option<String>,
}

impl ForwardStatus {
    /// The status of a forward with this report, of which so many records are due.
    pub(super) fn new(stored: &StoredForward, report: &ForwardReport, lag: Option<u64>) -> Self {
        let state = match lag {
            _ if report.is_retrying => ForwardState::Retrying,
            Some(0) => ForwardState::Idle,
            _ => ForwardState::Sending,
        };
        Self {
            name: stored.name.clone(),
            state,
            lag,
            sent: stored.sent,
            dead_letters: stored.dead_letters,
            last_error: report.last_error.clone(),
        }
    }
}

/// The statuses of all forwards that are configured, in the configured order.
pub type ForwardStatuses = Arc<[ForwardStatus]>;

/// Publishes statuses. Clones publish to the same place.
#[derive(Clone, Debug)]
pub(super) struct Board {
    statuses: watch::Sender<ForwardStatuses>,
    metrics: ForwardMetrics,
}

impl Board {
    pub(super) fn new(statuses: watch::Sender<ForwardStatuses>, metrics: ForwardMetrics) -> Self {
        Self { statuses, metrics }
    }

    /// Sets which forwards there are. What is known of those that stay is kept.
    pub(super) fn configure<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.statuses.send_modify(|statuses| {
            let known = |name: &str| statuses.iter().find(|status| status.name == name).cloned();
            let status = |name: &str| {
                let new = || ForwardStatus { name: name.to_owned(), ..ForwardStatus::default() };
                known(name).unwrap_or_else(new)
            };
            let configured: ForwardStatuses = names.map(status).collect();
            for ForwardStatus { name, .. } in statuses.iter() {
                if configured.iter().all(|status| status.name != *name) {
                    self.metrics.remove(name);
                }
            }
            *statuses = configured;
        });
    }

    /// Publishes the status of a forward that is configured, if it has changed.
    pub(super) fn publish(&self, new: ForwardStatus) {
        self.statuses.send_if_modified(|statuses| {
            let position = statuses.iter().position(|status| status.name == new.name);
            let Some(position) = position.filter(|position| statuses[*position] != new) else {
                return false;
            };
            if let Some(lag) = new.lag {
                self.metrics.set_lag(&new.name, lag);
            }
            let mut changed = statuses.to_vec();
            changed[position] = new;
            *statuses = changed.into();
            true
        });
    }

    /// How many records of a forward are due, as was published last.
    pub(super) fn lag(&self, name: &str) -> Option<u64> {
        let statuses = self.statuses.borrow();
        statuses.iter().find(|status| status.name == name).and_then(|status| status.lag)
    }

    /// The counters of a forward.
    pub(super) fn metrics(&self) -> &ForwardMetrics {
        &self.metrics
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ForwardStatuses> {
        self.statuses.subscribe()
    }
}
