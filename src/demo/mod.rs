//! The demo upstream: an HTTP server to try the gateway with, which behaves like the real upstream
//! or, on request, worse.
//!
//! It serves the upstream's eight endpoints, and beside them a table of people and the lists of two
//! sources in shapes of their own, all with Basic auth. Each call takes time, more so with more
//! calls in flight, and each source can be given a fault.

mod args;
mod body;
mod configuration;
mod contention;
mod data;
mod endpoint;
mod fault;
pub mod generate;
mod list_query;
mod options;
mod server;
mod service;
mod ticks;

use std::io;

use tokio::signal::unix::{SignalKind, signal};

pub use args::{Args, TwoFaults};
pub use configuration::{SOURCES_YAML, configure};
pub use data::Data;
pub use endpoint::{Endpoint, UnknownSource};
pub use fault::{Fault, Garbage, UnknownGarbage};
pub use options::{CONTENTION, LATENCY, Options, PASSWORD, USERNAME};
pub use server::Upstream;

/// Runs `demo-upstream` until SIGINT or SIGTERM. Prints on stderr where it listens and a command to
/// try it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`], with a message for users, for bad usage or a fixture that
/// cannot be read; else the error from binding the address or from listening to signals.
pub async fn run(args: Args) -> io::Result<()> {
    let user = args.curl_user();
    let options = Options::try_from(args)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let upstream = Upstream::start(options).await?;
    let url = upstream.base_url();
    eprintln!("demo upstream listening on {url}");
    eprintln!("try: curl -u {user} {url}{}", Endpoint::Denial.path());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
