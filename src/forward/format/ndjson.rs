//! A row a line (NDJSON).

use super::tags;
use crate::render::open_sent_row;
use crate::store::HistoryRow;

#[derive(Clone, Debug)]
pub(super) struct Ndjson {
    /// `,"tags":{…}`, or nothing.
    tags: Vec<u8>,
}

impl Ndjson {
    pub(super) fn new(tags: &[(String, String)]) -> Self {
        Self { tags: tags::object_member("tags", tags) }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, row: &HistoryRow) {
        open_sent_row(out, row);
        out.extend_from_slice(&self.tags);
        out.extend_from_slice(b"}\n");
    }
}
