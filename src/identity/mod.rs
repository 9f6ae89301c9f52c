//! Identity tables: which employee an identity value of a record names.
//!
//! An address is looked up in the table; any other value is the employee's id itself. Values are
//! cleaned on both sides of the look-up by [`parse_address`]: a table may spell its addresses as
//! freely as the records do.

mod address;
mod employee_id;
mod resolver;
mod table;

pub use address::parse_address;
pub use employee_id::{EmployeeId, EmployeeIds};
pub use resolver::{Resolver, UnresolvedIdentity};
pub use table::IdentityTable;
