//! Reads every source once, for the commands `fetch` and `check --connect`.

use std::sync::Arc;

use crate::app::Engine;
use crate::config::Config;
use crate::refresh::Repeat;
use crate::snapshot::Snapshot;
use crate::upstream::SetupError;

/// Calls every source once, retries included, and returns the last snapshot. `progress` is
/// called with each snapshot that is published meanwhile.
pub(super) async fn fan_out(
    config: &Config,
    mut progress: impl FnMut(&Snapshot),
) -> Result<Arc<Snapshot>, SetupError> {
    let Engine { mut snapshots, refresh, .. } =
        Engine::new(config, fastrand::u64(..), Repeat::Never)?;
    let refresh = tokio::spawn(refresh.run());
    while snapshots.changed().await.is_ok() {
        progress(&snapshots.borrow_and_update());
    }
    // The sender was dropped with the refresh, so this is the last snapshot.
    let _ = refresh.await;
    let snapshot = Arc::clone(&snapshots.borrow());
    Ok(snapshot)
}
