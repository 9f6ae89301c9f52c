//! The statuses that a process shows while another one sends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ForwardStatus;
use super::settings::Destination;
use super::status::Board;
use crate::store::{DueRange, StoreError, StoreHandle, StoreState};

/// How often statuses are read while nothing is written.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reading takes at most one part of so many of the time.
const SHARE_OF_TIME: u32 = 10;

/// Reads the statuses of these forwards whenever this process does not send. Runs until it is
/// dropped.
pub(super) async fn follow<D: Destination>(
    handle: &StoreHandle,
    board: &Board,
    destinations: &[Arc<D>],
) {
    let mut state = handle.subscribe();
    loop {
        // The handle has a sender.
        let _ = state.wait_for(is_following).await;
        let heads = state.borrow_and_update().heads.clone();
        let started = Instant::now();
        if let Err(error) = read(handle, board, destinations).await {
            tracing::debug!(%error, "the statuses of forwards cannot be read");
        }
        sleep(started.elapsed() * (SHARE_OF_TIME - 1)).await;
        let is_changed = |state: &StoreState| {
            state.heads.as_ref().map(Arc::as_ptr) != heads.as_ref().map(Arc::as_ptr)
        };
        tokio::select! {
            () = sleep(INTERVAL) => {}
            _ = state.wait_for(is_changed) => {}
        }
    }
}

fn is_following(state: &StoreState) -> bool {
    state.role.epoch(Instant::now()).is_none() && state.is_reachable()
}

async fn read<D: Destination>(
    handle: &StoreHandle,
    board: &Board,
    destinations: &[Arc<D>],
) -> Result<(), StoreError> {
    let all = handle.store().forwards().await?;
    for destination in destinations {
        let config = destination.config();
        let Some(stored) = all.iter().find(|stored| stored.name == config.name) else { continue };
        let (start, selection) = (stored.start, config.select.clone());
        let range = DueRange { after: stored.position, start, selection };
        let lag = handle.store().count_due(range).await?;
        // It may have taken the lease meanwhile, so that its worker knows better.
        if is_following(&handle.state()) {
            board.publish(ForwardStatus::new(stored, &stored.report, Some(lag)));
        }
    }
    Ok(())
}
