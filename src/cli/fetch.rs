//! `fetch`: one fan-out, written to stdout or a file.
//!
//! Exit codes: 0 complete, 3 partial (still written), 1 nothing, 2 bad usage or configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::{self, Config, ConfigErrors, Environment, Overrides};

/// The flags of `fetch`.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Start the embedded demo upstream and read from it; no credentials needed
    #[arg(long)]
    pub demo: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The form of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json)]
    pub format: Format,
}

/// The form of what is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// The document of `/incidents`
    Json,
    /// A record a line
    Ndjson,
    /// A record a line, with a header
    Csv,
}

/// Loads the configuration and fetches once.
///
/// # Errors
///
/// The faults of the configuration; without `--demo`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let config = config::load(&Overrides { config: args.config, ..Overrides::default() }, environment)?;
    if !args.demo {
        config.require_credentials()?;
    }
    Ok(start(&config, args.demo, args.output.as_deref(), args.format))
}

/// The seam where the fan-out is joined on.
fn start(_config: &Config, _demo: bool, _output: Option<&Path>, _format: Format) -> ExitCode {
    super::say("error: this build has no fan-out yet");
    ExitCode::FAILURE
}
