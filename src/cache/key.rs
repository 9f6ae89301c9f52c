//! The keys of the cache.

use std::sync::Arc;

use crate::render::Document;
use crate::render::compress::Coding;

/// What is rendered from a view. Two renders of the same resource of one view give the same bytes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Resource {
    /// A whole document.
    Document(Document),
    /// A filtered document, by the canonical text of its route and filter.
    Filtered(Arc<str>),
}

/// About how much memory an entry of the cache takes in addition to its key's text and its body:
/// the allocations of key and body, and moka's own nodes.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

/// The key of a rendered body.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) view: u64,
    pub(super) resource: Resource,
    pub(super) coding: Coding,
}

impl Key {
    /// Whether it is the key of a whole document.
    pub(super) fn is_document(&self) -> bool {
        matches!(self.resource, Resource::Document(_))
    }

    /// How many bytes of memory the key and a body of `body_bytes` take together.
    pub(super) fn weight(&self, body_bytes: usize) -> u64 {
        let text = match &self.resource {
            Resource::Filtered(text) => text.len(),
            Resource::Document(_) => 0,
        };
        (text + body_bytes + ENTRY_OVERHEAD_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_includes_the_text_of_the_key() {
        let key = |resource| Key { view: 1, resource, coding: Coding::Gzip };
        let filtered = key(Resource::Filtered("x".repeat(30_000).into()));
        assert_eq!(filtered.weight(2), 30_000 + 2 + 1024);
        assert_eq!(key(Resource::Document(Document::Unattributed)).weight(2), 2 + 1024);
    }
}
