//! Resolves the identity values of records to employees.
//!
//! An address is looked up in the identity table; any other value is an employee id itself.
//! [`parse_address`] reads the addresses of tables and of records alike, so that the same address
//! matches however it is written.

mod address;
mod employee_id;
mod resolver;
mod table;

pub use address::parse_address;
pub use employee_id::{EmployeeId, EmployeeIds};
pub use resolver::{Resolver, UnresolvedIdentity};
pub use table::IdentityTable;
