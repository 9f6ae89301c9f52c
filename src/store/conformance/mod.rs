//! What every store must do, as tests that each implementation runs against itself.
//!
//! Random series of operations are applied to the store and to a simple model in memory; after
//! each, everything that can be asked of the store is compared with the model.

mod behaviours;
mod generate;
mod model;
mod queries;
mod series;

use std::sync::Arc;

use super::Store;

/// Runs all tests. `make` returns an empty store that is ready ([`Store::prepare`] has succeeded),
/// each time another one.
pub(crate) async fn run_all(make: impl AsyncFn() -> Arc<dyn Store>) {
    behaviours::run(&make).await;
    series::run(&make).await;
}
