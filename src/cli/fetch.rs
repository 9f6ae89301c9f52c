//! `fetch`: one fan-out, written to stdout or a file.
//!
//! Exit codes: 0 complete, 3 partial (still written), 1 nothing, 2 bad usage or configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use tokio::time::Instant;

use super::fan_out::{fan_out, runtime, start_demo};
use super::output;
use super::progress::Progress;
use crate::config::{self, Config, ConfigErrors, Environment, Overrides};
use crate::render::{self, Filter};
use crate::snapshot::{Completeness, View};

/// The exit code of a document that lacks a source.
const PARTIAL: u8 = 3;

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
    let config =
        config::load(&Overrides { config: args.config, ..Overrides::default() }, environment)?;
    if !args.demo {
        config.require_credentials()?;
    }
    // Before the sources are asked, which is slow, and which their upstream feels.
    if let Some(Err(why)) = args.output.as_deref().map(output::check) {
        return Ok(super::refuse(&format!("--output: {why}")));
    }
    // Progress has the terminal to itself, unless the log is asked for.
    let log = environment.get("RUST_LOG").map(|_| super::start_log(&config, environment));
    let _log = match log.transpose() {
        Ok(log) => log,
        Err(code) => return Ok(code),
    };
    Ok(fetch(config, args.demo, args.output.as_deref(), args.format))
}

fn fetch(mut config: Config, demo: bool, output: Option<&Path>, format: Format) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&format!("cannot start: {error}")),
    };
    let mut progress = Progress::new();
    let fetched = runtime.block_on(async {
        let _demo = if demo {
            Some(start_demo(&mut config).await.map_err(|error| error.to_string())?)
        } else {
            None
        };
        fan_out(&config, |snapshot| progress.draw(snapshot))
            .await
            .map_err(|error| error.to_string())
    });
    runtime.shutdown_background();
    let snapshot = match fetched {
        Ok(snapshot) => snapshot,
        Err(error) => return super::fail(&error),
    };
    progress.conclude(&snapshot);
    if !snapshot.has_data() {
        return super::fail("no source answered; nothing is written");
    }
    let document = render(&snapshot.view, format);
    let written = match output {
        None => super::print_bytes(&document),
        Some(path) => output::write(path, &document),
    };
    if let Err(error) = written {
        return super::fail(&error);
    }
    let complete = snapshot.completeness(Instant::now()) == Completeness::Complete;
    if complete { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) }
}

fn render(view: &View, format: Format) -> Vec<u8> {
    let everything = Filter::default();
    match format {
        Format::Json => render::incidents(view, &everything),
        Format::Ndjson => render::ndjson(view, &everything),
        Format::Csv => render::csv(view, &everything),
    }
}
