//! The engine's allocations do not grow with the records, but with the employees and the odd. Nor
//! do those of an identity table grow with its keys.
#![allow(unsafe_code, reason = "an allocator that counts must be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use incident_gateway::config::{HttpOrigin, Origin, Table, TableRows};
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::identity::{IdentityTable, TableDecoder, TableSlot};
use incident_gateway::join::join;
use incident_gateway::json::Path;
use incident_gateway::mapping::IdentityKind;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The size of all memory that is allocated at present.
static ALLOCATED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Held by the test that counts, because both counts are of the whole process.
static COUNTS: Mutex<()> = Mutex::new(());

fn count_alone() -> MutexGuard<'static, ()> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED_BYTES.fetch_add(size, Ordering::Relaxed);
        ALLOCATED_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
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
    let _alone = count_alone();
    let (few, many) = (allocations(10_000), allocations(40_000));
    // Sorting a large group takes a buffer, one a group and not one a record.
    assert!(many < few + EMPLOYEES + 50, "{few} for 10,000 records, {many} for 40,000");
}

/// A table of so many people with five keys and a name each, the number of allocations that its
/// decoding took, and the size of its memory.
fn table_of_people(people: usize) -> (IdentityTable, usize, usize) {
    let path = |name| Path::parse(name).unwrap();
    let keys = [
        (IdentityKind::Email, vec![path("mails")]),
        (IdentityKind::Username, vec![path("login")]),
        (IdentityKind::Hostname, vec![path("host")]),
        (IdentityKind::Ip, vec![path("ip")]),
    ];
    let config = Table {
        origin: Origin::Http(HttpOrigin::endpoint("/people")),
        every: None,
        rows: Some(TableRows {
            records: Some(path("")),
            employee: vec![path("id")],
            keys: keys.into(),
            name: vec![path("name")],
        }),
    };
    let mut page = String::from("[");
    for person in 0..people {
        let comma = if person > 0 { "," } else { "" };
        let (high, low) = (person >> 8, person & 0xff);
        write!(
            page,
            r#"{comma}{{"id":{person},"login":"login{person}","host":"laptop-{person}.corp.example","#
        )
        .unwrap();
        write!(
            page,
            r#""mails":["first.last{person}@corp.example","alias{person}@corp.example"],"#
        )
        .unwrap();
        write!(
            page,
            r#""ip":"17.{}.{}.{low}","name":"First Last {person}"}}"#,
            high >> 8,
            high & 0xff
        )
        .unwrap();
    }
    page.push(']');
    let page = Bytes::from(page);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let bytes = ALLOCATED_BYTES.load(Ordering::Relaxed);
    let mut decoder = TableDecoder::new(&config);
    decoder.add_page(page.clone()).unwrap();
    let table = decoder.finish();
    let bytes = ALLOCATED_BYTES.load(Ordering::Relaxed) - bytes;
    (table, ALLOCATIONS.load(Ordering::Relaxed) - allocations, bytes)
}

#[test]
fn a_table_is_small_and_decoded_without_an_allocation_for_each_key() {
    let _alone = count_alone();
    let (_, few, _) = table_of_people(25_000);
    let (table, many, bytes) = table_of_people(100_000);
    assert_eq!((table.len(), table.records(), table.conflicts()), (500_000, 100_000, 0));
    let last = table.employee_by_text(IdentityKind::Hostname, "laptop-99999").unwrap();
    assert_eq!(table.ids().list()[last as usize].to_string(), "99999");
    assert_eq!(table.name("99999"), Some("First Last 99999"));
    assert!(many < few + 50, "{few} for 25,000 people, {many} for 100,000");
    assert!(bytes < 50 * table.len(), "{bytes} bytes for {} keys", table.len());
}
