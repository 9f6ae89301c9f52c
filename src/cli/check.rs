//! `check`: validates the configuration and prints the effective one.

use std::path::PathBuf;
use std::process::ExitCode;

use super::fan_out::fan_out;
use super::progress::status_line;
use super::runtime::run_until_signal;
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

/// Prints the effective configuration on stdout; with `--connect`, how each source answers instead.
///
/// # Errors
///
/// The errors of the configuration; with `--connect`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let config =
        config::load(&Overrides { config: args.config, ..Overrides::default() }, environment)?;
    let credentials = config.require_credentials();
    if args.connect {
        credentials?;
        return Ok(run_until_signal(connect(config)));
    }
    let code = super::print_stdout(&config.to_yaml());
    if let Err(missing) = credentials {
        super::print_stderr(&format!("note: {missing}"));
    }
    Ok(code)
}

/// Calls every source once, without retries, and prints how each answered; exit code 0 if all did.
async fn connect(mut config: Config) -> ExitCode {
    config.upstream.retries = 0;
    let snapshot = match fan_out(&config, |_| ()).await {
        Ok(snapshot) => snapshot,
        Err(error) => return super::fail(&error.to_string()),
    };
    let mut table = format!("{}\n", config.upstream.base_url);
    for source in snapshot.sources.iter() {
        table.push_str(&status_line(source));
        table.push('\n');
    }
    let failed = snapshot.sources.iter().filter(|source| source.last_error.is_some()).count();
    let printed = super::print_stdout(&table);
    if failed == 0 {
        return printed;
    }
    super::fail(&format!("{failed} of {} sources failed", snapshot.sources.len()))
}
