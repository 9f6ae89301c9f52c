//! Reads every source once, for the commands `fetch` and `forward`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::refresh::Refresh;
use crate::snapshot::Snapshot;

/// Runs a refresh that ends once every source was called, retries included, and returns the last
/// snapshot. `progress` is called with each snapshot that is published meanwhile.
pub(super) async fn fan_out(
    refresh: Refresh,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut progress: impl FnMut(&Snapshot),
) -> Arc<Snapshot> {
    let refresh = tokio::spawn(refresh.run());
    while snapshots.changed().await.is_ok() {
        progress(&snapshots.borrow_and_update());
    }
    // The sender was dropped with the refresh, so this is the last snapshot.
    let _ = refresh.await;
    Arc::clone(&snapshots.borrow())
}
