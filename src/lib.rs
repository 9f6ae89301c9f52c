//! incident-gateway: one document of security incidents by employee, from many slow sources.
//!
//! The stages, in the order in which data passes through them; a stage uses those before it, never
//! one after it:
//!
//! | stage | takes → gives |
//! |---|---|
//! | [`config`] | defaults, file, environment, flags → a validated [`config::Config`] |
//! | [`upstream`] | one source → the bytes of its answer, or a typed error |
//! | [`decode`] | bytes → records: spans of the body, and the three values the join needs |
//! | [`identity`] | a table → which employee an identity value names |
//! | [`join`] | records and identities → incidents by employee, and the unattributed records |
//! | [`snapshot`] | an immutable result with each source's state, and how true it is |
//! | [`refresh`] | drives the stages above on its own time and publishes snapshots |
//! | [`render`] | a snapshot and a question → JSON, NDJSON or CSV, compressed |
//! | [`cache`] | keeps rendered answers |
//! | [`http`] | requests → answers |
//!
//! Beside them: [`cli`] (the commands), [`demo`] (an upstream to try it with), [`metrics`],
//! [`logging`], [`background`] and [`memory`].

pub mod app;
pub mod background;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod delta;
pub mod demo;
mod hex;
pub mod http;
pub mod identity;
pub mod join;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod outcome;
pub mod refresh;
pub mod render;
pub mod snapshot;
pub mod sources;
pub mod trace_context;
pub mod upstream;

/// The source revision this binary was built from, or `unknown`.
pub const REVISION: &str = match option_env!("INCIDENT_GATEWAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
