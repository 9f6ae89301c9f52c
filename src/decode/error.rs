//! Why an answer cannot be used.

use std::fmt;

use crate::json::JsonError;
use crate::outcome::Outcome;

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
    detail: String,
}

impl AnswerError {
    pub(super) fn new(detail: String) -> Self {
        Self { detail }
    }
}

impl DecodeError {
    /// The outcome of a call whose answer has this fault.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Json(_) => Outcome::Decode,
            Self::Answer(_) => Outcome::Answer,
        }
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

impl From<AnswerError> for DecodeError {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}
