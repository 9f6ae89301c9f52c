//! The whole document, written by all cores.
//!
//! A document of a hundred megabytes takes long, and more than half of that is the kernel's, which
//! clears the memory.

use std::ops::Range;
use std::thread;

use super::Filter;
use super::json::{incidents, write_employees};
use super::prefetch::Prefetch;
use super::target::{Measure, Target};
use crate::join::{Joined, Placed};
use crate::snapshot::View;

/// How many records are worth a thread.
const WORTH: usize = 50_000;

/// The document of `/incidents`, as [`incidents`] gives it without a filter; a large one is written
/// by a thread a core.
#[must_use]
pub fn incidents_by_all_cores(view: &View) -> Vec<u8> {
    let records = view.joined().incident_count();
    let cores =
        if records < 2 * WORTH { 1 } else { thread::available_parallelism().map_or(1, Into::into) };
    match cores.min(records / WORTH) {
        0 | 1 => incidents(view, &Filter::default()),
        parts => in_parts(view, parts),
    }
}

/// Of a view that has employees.
fn in_parts(view: &View, parts: usize) -> Vec<u8> {
    let parts = Part::split(view.joined(), parts);
    let lengths: Vec<usize> = thread::scope(|scope| {
        let measure = |part| {
            move || {
                let mut measure = Measure::new(|_, _| {});
                write(&mut measure, view, part, &[]);
                measure.len()
            }
        };
        let threads: Vec<_> = parts.iter().map(|part| scope.spawn(measure(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("measuring does not panic")).collect()
    });
    // Memory that is zero already is not touched before it is written to.
    let mut document = vec![0; lengths.iter().sum::<usize>() + parts.len() + 1];
    thread::scope(|scope| {
        let mut rest = &mut document[..];
        for (index, (part, length)) in parts.iter().zip(lengths).enumerate() {
            let (bytes, after) = std::mem::take(&mut rest).split_at_mut(1 + length);
            rest = after;
            scope.spawn(move || {
                let mut space = Space { bytes, length: 0 };
                space.put(if index == 0 { b"{" } else { b"," });
                write(&mut space, view, part, &view.joined().placed()[part.placed.clone()]);
            });
        }
        rest.copy_from_slice(b"}");
    });
    document
}

fn write(out: &mut impl Target, view: &View, part: &Part, foreseen: &[Placed]) {
    let employees = part.ranks.clone().map(|rank| view.joined().employee_at(rank));
    write_employees(out, view, &Filter::default(), employees, Prefetch::of(view, foreseen));
}

/// Employees next to each other, and their incidents.
struct Part {
    ranks: Range<usize>,
    placed: Range<usize>,
}

impl Part {
    /// About equal parts, none of them without employees.
    fn split(joined: &Joined, parts: usize) -> Vec<Self> {
        let size = joined.incident_count().div_ceil(parts);
        let mut split = Vec::with_capacity(parts);
        let mut part = Self { ranks: 0..0, placed: 0..0 };
        for employee in joined.employees() {
            part.ranks.end += 1;
            part.placed.end += employee.incident_count();
            if part.placed.len() >= size {
                let next = Self {
                    ranks: part.ranks.end..part.ranks.end,
                    placed: part.placed.end..part.placed.end,
                };
                split.push(std::mem::replace(&mut part, next));
            }
        }
        if !part.ranks.is_empty() {
            split.push(part);
        }
        split
    }
}

/// A part's place in the document.
struct Space<'a> {
    bytes: &'a mut [u8],
    /// How much of it is written.
    length: usize,
}

impl Target for Space<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    #[inline]
    fn len(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = length;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::decode::{Incidents, SourceFields};

    #[test]
    fn a_document_in_parts_is_the_same_document() {
        for employees in [1_usize, 2, 3, 7, 40] {
            // The first has as many incidents as all others together.
            let whos = (0..employees * 2).map(|record| record.saturating_sub(employees));
            let records = whos.map(|who| {
                format!(r#"{{"who":{who},"type":"own","priority":"high","timestamp":{who}}}"#)
            });
            let body = format!(r#"{{"results":[{}]}}"#, records.collect::<Vec<_>>().join(","));
            let incidents =
                Incidents::decode(Bytes::from(body), &SourceFields::new(&["who".to_owned()]))
                    .unwrap();
            let view = View::new(
                1,
                [Arc::from("denial")].into(),
                None,
                [Some(Arc::new(incidents))].into(),
            );
            let whole = super::incidents(&view, &Filter::default());
            for parts in 1..6 {
                assert!(in_parts(&view, parts) == whole, "{employees} employees in {parts} parts");
            }
        }
    }
}
