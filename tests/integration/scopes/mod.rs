//! What a caller gets who may see one employee alone, on every route.

mod data;
mod properties;
mod routes;
mod streams;

/// Runs a case of a property with paused time.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(future)
}
