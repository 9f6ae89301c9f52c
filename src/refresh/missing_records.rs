//! Warns of complete answers that seem to lack records. They are used nevertheless, because the
//! gateway cannot tell a mistake from an intended change.

use super::Batch;
use super::metrics::RefreshMetrics;
use super::source_state::SourceState;
use crate::snapshot::SourceStatus;

/// Warns if a new batch, which `status` describes, says that it is truncated, has ignored entries,
/// or has far fewer keys than the batch that it replaces.
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
    let before = match replaced.batch() {
        // Under another definition the table may be another one.
        Some(Batch::Identities(before)) if !replaced.is_outdated() => before.len(),
        _ => 0,
    };
    if table.len() < before.div_ceil(2) {
        metrics.record_shrunk_identities();
        tracing::warn!(
            source,
            before,
            now = table.len(),
            "the identity table has lost most of its entries; incidents of the others will be in \
             /unattributed, unless another table has them"
        );
    }
}
