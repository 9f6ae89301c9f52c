//! The engine's allocations do not grow with the records, but with the employees and the odd.
#![allow(unsafe_code, reason = "an allocator that counts must be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::identity::{IdentityTable, TableSlot};
use incident_gateway::join::join;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EMPLOYEES: usize = 100;

/// Records of two sources, by number and by address, about the same employees whatever their
/// number.
fn bodies(records: usize) -> [Bytes; 2] {
    let priorities = ["low", "medium", "high", "critical"];
    ["employee_id", "ip"].map(|field| {
        let mut body = String::from("{\"results\":[");
        for record in 0..records / 2 {
            let (employee, priority) = (record % EMPLOYEES, priorities[record % 4]);
            let identity = if field == "ip" { format!("\"17.0.0.{employee}\"") } else { employee.to_string() };
            let comma = if record > 0 { "," } else { "" };
            write!(body, "{comma}{{\"priority\":\"{priority}\",\"{field}\":{identity},\"timestamp\":{record}.25}}")
                .unwrap();
        }
        body.push_str("]}");
        Bytes::from(body)
    })
}

/// How many allocations decoding, joining and rendering so many records take.
fn allocations(records: usize) -> usize {
    let identities: Vec<String> =
        (0..EMPLOYEES).map(|employee| format!("\"17.0.0.{employee}\":{employee}")).collect();
    let identities =
        IdentityTable::decode(Bytes::from(format!("{{{}}}", identities.join(",")))).unwrap();
    let tables = [TableSlot::addresses(Some(Arc::new(identities)))];
    let bodies = bodies(records);
    let fields = ["employee_id", "ip"].map(|field| SourceFields::new(&[field.to_owned()]));
    let names: Arc<[Arc<str>]> = ["misuse", "probing"].map(Arc::from).into();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let batches = bodies.into_iter().zip(&fields);
    let batches: Box<[_]> = batches
        .map(|(body, fields)| Some(Arc::new(Incidents::decode(body, fields).unwrap())))
        .collect();
    let index = join(&tables, &batches);
    let view = View::new(1, names, batches, index);
    let document = render::incidents(&view, &Filter::default());
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(view.index().incident_count(), records);
    assert!(document.len() > records * 50);
    after - before
}

#[test]
fn records_are_decoded_joined_and_rendered_without_an_allocation_each() {
    let (few, many) = (allocations(10_000), allocations(40_000));
    // Sorting a large group takes a buffer, one a group and not one a record.
    assert!(many < few + EMPLOYEES + 50, "{few} for 10,000 records, {many} for 40,000");
}
