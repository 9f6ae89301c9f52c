//! Behaviour that depends on real time: budgets, timeouts, limits and shutdown. A binary of its
//! own, so that nothing else runs meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod budget;
mod client_cache;
mod clients;
mod crashes;
mod fault_matrix;
mod forward_crashes;
mod forward_lease;
mod forward_replicas;
mod guessing;
mod half_close;
mod overload;
mod paged_faults;
mod reload;
mod replicas;
mod restart;
mod stopping;
mod store_handover;
mod upstream_concurrency;
