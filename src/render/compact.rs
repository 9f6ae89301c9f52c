//! Views that live on their own documents.
//!
//! While a refresh makes the next view of data that is all new, the one before is still served, and so there would be two of
//! everything. Its document has all that its placed records have: with a view that reads them there, the bodies it was made of
//! can go before the next document is written.

use bytes::Bytes;

use super::json::write_employees;
use super::prefetch::Prefetch;
use super::{Filter, Target};
use crate::decode::Span;
use crate::join::Placed;
use crate::snapshot::View;

/// The same view, reading from `document`, which [`super::incidents`] gave for all of it: every answer from it has the same
/// bytes. `None` when it is compact already, of documents of 4 GiB and more, and of one that is not this view's.
#[must_use]
pub fn compact(view: &View, document: &Bytes) -> Option<View> {
    if view.is_compact() || u32::try_from(document.len()).is_err() {
        return None;
    }
    let placed = Vec::with_capacity(view.joined().incident_count());
    let mut layout = Layout { length: 0, placed, long: Vec::new() };
    layout.put(b"{");
    write_employees(&mut layout, view, &Filter::default(), view.joined().employees(), Prefetch::of(view, &[]));
    layout.put(b"}");
    (layout.length == document.len()).then(|| view.on_document(document, layout.placed, layout.long))
}

/// Where the records stand in a document, found by writing it to nothing.
struct Layout {
    length: usize,
    placed: Vec<Placed>,
    /// The tails that are too long for their length to stand with their place.
    long: Vec<Span>,
}

impl Target for Layout {
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
        let narrow = |offset| u32::try_from(offset).expect("the document is below 4 GiB");
        let tail = Span { start: narrow(tail), length: narrow(self.length - tail) };
        let copy = record.copied_to(tail);
        if copy.is_long() {
            self.long.push(tail);
        }
        self.placed.push(copy);
    }
}
