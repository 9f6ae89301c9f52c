//! Reports whole answers that hold less than they should. They are taken all the same: the gateway
//! cannot know what the source meant to drop.

use super::Batch;
use super::metrics::RefreshMetrics;
use super::source_state::SourceState;
use crate::snapshot::SourceStatus;

/// Compares a new batch, which `status` describes, with the one it replaces.
pub(super) fn warn(
    replaced: &SourceState,
    status: &SourceStatus,
    batch: &Batch,
    metrics: &RefreshMetrics,
) {
    let source = &*status.name;
    if status.truncated && !replaced.newest().truncated {
        tracing::warn!(
            source,
            records = status.records,
            "the source says that it has more records than it sent; the others are missing"
        );
    }
    let Batch::Identities(table) = batch else { return };
    if table.oversized_ids() > 0 {
        tracing::warn!(
            source,
            entries = table.oversized_ids(),
            "employee ids of more than 256 bytes in the identity table are ignored"
        );
    }
    let before = replaced.batch().map_or(0, Batch::records);
    if batch.records() < before.div_ceil(2) {
        metrics.record_shrunk_identities();
        tracing::warn!(
            source,
            before,
            now = batch.records(),
            "the identity table has lost most of its addresses; incidents of the others will be in \
             /unattributed as unknown_ip"
        );
    }
}
