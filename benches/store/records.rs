//! The records that are written at the store's interface.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::demo::Endpoint;
use incident_gateway::demo::generate::Plan;
use incident_gateway::sources::Fingerprint;
use incident_gateway::store::{
    Content, RecordChanges, SequenceItem, SourceReport, SourceWrite, StableId, Upsert,
};

/// What the first refresh of each of the demo upstream's seven plain sources writes.
pub(crate) fn first_writes(records: u64) -> Vec<SourceWrite> {
    let employees = Plan::usual_employees(records);
    let plan = Plan { incidents: records, employees, seed: 7 };
    let endpoints = Endpoint::PLAIN.into_iter().skip(1);
    endpoints.map(|endpoint| first_write(endpoint.path(), plan.body(endpoint), employees)).collect()
}

fn first_write(name: &str, body: Vec<u8>, employees: u64) -> SourceWrite {
    let fields = SourceFields::new(&["employee_id".to_owned()]);
    let incidents = Incidents::decode(Bytes::from(body), &fields).unwrap();
    let mut known = HashSet::new();
    let mut upserts = Vec::with_capacity(incidents.records().len());
    for (record, index) in incidents.records().iter().zip(0_u64..) {
        let bytes = incidents.bytes(record);
        let id = StableId::of_bytes(name, bytes);
        if known.insert(id) {
            upserts.push(Upsert {
                id,
                bytes: Bytes::copy_from_slice(bytes),
                employee_id: Some(employee_id(index * 7919 % employees).into()),
                priority: record.priority(),
                timestamp: Some(record.timestamp()),
                reason: None,
            });
        }
    }
    let sequence = (0..upserts.len()).map(SequenceItem::Upsert).collect();
    SourceWrite {
        name: name.to_owned(),
        fingerprint: Fingerprint([7; 32]),
        based_on: None,
        age: Some(Duration::ZERO),
        report: SourceReport { records: upserts.len(), ..SourceReport::default() },
        content: Some(Content::Records(RecordChanges { upserts, left: Vec::new(), sequence })),
    }
}

/// The id of an employee by number.
pub(crate) fn employee_id(number: u64) -> String {
    (100_000 + number).to_string()
}

/// The records of such a write.
pub(crate) fn upserts(write: &SourceWrite) -> &[Upsert] {
    match &write.content {
        Some(Content::Records(changes)) => &changes.upserts,
        _ => &[],
    }
}
