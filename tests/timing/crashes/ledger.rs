//! What the history is known to have.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use crate::support::client::Client;
use crate::support::gateway::path;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use serde_json::Value;

/// The most records in an answer.
const MAX_LIMIT: usize = 10_000;

/// The index of the source `misuse`.
const MISUSE: usize = 4;

/// The records that an upstream lists, each with a text of so many bytes beside its name.
pub(super) struct Listing {
    pub(super) records: Range<usize>,
    pub(super) padding: usize,
}

impl Listing {
    /// What only this record has.
    pub(super) fn name(record: usize) -> String {
        format!("\"record {record}\"")
    }

    pub(super) fn script(self, upstream: &ScriptedUpstream) {
        let padding = "x".repeat(self.padding);
        let mut body = String::new();
        for record in self.records {
            let separator = if body.is_empty() { "" } else { "," };
            let (name, employee) = (Self::name(record), 100 + record % 7);
            write!(
                body,
                r#"{separator}{{"priority":"low","employee_id":{employee},"timestamp":{record},"name":{name},"padding":"{padding}"}}"#
            )
            .unwrap();
        }
        upstream.script(&path(MISUSE), Script::json(format!(r#"{{"results":[{body}]}}"#)));
    }
}

/// Every record that the history ever had: its bytes and when it was first seen, by its stable id.
#[derive(Default)]
pub(super) struct Ledger(HashMap<String, (String, f64)>);

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Asks for the whole history, which must have all that it had before, each record once.
    pub(super) async fn check(&mut self, address: SocketAddr) {
        // A process that has just started may not have reached the store yet.
        let Some(rows) = Self::rows(address).await else { return };
        for (id, expected) in &self.0 {
            assert_eq!(rows.get(id), Some(expected), "of {} records before", self.0.len());
        }
        self.0 = rows;
    }

    async fn rows(address: SocketAddr) -> Option<HashMap<String, (String, f64)>> {
        let mut client = Client::connect(address).await.ok()?;
        let target = format!("/history?type=misuse&limit={MAX_LIMIT}");
        let answer = client.get(&target, &[]).await.ok()?;
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            return None;
        }
        let document = answer.json();
        let listed = document["incidents"].as_array().unwrap();
        assert!(listed.len() < MAX_LIMIT, "more records than one answer can have");
        let row = |row: &Value| {
            let id = row["id"].as_str().unwrap().to_owned();
            (id, (row["incident"].to_string(), row["first_seen"].as_f64().unwrap()))
        };
        let rows: HashMap<_, _> = listed.iter().map(row).collect();
        assert_eq!(rows.len(), listed.len(), "an id is there twice");
        let mut contents: Vec<_> = rows.values().map(|(incident, _)| incident).collect();
        contents.sort_unstable();
        contents.dedup();
        assert_eq!(contents.len(), rows.len(), "a record is there twice");
        Some(rows)
    }
}
