//! Numbered records of one source.

use std::fmt::Write as _;
use std::ops::Range;

use super::gateway::path;
use super::scripted_upstream::{Script, ScriptedUpstream};
use serde_json::Value;

/// The index of the source `misuse`.
const MISUSE: usize = 4;

/// The records that an upstream lists, each with a text of so many bytes beside its name.
pub struct Listing {
    pub records: Range<usize>,
    pub padding: usize,
}

impl Listing {
    /// What only this record has.
    pub fn name(record: usize) -> String {
        format!("\"record {record}\"")
    }

    /// The number of a record, by what the source sent.
    pub fn number(incident: &Value) -> Option<usize> {
        incident["name"].as_str()?.strip_prefix("record ")?.parse().ok()
    }

    pub fn script(self, upstream: &ScriptedUpstream) {
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
