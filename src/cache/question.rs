//! What is asked of a view, and the keys under which answers are kept.

use std::sync::Arc;

use crate::render::Document;
use crate::render::compress::Coding;

/// What is asked of a view. Answers to the same question are the same bytes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    /// A whole document.
    Document(Document),
    /// A filtered document, by the canonical text of its route and filter.
    Filtered(Arc<str>),
}

/// About what an entry of the cache takes beside its key's text and its bytes: the allocations of
/// key and answer, and moka's own nodes.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

/// The key of an answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) view: u64,
    pub(super) question: Question,
    pub(super) coding: Coding,
}

impl Key {
    /// Whether it is that of a whole document.
    pub(super) fn is_document(&self) -> bool {
        matches!(self.question, Question::Document(_))
    }

    /// What an answer of `body` bytes takes in memory together with its key.
    pub(super) fn weight(&self, body: usize) -> u64 {
        let text = match &self.question {
            Question::Filtered(text) => text.len(),
            Question::Document(_) => 0,
        };
        (text + body + ENTRY_OVERHEAD_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_weighs_what_its_key_and_its_bytes_take() {
        let key = |question| Key { view: 1, question, coding: Coding::Gzip };
        let filtered = key(Question::Filtered("x".repeat(30_000).into()));
        assert_eq!(filtered.weight(2), 30_000 + 2 + 1024);
        assert_eq!(key(Question::Document(Document::Unattributed)).weight(2), 2 + 1024);
    }
}
