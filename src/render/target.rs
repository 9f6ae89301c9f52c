//! What a document is written to.

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
