//! Events of Splunk's HTTP Event Collector: objects one after another, each with its metadata.

use super::tags;
use crate::render::{open_sent_row, write_number, write_string};
use crate::store::HistoryRow;

#[derive(Clone, Debug)]
pub(super) struct Splunk {
    /// `,"fields":{…}`, or nothing: the collector wants no empty object.
    fields: Vec<u8>,
}

impl Splunk {
    pub(super) fn new(tags: &[(String, String)]) -> Self {
        Self { fields: tags::object_member("fields", tags) }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, row: &HistoryRow) {
        out.push(b'{');
        if let Some(time) = row.timestamp.filter(|time| time.is_finite()) {
            out.extend_from_slice(b"\"time\":");
            write_number(out, time);
            out.push(b',');
        }
        out.extend_from_slice(b"\"source\":\"incident-gateway\",\"sourcetype\":");
        write_string(out, &format!("incident-gateway:{}", row.source));
        out.extend_from_slice(b",\"event\":");
        open_sent_row(out, row);
        out.push(b'}');
        out.extend_from_slice(&self.fields);
        out.push(b'}');
    }
}
