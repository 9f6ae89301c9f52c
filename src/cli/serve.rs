//! `serve`: the server.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, ConfigErrors, Environment, Overrides};

/// The flags of `serve`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the public listener binds, such as `0.0.0.0:9000`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where the admin listener binds, such as `0.0.0.0:9001`
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// Start the embedded demo upstream and read from it; no credentials needed
    #[arg(long)]
    pub demo: bool,
}

/// Loads the configuration and serves until a signal comes.
///
/// # Errors
///
/// The faults of the configuration; without `--demo`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let overrides = Overrides { config: args.config, listen: args.listen, admin_listen: args.admin_listen };
    let config = config::load(&overrides, environment)?;
    if !args.demo {
        config.require_credentials()?;
    }
    Ok(start(&config, args.demo))
}

/// The seam where the server is joined on.
fn start(_config: &Config, _demo: bool) -> ExitCode {
    super::say("error: this build has no server yet");
    ExitCode::FAILURE
}
