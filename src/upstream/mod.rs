//! One source → the bytes of its answer, or a typed error.

mod error;

pub use error::{Outcome, UpstreamError};
