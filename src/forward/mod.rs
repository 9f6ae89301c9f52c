//! Sends the store's new records to receivers, at least once.
//!
//! A forward goes through the records in the order of their numbers. Its position stands in the
//! store and moves only behind records that its receiver has accepted, or that were put aside as
//! dead letters. With replicas, the holder of the lease sends.

mod follow;
mod format;
mod forwarders;
mod metrics;
mod once;
mod receiver;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod worker;

pub use self::format::{Batch, Encoder};
pub use self::forwarders::{Forwarders, ForwardersHandle};
pub use self::metrics::ForwardMetrics;
pub use self::once::{Outcome, send_due};
pub use self::receiver::{Accepted, ItemStatus, Receiver, Reply, bulk_items};
pub use self::settings::ForwardSettings;
pub use self::status::{ForwardState, ForwardStatus, ForwardStatuses};
