//! Decodes identity tables, and resolves the identity values of records to employees.
//!
//! In a plain source an address is looked up in the tables, and any other value is an employee id
//! itself; in a mapped source the configuration says which values are looked up as what. Values of
//! tables and of records are cleaned up alike, so that they match however they are written.

mod address_object;
mod content_digest;
mod employee_id;
mod key_kinds;
mod person_names;
mod resolver;
mod rows;
mod table;
mod table_bytes;
mod table_decoder;
mod table_slot;
mod text_keys;

pub use crate::mapping::parse_address;
pub use employee_id::{EmployeeId, EmployeeIds};
pub use key_kinds::KeyKinds;
pub use resolver::{Resolver, UnresolvedIdentity};
pub use table::IdentityTable;
pub use table_bytes::TableBytesError;
pub use table_decoder::TableDecoder;
pub use table_slot::TableSlot;
