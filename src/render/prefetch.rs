//! Prefetches records into the processor's caches before they are written.
//!
//! The records of an employee are scattered over the sources' bodies, so writing each would wait
//! for memory. Without prefetching, documents of 70,000 records and more take three times as long.

use crate::join::IncidentRef;
use crate::snapshot::View;

/// How many records are prefetched ahead of the one that is written.
const RECORDS_AHEAD: usize = 32;

const CACHE_LINE_BYTES: usize = 64;

/// How many cache lines of a record are prefetched in addition to its last. The processor
/// prefetches the others of a longer record by itself.
const MAX_CACHE_LINES: usize = 4;

/// Prefetches records in the order in which they will be written.
pub(super) struct Prefetcher<'a> {
    view: &'a View,
    rest: std::slice::Iter<'a, IncidentRef>,
}

impl<'a> Prefetcher<'a> {
    /// `is_whole`: whether the document has all incidents. Otherwise it is not known which records
    /// will be written, and nothing is prefetched.
    pub(super) fn new(view: &'a View, is_whole: bool) -> Self {
        let incidents = if is_whole { view.index().incidents() } else { &[] };
        let mut prefetcher = Self { view, rest: incidents.iter() };
        for _ in 0..RECORDS_AHEAD {
            prefetcher.advance();
        }
        prefetcher
    }

    /// Prefetches one more record. Must be called for each record that is written.
    #[inline]
    pub(super) fn advance(&mut self) {
        let Some(incident) = self.rest.next() else { return };
        let record = self.view.members(incident);
        let lines = record.iter().step_by(CACHE_LINE_BYTES).take(MAX_CACHE_LINES);
        lines.chain(record.last()).for_each(prefetch);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch<T>(place: &T) {
    safe_arch::prefetch_t0(place);
}

/// On other processors there is no safe way to prefetch.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch<T>(_: &T) {}
