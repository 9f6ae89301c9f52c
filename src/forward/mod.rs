//! Sends the store's new records to receivers, at least once.
//!
//! A forward goes through the records in the order of their numbers. Its position stands in the
//! store and moves only behind records that its receiver has accepted, or that were put aside as
//! dead letters. With replicas, the holder of the lease sends.

mod format;
mod receiver;

pub use self::format::{Batch, Encoder};
pub use self::receiver::{Accepted, ItemStatus, Receiver, Reply};

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
