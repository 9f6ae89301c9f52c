//! `demo-upstream`: the demo upstream alone.

use std::process::ExitCode;

/// The flags of `demo-upstream`.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9002")]
    pub listen: std::net::SocketAddr,
}

/// Serves until a signal comes.
#[must_use]
pub fn run(_args: &Args) -> ExitCode {
    super::say("error: this build has no demo upstream yet");
    ExitCode::FAILURE
}
