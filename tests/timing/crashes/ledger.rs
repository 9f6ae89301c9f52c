//! What the history is known to have.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::support::client::Client;
use serde_json::Value;

/// The most records in an answer.
const MAX_LIMIT: usize = 10_000;

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
