//! Why an answer cannot be used.

use std::fmt;

use crate::json::JsonError;

/// Why an answer cannot be used. As text it quotes nothing that the answer contains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// It is not JSON, or not what a source without a mapping should send.
    Json(JsonError),
    /// It is JSON, but not the answer that the configuration describes.
    Answer(AnswerError),
}

/// What is wrong with an answer that is JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnswerError {
    /// What is wrong, by the configured path.
    pub(super) detail: String,
    /// The members of the object at which the path to the list ends.
    pub(super) members: Vec<String>,
}

impl AnswerError {
    /// The names of members that stand where the path to the list ended; bounded. Only the report
    /// of `check` shows them, because they come from the upstream.
    #[must_use]
    pub fn members(&self) -> &[String] {
        &self.members
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for DecodeError {}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}
