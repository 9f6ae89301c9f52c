//! Resolves the identity values of records to employees.
//!
//! An address is looked up in the identity table; any other value is an employee id itself.
//! [`parse_address`] reads the addresses of tables and of records alike, so that the same address
//! matches however it is written.

mod address_object;
mod content_digest;
mod employee_id;
mod key_kinds;
mod person_names;
mod resolver;
mod table;
mod table_slot;
mod text_keys;

pub use crate::mapping::parse_address;
pub use employee_id::{EmployeeId, EmployeeIds};
pub use key_kinds::KeyKinds;
pub use resolver::{Resolver, UnresolvedIdentity};
pub use table::IdentityTable;
pub use table_slot::TableSlot;
