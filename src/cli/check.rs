//! `check`: is the configuration right, and what does it come to?

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, ConfigErrors, Environment, Overrides};

/// The flags of `check`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Call every source once and print how each answered
    #[arg(long)]
    pub connect: bool,
}

/// Prints the effective configuration on stdout, or the faults.
///
/// # Errors
///
/// The faults of the configuration; with `--connect`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let config = config::load(&Overrides { config: args.config, ..Overrides::default() }, environment)?;
    let credentials = config.require_credentials();
    if args.connect {
        credentials?;
        return Ok(connect(&config));
    }
    let code = super::print(&config.to_yaml());
    if let Err(missing) = credentials {
        super::say(&format!("note: {missing}"));
    }
    Ok(code)
}

/// The seam where the calls are joined on.
fn connect(_config: &Config) -> ExitCode {
    super::say("error: this build cannot call sources yet");
    ExitCode::FAILURE
}
