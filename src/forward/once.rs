//! Sends what is due, once.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::watch;

use super::forwarders::names;
use super::settings::Destination;
use super::status::Board;
use super::worker::{Done, Mode, Worker};
use super::{ForwardMetrics, ForwardSettings, ForwardStatuses};
use crate::store::{DueRange, Epoch, StoreError, StoreHandle};

/// What came of a forward that was to send what is due.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// How many records were sent now.
    pub sent: u64,
    /// How many records became dead letters now.
    pub dead_letters: u64,
    /// How many records are still due; `None` if the store cannot tell.
    pub due: Option<u64>,
    /// Why it has given up before all was sent; for the operator.
    pub gave_up: Option<String>,
}

/// Sends what is due of all forwards at the same time, and returns their outcomes in the configured
/// order. The process must have the lease with this epoch, as the handle says. Batches do not wait
/// for more records. A forward gives up after five failures in a row, or when its receiver asks to
/// be left alone for more than 30 s; the others go on. `seed` determines all jitter.
pub async fn send_due(
    handle: &StoreHandle,
    settings: &ForwardSettings,
    epoch: Epoch,
    seed: u64,
    progress: &watch::Sender<ForwardStatuses>,
) -> Vec<Outcome> {
    send_all(handle, &settings.outlets, epoch, seed, progress).await
}

pub(super) async fn send_all<D: Destination>(
    handle: &StoreHandle,
    destinations: &[Arc<D>],
    epoch: Epoch,
    seed: u64,
    progress: &watch::Sender<ForwardStatuses>,
) -> Vec<Outcome> {
    let board = Board::new(progress.clone(), ForwardMetrics::default());
    board.configure(names(destinations));
    let mut jitter = fastrand::Rng::with_seed(seed);
    let outcomes = destinations.iter().map(|destination| {
        let (worker_handle, seed) = (handle.clone(), jitter.u64(..));
        let destination = Arc::clone(destination);
        let worker =
            Worker::new(Arc::clone(&destination), worker_handle, board.clone(), Mode::Once, seed);
        async move {
            let Done { sent, dead_letters, gave_up } = worker.run_once(epoch).await;
            let due = match &gave_up {
                None => Some(0),
                Some(_) => count_due(handle, &*destination).await.unwrap_or_default(),
            };
            let name = destination.config().name.clone();
            Outcome { name, sent, dead_letters, due, gave_up }
        }
    });
    join_all(outcomes).await
}

/// How many records are due; `None` if the forward has no position.
async fn count_due<D: Destination>(
    handle: &StoreHandle,
    destination: &D,
) -> Result<Option<u64>, StoreError> {
    let config = destination.config();
    let stored = handle.store().forwards().await?;
    let Some(stored) = stored.into_iter().find(|stored| stored.name == config.name) else {
        return Ok(None);
    };
    let (after, start, selection) = (stored.position, stored.start, config.select.clone());
    handle.store().count_due(DueRange { after, start, selection }).await.map(Some)
}
