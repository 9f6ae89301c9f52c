//! A digest of what a table was decoded from.

use xxhash_rust::xxh3::Xxh3;

/// Digests the pages or files of a table, in their order. Tables of the same content have the same
/// digest, so that no body is kept for a comparison.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ContentDigest {
    pub(super) hash: u128,
    /// How many bytes were digested.
    pub(super) size_bytes: usize,
}

/// Makes a [`ContentDigest`].
#[derive(Default)]
pub(super) struct ContentDigester {
    hasher: Box<Xxh3>,
    size_bytes: usize,
}

impl ContentDigester {
    /// Adds a page. Where a page ends makes a difference.
    pub(super) fn add_page(&mut self, page: &[u8]) {
        self.hasher.update(&(page.len() as u64).to_le_bytes());
        self.add_lines(page);
    }

    /// Adds whole lines, which need not be all lines of a file.
    pub(super) fn add_lines(&mut self, lines: &[u8]) {
        self.hasher.update(lines);
        self.size_bytes += lines.len();
    }

    /// The digest of all pages.
    pub(super) fn finish(&self) -> ContentDigest {
        ContentDigest { hash: self.hasher.digest128(), size_bytes: self.size_bytes }
    }
}
