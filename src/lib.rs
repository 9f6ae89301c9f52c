//! incident-gateway: one document of security incidents by employee, from many slow sources.
//!
//! The modules, from the lowest to the highest. A module uses only modules above it in this table,
//! never those below it.
//!
//! | module | purpose |
//! |---|---|
//! | [`json`] | a strict JSON scanner, and paths to values |
//! | [`mapping`] | how a source's records are read: priority, timestamp, identity |
//! | [`request`] | what is asked of a source: templates, and how pages follow each other |
//! | [`credentials`] | who may sign in: files of users and tokens, scopes |
//! | [`files`] | finds, reads and decompresses files |
//! | [`config`] | defaults, file, environment and flags → a validated [`config::Config`] |
//! | [`sources`] | names a source, and keeps a value for each |
//! | [`outcome`] | how a call to a source ended, as metrics, headers and `/sources` name it |
//! | [`retry`] | exponential backoff: when what has failed is tried again |
//! | [`clock`] | when data was fetched, by the monotonic clock and by the wall clock |
//! | [`trace_context`] | the W3C `traceparent` of requests and upstream calls |
//! | [`metrics`] | the registry in which each module registers its metrics |
//! | [`logging`] | the log on stderr and the export of traces |
//! | [`background`] | threads of low priority for CPU-bound work that no caller waits for |
//! | [`memory`] | the memory allocator and its settings |
//! | [`demo`] | a simulated upstream to try the gateway with |
//! | [`upstream`] | fetches one source: the bytes of its answer, or a typed error |
//! | [`decode`] | bytes → records: spans of a body, and the three values that the join needs |
//! | [`identity`] | identity tables → the employee that an identity value names |
//! | [`join`] | records and identities → incidents by employee, and the unattributed records |
//! | [`snapshot`] | an immutable result, with the status and freshness of each source |
//! | [`delta`] | two successive snapshots → the records that were added and dropped |
//! | [`store`] | the history of records and last good data, in SQLite or PostgreSQL |
//! | [`render`] | a snapshot and a filter, or history → JSON, NDJSON or CSV, compressed |
//! | [`cache`] | caches rendered bodies within a memory bound |
//! | [`refresh`] | drives the fetching, decoding and joining of sources, and publishes snapshots |
//! | [`forward`] | the store's new records → receivers, at least once |
//! | [`access`] | a request's credentials → who it is and what they may see, or a refusal |
//! | [`http`] | answers requests from snapshots |
//! | [`app`] | assembles the modules above into a running gateway |
//! | [`cli`] | the commands |

pub mod access;
pub mod app;
pub mod background;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod decode;
pub mod delta;
pub mod demo;
pub mod files;
pub mod forward;
mod hex;
pub mod http;
pub mod identity;
pub mod join;
pub mod json;
pub mod logging;
pub mod mapping;
pub mod memory;
pub mod metrics;
pub mod outcome;
pub mod refresh;
pub mod render;
pub mod request;
pub mod retry;
pub mod snapshot;
pub mod sources;
pub mod store;
pub mod trace_context;
pub mod upstream;

/// The source revision this binary was built from, or `unknown`.
pub const REVISION: &str = match option_env!("INCIDENT_GATEWAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
