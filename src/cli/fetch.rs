//! `fetch`: one fan-out, written to stdout or a file.
//!
//! Exit codes: 0 complete, 3 partial (still written), 1 nothing, 2 bad usage or configuration, or a
//! file that cannot be written.

use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::ValueEnum;
use futures::future::OptionFuture;
use tokio::time::Instant;

use super::demo_upstream::EmbeddedDemo;
use super::fan_out::fan_out;
use super::output::{Output, OutputError};
use super::progress::Progress;
use super::runtime::run_until_signal;
use crate::app::Engine;
use crate::config::{self, Config, ConfigErrors, Environment, Overrides};
use crate::refresh::Repeat;
use crate::render::{Filter, Format};
use crate::snapshot::Completeness;

/// The exit code when the document was written but some source is missing or stale.
const PARTIAL_EXIT_CODE: u8 = 3;

/// The flags of `fetch`.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Start the embedded demo upstream and read from it; no credentials needed
    #[arg(long)]
    pub demo: bool,
    /// Write to this file instead of stdout (`-` is stdout)
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatArg::Json)]
    pub format: FormatArg,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum FormatArg {
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
/// The errors of the configuration; without `--demo`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let config = config::load_without_serving(
        &Overrides { config: args.config, ..Overrides::default() },
        environment,
    )?;
    if !args.demo {
        config.require_credentials()?;
    }
    // Checked before the sources are called, which is slow and loads the upstream.
    let output = match Output::open(args.output.as_deref()) {
        Ok(output) => output,
        Err(reason) => return Ok(super::fail_usage(&format!("--output: {reason}"))),
    };
    // The log would disturb the progress display, so it is off unless `RUST_LOG` is set.
    let log = environment.get("RUST_LOG").map(|_| super::start_log(&config, environment));
    let _log = match log.transpose() {
        Ok(log) => log,
        Err(code) => return Ok(code),
    };
    Ok(run_until_signal(fetch(config, args.demo, output, args.format)))
}

async fn fetch(mut config: Config, demo: bool, output: Output, format: FormatArg) -> ExitCode {
    let demo = match OptionFuture::from(demo.then(EmbeddedDemo::start)).await.transpose() {
        Ok(demo) => demo,
        Err(error) => return super::fail(&format!("cannot start the demo upstream: {error}")),
    };
    if let Some(demo) = &demo {
        demo.configure(&mut config);
    }
    let mut progress = Progress::new();
    let Engine { refresh, snapshots, .. } =
        match Engine::new(&config, fastrand::u64(..), Repeat::Never, false) {
            Ok(engine) => engine,
            Err(error) => return super::fail(&error.to_string()),
        };
    let snapshot = fan_out(refresh, snapshots, |snapshot| progress.draw(snapshot)).await;
    progress.print_failures(&snapshot);
    if !snapshot.has_data() {
        return super::fail("no source answered; nothing was written");
    }
    let is_complete = snapshot.completeness(Instant::now()) == Completeness::Complete;
    let document = Format::from(format).render(&snapshot.view, &Filter::default());
    match output.write(Bytes::from(document)).await {
        Err(OutputError::Stdout(error)) => super::fail(&format!("cannot write to stdout: {error}")),
        Err(OutputError::File(reason)) => super::fail_usage(&format!("--output: {reason}")),
        Ok(()) if is_complete => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(PARTIAL_EXIT_CODE),
    }
}

impl From<FormatArg> for Format {
    fn from(argument: FormatArg) -> Self {
        match argument {
            FormatArg::Json => Self::Json,
            FormatArg::Ndjson => Self::Ndjson,
            FormatArg::Csv => Self::Csv,
        }
    }
}
