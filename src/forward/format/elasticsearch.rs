//! Operations of Elasticsearch's bulk API: each a line with the action, and a line with the
//! document.

use super::tags;
use super::time::Time;
use crate::render::open_sent_row;
use crate::store::HistoryRow;

#[derive(Clone, Debug)]
pub(super) struct Elasticsearch {
    /// `,"tags":{…}`, or nothing.
    tags: Vec<u8>,
}

impl Elasticsearch {
    pub(super) fn new(tags: &[(String, String)]) -> Self {
        Self { tags: tags::object_member("tags", tags) }
    }

    /// Writes a record. It is created, never replaced, which is the only operation that data
    /// streams allow: one that is sent again conflicts with itself.
    pub(super) fn write(&self, out: &mut Vec<u8>, row: &HistoryRow) {
        out.extend_from_slice(b"{\"create\":{\"_id\":\"");
        row.id.write(out);
        out.extend_from_slice(b"\"}}\n");
        open_sent_row(out, row);
        // Data streams take no document without it.
        let time = row.timestamp.and_then(Time::from_seconds);
        if let Some(time) = time.or_else(|| Time::from_seconds(row.first_seen)) {
            out.extend_from_slice(b",\"@timestamp\":");
            time.write(out);
        }
        out.extend_from_slice(&self.tags);
        out.extend_from_slice(b"}\n");
    }
}
