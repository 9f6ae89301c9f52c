//! Decode → join → render on one core, compared with a floor that only validates the JSON.
//!
//! `cargo bench --bench engine` prints, for 7 thousand, 70 thousand and 700 thousand records, the
//! throughput of each stage as a share of the floor's: medians of the processor time of interleaved
//! rounds. The floor and the stages take turns, so that a machine that slows down slows both. The
//! document's other forms, NDJSON and CSV, are not part of the engine's total. A last line is the
//! decoding of a mapped source's pages, with their own floor.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config::Source;
use incident_gateway::decode::{
    Incidents, IncidentsDecoder, Priority, SourceFields, SourceMapping,
};
use incident_gateway::demo::Endpoint;
use incident_gateway::demo::generate::Plan;
use incident_gateway::identity::{IdentityTable, TableSlot};
use incident_gateway::join;
use incident_gateway::json::Path;
use incident_gateway::mapping::{
    IdentityEntry, IdentityKind, PriorityMapping, PriorityRule, TimestampMapping, TimestampRule,
};
use incident_gateway::memory::{Allocator, keep_heaps_small};
use incident_gateway::render::compress::{Coding, compress};
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;
use rustix::time::{ClockId, clock_gettime};
use serde_json::value::RawValue;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const SOURCES: [(&str, &str); 7] = [
    ("denial", "reported_by"),
    ("intrusion", "internal_ip"),
    ("executable", "machine_ip"),
    ("misuse", "employee_id"),
    ("unauthorized", "employee_id"),
    ("probing", "ip"),
    ("other", "identifier"),
];
struct Data {
    identities: Bytes,
    bodies: Vec<Bytes>,
    fields: Vec<SourceFields>,
    names: Arc<[Arc<str>]>,
}

/// The demo upstream's data: mostly sorted by time, two machines for each employee.
fn data(records: usize) -> Data {
    let incidents = records as u64;
    let plan = Plan { incidents, employees: Plan::usual_employees(incidents), seed: 7 };
    let mut bodies = Endpoint::PLAIN.map(|endpoint| Bytes::from(plan.body(endpoint))).into_iter();
    Data {
        identities: bodies.next().expect("identities are the first endpoint"),
        bodies: bodies.collect(),
        fields: SOURCES
            .iter()
            .map(|(_, field)| SourceFields::new(&[(*field).to_owned()]))
            .collect(),
        names: SOURCES.iter().map(|(name, _)| Arc::from(*name)).collect(),
    }
}

fn floor(data: &Data) {
    for body in data.bodies.iter().chain([&data.identities]) {
        black_box(serde_json::from_slice::<&RawValue>(body).unwrap());
    }
}

fn decode(data: &Data) -> (IdentityTable, Vec<Arc<Incidents>>) {
    let identities = IdentityTable::decode(data.identities.clone()).unwrap();
    let batches = data.bodies.iter().zip(&data.fields);
    (
        identities,
        batches
            .map(|(body, fields)| Arc::new(Incidents::decode(body.clone(), fields).unwrap()))
            .collect(),
    )
}

fn join(data: &Data, (identities, batches): (IdentityTable, Vec<Arc<Incidents>>)) -> View {
    let batches: Box<[_]> = batches.into_iter().map(Some).collect();
    let index = join::join(&[TableSlot::addresses(Some(Arc::new(identities)))], &batches);
    let view = View::new(1, Arc::clone(&data.names), batches, index);
    view.with_fields(
        SOURCES
            .iter()
            .map(|(_, field)| Arc::from(*field))
            .chain([Arc::from("source_ip")])
            .collect(),
    )
}

/// The processor time that this thread has taken, so that other processes do not count.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Pages of a mapped source: records of 2 kB, whose values stand three levels deep.
fn mapped_pages() -> Vec<Bytes> {
    const PAGES: usize = 20;
    const RECORDS: usize = 500;
    let record = |index: usize| {
        let severity = ["informational", "low", "medium", "high"][index % 4];
        let texts: Vec<String> = (0..24)
            .map(|text| {
                format!(
                    r#""field_{text}":"a text of the usual length, {index}-{text}, and \"more\"""#
                )
            })
            .collect();
        let (before, after) = texts.split_at(12);
        format!(
            r#"{{"kind":"alert",{},"event":{{"meta":{{"id":"{index:032x}","severity":"{severity}",
            "tags":["a","b",{{"name":"c","weight":1.5}}]}},"time":{{"start":"2026-03-02T11:{:02}:{:02}.123456Z",
            "zone":null}}}},"actor":{{"user":{{"mail":"Person{}@example.org","groups":[1,2,3],"active":true}},
            "client":{{"address":"10.0.{}.{}:443"}}}},{}}}"#,
            before.join(", "),
            index / 60 % 60,
            index % 60,
            index % 3000,
            index % 3000 / 250,
            index % 3000 % 250,
            after.join(", "),
        )
    };
    let page = |page: usize| {
        let records: Vec<String> = (page * RECORDS..(page + 1) * RECORDS).map(record).collect();
        Bytes::from(format!("{{\"data\":{{\"alerts\":[{}]}}}}", records.join(",")))
    };
    (0..PAGES).map(page).collect()
}

fn mapped_source() -> Source {
    let path = |text: &str| Path::parse(text).unwrap();
    let entry = |at: &str, kind| IdentityEntry { at: vec![path(at)], kind: Some(kind) };
    let values = vec![("informational".to_owned(), Priority::Low)];
    let rule = PriorityRule::values(values).unwrap();
    Source {
        records: Some(path("/data/alerts")),
        id: vec![path("/event/meta/id")],
        priority: Some(
            PriorityMapping::new(vec![path("/event/meta/severity")], rule, None).unwrap(),
        ),
        timestamp: Some(TimestampMapping {
            at: vec![path("/event/time/start")],
            rule: TimestampRule::default(),
        }),
        identity: vec![
            entry("/actor/user/mail", IdentityKind::Email),
            entry("/actor/client/address", IdentityKind::Ip),
        ],
        ..Source::plain("mapped", "/", &[])
    }
}

/// Prints the throughput of decoding a mapped source's pages as a share of that of its floor.
fn mapped() {
    const ROUNDS: usize = 31;
    let pages = mapped_pages();
    let bytes = pages.iter().map(Bytes::len).sum::<usize>();
    let mapping = Arc::new(SourceMapping::new(&mapped_source()));
    let mut times: [Vec<f64>; 2] = Default::default();
    let mut records = 0;
    for _ in 0..ROUNDS {
        let start = cpu_seconds();
        for page in &pages {
            black_box(serde_json::from_slice::<&RawValue>(page).unwrap());
        }
        let floor = cpu_seconds();
        let mut decoder = IncidentsDecoder::new(Arc::clone(&mapping));
        for page in &pages {
            decoder.add_page(page.clone()).unwrap();
        }
        let incidents = black_box(decoder.finish());
        times[0].push(floor - start);
        times[1].push(cpu_seconds() - floor);
        records = incidents.records().len();
    }
    let [floor, decode] = times.map(median);
    println!(
        "mapped: {records} records of {} bytes | {:>6.0}MB/s {:>8.2} | {:>10.1} ns/record",
        bytes / records,
        bytes as f64 / floor / 1e6,
        floor / decode,
        decode * 1e9 / records as f64,
    );
}

fn main() {
    keep_heaps_small();
    let only: Option<usize> = std::env::args().nth(1).and_then(|argument| argument.parse().ok());
    println!(
        "{:>8} {:>9} | {:>9} {:>8} {:>8} {:>8} {:>8} | {:>10} {:>7} {:>7} {:>7} {:>7}",
        "records",
        "bytes",
        "floor",
        "decode",
        "join",
        "render",
        "engine",
        "ns/record",
        "ndjson",
        "csv",
        "gzip",
        "zstd"
    );
    for records in [7_000, 70_000, 700_000]
        .into_iter()
        .filter(|records| only.is_none_or(|only| only == *records))
    {
        let data = data(records);
        let bytes = data.bodies.iter().chain([&data.identities]).map(Bytes::len).sum::<usize>();
        let rounds = (30_000_000 / records).clamp(9, 301);
        let mut times: [Vec<f64>; 6] = Default::default();
        for _ in 0..rounds {
            let mut last = cpu_seconds();
            let mut lap = |slot: &mut Vec<f64>| {
                slot.push(cpu_seconds() - last);
                last = cpu_seconds();
            };
            floor(&data);
            lap(&mut times[0]);
            let decoded = decode(&data);
            lap(&mut times[1]);
            let view = join(&data, decoded);
            lap(&mut times[2]);
            let document = render::incidents(&view, &Filter::default());
            lap(&mut times[3]);
            drop(black_box(document));
            let lines = render::ndjson(&view, &Filter::default());
            lap(&mut times[4]);
            drop(black_box(lines));
            let table = render::csv(&view, &Filter::default());
            lap(&mut times[5]);
            drop((black_box(table), view));
        }
        let engine: Vec<f64> =
            (0..rounds).map(|round| times[1][round] + times[2][round] + times[3][round]).collect();
        let floor_time = median(times[0].clone());
        let share = |times: &[f64]| format!("{:.2}", floor_time / median(times.to_vec()));
        let view = join(&data, decode(&data));
        let document = Bytes::from(render::incidents(&view, &Filter::default()));
        let coded = |coding| {
            format!(
                "{:.1}x",
                document.len() as f64 / compress(document.clone(), coding).len() as f64
            )
        };
        println!(
            "{records:>8} {bytes:>9} | {:>6.0}MB/s {:>8} {:>8} {:>8} {:>8} | {:>10.1} {:>7} {:>7} {:>7} {:>7}",
            bytes as f64 / floor_time / 1e6,
            share(&times[1]),
            share(&times[2]),
            share(&times[3]),
            share(&engine),
            median(engine.clone()) * 1e9 / records as f64,
            share(&times[4]),
            share(&times[5]),
            coded(Coding::Gzip),
            coded(Coding::Zstd),
        );
    }
    mapped();
}
