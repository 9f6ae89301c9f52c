//! An error in a line of a file.

/// What is wrong with a line of a file of users or tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead. Quotes nothing of the line.
    pub detail: String,
}
