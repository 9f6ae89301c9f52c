//! Makes the calls to upstreams: the whole bytes of an answer, or a typed error.
//!
//! [`Upstreams`] has a client for each configured upstream ([`Upstream`]). Each of its sources has
//! a stack of tower services, outermost first:
//!
//! 1. **Retry** (`retry`), within a budget that all sources of the upstream share. It is outside of
//!    the limit, so that no permit is held during backoff, and outside of the breaker, so that
//!    every attempt counts there and an open circuit ends the retries.
//! 2. **Circuit breaker** (`breaker`), one for each source. It is outside of the limit, so that a
//!    refused call does not wait for a permit.
//! 3. **Credentials** (`auth`). Access tokens are fetched before a permit is held.
//! 4. **Admission** (`admission`), shared by all sources of the upstream: no call is made while the
//!    upstream has asked for a wait (`wait`), calls are spaced by its rate (`rate`), and bounded in
//!    number (`limit`), because they slow each other down.
//! 5. **Deadline and telemetry** (`call`): one deadline for connecting, headers and the whole body,
//!    but not for the wait for admission; each attempt is measured and logged.
//! 6. **Transport** (`transport`, `client`): reqwest. Redirects within the origin are followed, and
//!    requests that the upstream did not process are sent again (`resend`); bodies are decoded, and
//!    bounded in size (`body`, `content_coding`).

mod admission;
mod answer;
mod auth;
mod body;
mod breaker;
mod call;
mod classify;
mod client;
mod content_coding;
mod deadline;
mod error;
mod limit;
mod mask;
mod metrics;
mod oauth2;
mod observer;
mod rate;
mod resend;
mod retry;
mod retry_after;
mod setting_names;
mod stack;
mod transport;
mod upstreams;
mod wait;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::answer::{Answer, UnverifiedAnswer};
pub(crate) use self::auth::Credentials;
pub(crate) use self::body::{BodyEnd, read_begin};
pub use self::breaker::BreakerState;
pub use self::call::{Attempt, CallContext, OnRetry};
pub(crate) use self::classify::transport as transport_failure;
pub use self::client::SetupError;
pub(crate) use self::client::{
    BuildError, ConnectionSettings, build, build_client, warn_of_unencrypted_credentials,
};
pub use self::error::UpstreamError;
pub use self::limit::Load;
pub(crate) use self::mask::Mask;
pub use self::metrics::{FileMetrics, UpstreamMetrics};
pub use self::observer::{CallObserver, Observer};
pub(crate) use self::retry_after::retry_after_any;
pub(crate) use self::setting_names::SettingNames;
pub use self::stack::Upstream;
pub use self::transport::Transport;
pub use self::upstreams::Upstreams;

/// Locks a mutex. Poisoning is ignored: no code in this module can panic between two statements
/// that together keep an invariant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
