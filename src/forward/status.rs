//! How far forwards have come, as `/sources` shows it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::StoredForward;

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
    /// What is stored of a forward, as so many records are due.
    pub(super) fn new(stored: &StoredForward, lag: Option<u64>) -> Self {
        let state = match lag {
            _ if stored.report.is_retrying => ForwardState::Retrying,
            Some(1..) => ForwardState::Sending,
            _ => ForwardState::Idle,
        };
        Self {
            name: stored.name.clone(),
            state,
            lag,
            sent: stored.sent,
            dead_letters: stored.dead_letters,
            last_error: stored.report.last_error.clone(),
        }
    }
}

/// The statuses of all forwards that are configured, in the configured order.
pub type ForwardStatuses = Arc<[ForwardStatus]>;

/// Publishes statuses.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<ForwardStatuses>);

impl Board {
    pub(super) fn new(statuses: watch::Sender<ForwardStatuses>) -> Self {
        Self(statuses)
    }

    /// Sets which forwards there are. What is known of those that stay is kept.
    pub(super) fn configure<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.0.send_modify(|statuses| {
            let known = |name: &str| statuses.iter().find(|status| status.name == name).cloned();
            let status = |name: &str| {
                let new = || ForwardStatus { name: name.to_owned(), ..ForwardStatus::default() };
                known(name).unwrap_or_else(new)
            };
            *statuses = names.map(status).collect();
        });
    }

    /// Publishes the status of a forward, if it has changed.
    pub(super) fn publish(&self, new: ForwardStatus) {
        self.0.send_if_modified(|statuses| {
            let is_outdated =
                |status: &&mut ForwardStatus| status.name == new.name && **status != new;
            let is_known = statuses.iter().any(|status| status.name == new.name && *status != new);
            if !is_known {
                return false;
            }
            let mut changed = statuses.to_vec();
            if let Some(status) = changed.iter_mut().find(is_outdated) {
                *status = new;
            }
            *statuses = changed.into();
            true
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ForwardStatuses> {
        self.0.subscribe()
    }
}
