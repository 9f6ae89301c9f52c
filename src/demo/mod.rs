//! An upstream to try the gateway with: a real HTTP server that behaves as the real one is known
//! to, or worse.
//!
//! It serves the eight endpoints behind Basic auth, is slow, gets slower with each call in flight,
//! and misbehaves on request, source by source. What it serves comes from the binary, a directory,
//! or a generator.

mod args;
mod body;
mod contention;
mod data;
mod endpoint;
mod fault;
pub mod generate;
mod options;
mod server;
mod service;

use std::io;

use tokio::signal::unix::{SignalKind, signal};

pub use args::{Args, TwoFaults};
pub use data::Data;
pub use endpoint::{Endpoint, UnknownSource};
pub use fault::{Fault, Garbage, UnknownGarbage};
pub use options::{CONTENTION, LATENCY, Options, PASSWORD, USERNAME};
pub use server::Upstream;

/// Runs `demo-upstream` until SIGINT or SIGTERM: serves, and says on stderr where and how to try
/// it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for bad usage (also a fixture that cannot be read), with a
/// message for people; else what binding the address or listening to signals gave.
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
