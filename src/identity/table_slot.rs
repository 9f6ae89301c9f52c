//! A configured identity table, with or without data.

use std::sync::Arc;

use super::{IdentityTable, KeyKinds};

/// A configured identity table, with its data if there is any. Tables are looked up in the order
/// of their slots.
#[derive(Clone, Debug)]
pub struct TableSlot {
    /// By what it can be looked up, whether it has data or not.
    pub kinds: KeyKinds,
    /// Its data; `None` for a missing table.
    pub table: Option<Arc<IdentityTable>>,
}

impl TableSlot {
    /// The slot of a table that is one object of addresses.
    #[must_use]
    pub const fn addresses(table: Option<Arc<IdentityTable>>) -> Self {
        Self { kinds: KeyKinds::ADDRESSES, table }
    }
}
