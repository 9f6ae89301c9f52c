//! Views that live on their own documents.
//!
//! While a refresh makes the next view of data that is all new, the one before is still served, and
//! so there would be two of everything. Its document has all that its placed records have: with a
//! view that reads them there, the bodies it was made of can go before the next document is
//! written.

use std::ops::Range;

use bytes::Bytes;

use super::Filter;
use super::json::write_employees;
use super::prefetch::Prefetch;
use super::target::{Measure, Target};
use crate::decode::Span;
use crate::join::Placed;
use crate::snapshot::View;

/// The same view, reading from `document`, which [`super::incidents`] gave for all of it: every
/// answer from it has the same bytes. `None` when it is compact already, of documents of 4 GiB and
/// more, and of one that is not this view's.
#[must_use]
pub fn compact(view: &View, document: &Bytes) -> Option<View> {
    if view.is_compact() || u32::try_from(document.len()).is_err() {
        return None;
    }
    let narrow = |offset| u32::try_from(offset).expect("the document is below 4 GiB");
    let mut placed = Vec::with_capacity(view.joined().incident_count());
    // The tails that are too long for their length to stand with their place.
    let mut long = Vec::new();
    let mut measure = Measure::new(|record: &Placed, tail: Range<usize>| {
        let tail = Span { start: narrow(tail.start), length: narrow(tail.len()) };
        let copy = record.copied_to(tail);
        if copy.is_long() {
            long.push(tail);
        }
        placed.push(copy);
    });
    measure.put(b"{");
    write_employees(
        &mut measure,
        view,
        &Filter::default(),
        view.joined().employees(),
        Prefetch::of(view, &[]),
    );
    measure.put(b"}");
    let is_its_own = measure.len() == document.len();
    is_its_own.then(|| view.on_document(document, placed, long))
}
