//! A view and a question → the bytes of an answer.

pub mod compress;
mod filter;
mod json;
mod member;

pub use filter::Filter;
pub use json::{employee, incidents, unattributed};
