//! What a process knows of its store and of the processes that share it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Epoch, Heads, Operation};
use crate::sources::Fingerprint;

/// The sources that a process refreshes, by name, each with the fingerprint of its definition.
/// Clones share it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeptUp(pub Arc<BTreeSet<(String, Fingerprint)>>);

impl KeptUp {
    /// Whether the process refreshes the source under this definition.
    #[must_use]
    pub fn has(&self, name: &str, fingerprint: Fingerprint) -> bool {
        self.0.iter().any(|(known, of)| known == name && *of == fingerprint)
    }
}

/// What a process refreshes.
#[derive(Clone, Debug)]
pub enum Role {
    /// Nothing yet: the store has not answered since the start.
    Waiting,
    /// Everything: it holds the lease. SQLite, which has one process, gives it for ever.
    Leader {
        /// The number of the lease.
        epoch: Epoch,
        /// Until when this process may rely on it.
        until: Instant,
    },
    /// Only what the leader does not keep up for it.
    Follower {
        /// What the leader refreshes.
        kept_up: KeptUp,
    },
    /// What its data would soon be too old for: the store cannot be reached.
    Detached,
}

impl Role {
    /// The epoch of the lease that this process holds at `now`.
    #[must_use]
    pub fn epoch(&self, now: Instant) -> Option<Epoch> {
        match self {
            Self::Leader { epoch, until } => (now < *until).then_some(*epoch),
            Self::Waiting | Self::Follower { .. } | Self::Detached => None,
        }
    }
}

/// Why an operation failed, for the operator.
pub(super) type Fault = Arc<str>;

/// What a process knows of its store. A task keeps it up to date and publishes it.
#[derive(Clone, Debug)]
pub struct StoreState {
    /// What the process refreshes.
    pub role: Role,
    /// What is stored. A leader has what it read when it took the lease, followers the newest.
    /// `None` until it was read once.
    pub heads: Option<Arc<Heads>>,
    /// How many records are stored, as last counted.
    pub records: Option<u64>,
    /// Whether the process is about to give its lease back. The refresh then starts no more calls;
    /// the recorder writes what those under way bring, and ends once everything is written.
    pub is_leaving: bool,
    /// Whether it was reached since the start.
    has_been_reached: bool,
    session_fault: Option<Fault>,
    write_fault: Option<Fault>,
    upkeep_fault: Option<Fault>,
}

impl StoreState {
    /// Whether the last operations on the store succeeded.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.has_been_reached && self.last_error().is_none()
    }

    /// Whether it could be reached when it was last tried, so that it can probably be read. On a
    /// full disk it can, though it is not up.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.has_been_reached && self.session_fault.is_none()
    }

    /// Why the store is down.
    #[must_use]
    pub fn last_error(&self) -> Option<&Arc<str>> {
        let faults = [&self.session_fault, &self.write_fault, &self.upkeep_fault];
        faults.into_iter().find_map(Option::as_ref)
    }

    /// Takes another role. Whoever follows writes nothing, so that its faults of writing are past.
    pub(super) fn enter(&mut self, role: Role) {
        if matches!(role, Role::Follower { .. }) {
            self.write_fault = None;
            self.upkeep_fault = None;
        }
        self.role = role;
    }

    /// Whether an operation was one of a leader that has become a follower meanwhile.
    pub(super) fn is_past(&self, operation: Operation) -> bool {
        operation != Operation::Session && matches!(self.role, Role::Follower { .. })
    }

    /// Sets or clears the fault of an operation; returns the one before.
    pub(super) fn replace_fault(
        &mut self,
        operation: Operation,
        fault: Option<Fault>,
    ) -> Option<Fault> {
        self.has_been_reached |= fault.is_none();
        let is_past = operation != Operation::Session && matches!(self.role, Role::Follower { .. });
        let fault = fault.filter(|_| !is_past);
        let present = match operation {
            Operation::Session => &mut self.session_fault,
            Operation::Write => &mut self.write_fault,
            Operation::Upkeep => &mut self.upkeep_fault,
        };
        std::mem::replace(present, fault)
    }
}

impl Default for StoreState {
    fn default() -> Self {
        Self {
            role: Role::Waiting,
            heads: None,
            records: None,
            is_leaving: false,
            has_been_reached: false,
            session_fault: None,
            write_fault: None,
            upkeep_fault: None,
        }
    }
}
