//! Who may sign in: the files of users and tokens, and the scopes.
//!
//! A file is read as a whole or refused as a whole; an error names the line, never what it
//! contains.

mod line_error;
mod lines;
mod scope;
mod tokens;
mod users;

pub use line_error::LineError;
pub use scope::Scope;
pub use tokens::{Token, TokenDigest, Tokens};
pub use users::{PasswordHash, Users};
