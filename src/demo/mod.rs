//! An upstream to try the gateway with, and its data.

mod endpoint;
pub mod generate;

pub use endpoint::{Endpoint, UnknownSource};
