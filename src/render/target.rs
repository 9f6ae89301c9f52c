//! What a document is written to.

use std::ops::Range;

use crate::join::Placed;

/// Memory, or what stands for it.
pub(super) trait Target {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// How many bytes have been written.
    fn len(&self) -> usize;

    /// Takes back all that was written after so many bytes.
    fn truncate(&mut self, length: usize);

    /// A record has been written; from `tail` on, it is what follows the gateway's `type`.
    #[inline]
    fn note(&mut self, _record: &Placed, _tail: usize) {}
}

impl Target for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    fn truncate(&mut self, length: usize) {
        self.truncate(length);
    }
}

/// Nothing is kept but how much was written; `noted` is told of each record, and where its tail
/// would stand.
pub(super) struct Measure<N> {
    length: usize,
    noted: N,
}

impl<N: FnMut(&Placed, Range<usize>)> Measure<N> {
    pub(super) fn new(noted: N) -> Self {
        Self { length: 0, noted }
    }
}

impl<N: FnMut(&Placed, Range<usize>)> Target for Measure<N> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
    }

    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = length;
    }

    #[inline]
    fn note(&mut self, record: &Placed, tail: usize) {
        (self.noted)(record, tail..self.length);
    }
}
