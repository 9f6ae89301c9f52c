//! The first contact with the store, before a gateway serves.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::PAUSES;
use crate::retry::Retry;
use crate::store::{Operation, StoreError, StoreHandle};

/// Makes the store ready until `wait_until`, and takes the generation of this process's events, at
/// least `at_least`. It is `at_least` if the store does not answer in time; then the session goes
/// on trying. `seed` determines the jitter.
///
/// # Errors
///
/// [`StoreError::Unusable`] if the store cannot be right before the operator does something.
pub async fn first_answer(
    handle: &StoreHandle,
    wait_until: Instant,
    at_least: u64,
    seed: u64,
) -> Result<u64, StoreError> {
    let mut retry = Retry::new(PAUSES, seed);
    let store = handle.store();
    let mut last = StoreError::Unavailable("no answer yet".to_owned());
    let answer = async {
        loop {
            let result = match store.prepare().await {
                Ok(()) => store.take_generation(at_least).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(generation) => return Ok(generation),
                Err(error @ StoreError::Unusable(_)) => return Err(error),
                Err(error) => last = error,
            }
            sleep_until(retry.note_failure(Instant::now(), Duration::ZERO)).await;
        }
    };
    match timeout_at(wait_until, answer).await {
        Ok(result) => result,
        Err(_) => {
            handle.note::<()>(Operation::Session, &Err(last));
            Ok(at_least)
        }
    }
}
