//! What every store must do, as tests that each implementation runs against itself.
//!
//! Random series of operations are applied to the store and to a simple model in memory; after
//! each, everything that can be asked of the store is compared with the model.

mod behaviours;
mod forward_behaviours;
mod forward_steps;
mod forwards;
mod generate;
mod model;
mod queries;
mod series;

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{DeadLetter, Store};

/// A store whose dead letters can be read, which no operation of a store does.
pub(crate) trait InspectedStore: Store {
    /// All dead letters, with the names of their forwards.
    fn dead_letters(&self) -> BoxFuture<'_, Vec<(String, DeadLetter)>>;
}

/// What a series is applied to.
struct Subject {
    store: Arc<dyn Store>,
    /// The same store, if its dead letters can be read.
    inspected: Option<Arc<dyn InspectedStore>>,
}

/// Runs all tests but those of forwards. `make` returns an empty store that is ready
/// ([`Store::prepare`] has succeeded), each time another one.
pub(crate) async fn run_all(make: impl AsyncFn() -> Arc<dyn Store>) {
    behaviours::run(&make).await;
    let subject = async || Subject { store: make().await, inspected: None };
    series::run(&subject, generate::steps()).await;
}

/// Runs the tests of forwards. `make` is as for [`run_all`].
pub(crate) async fn run_forwarding(make: impl AsyncFn() -> Arc<dyn InspectedStore>) {
    forward_behaviours::run(&make).await;
    let subject = async || {
        let store = make().await;
        Subject { store: Arc::clone(&store) as Arc<dyn Store>, inspected: Some(store) }
    };
    series::run(&subject, forward_steps::steps()).await;
}
