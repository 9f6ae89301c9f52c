//! The command line and its commands.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration; [`fetch`] and [`forward`] add 3. The
//! values of settings are parsed in [`crate::config`], so that the errors of flags, file and
//! environment come in one report.

pub mod check;
mod config_source;
pub mod demo_upstream;
mod fan_out;
pub mod fetch;
pub mod forget;
pub mod forward;
pub mod healthcheck;
mod output;
mod progress;
mod runtime;
pub mod serve;
mod signals;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigErrors, Environment};
use crate::logging::{self, Log};
use crate::{REVISION, demo};

/// The exit code of bad usage and of a bad configuration.
const BAD_USAGE: u8 = 2;

static VERSION: LazyLock<String> = LazyLock::new(|| match REVISION {
    "unknown" => env!("CARGO_PKG_VERSION").to_owned(),
    revision => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
});

/// One fast, honest document of security incidents by employee, from many slow sources.
#[derive(Debug, Parser)]
#[command(
    name = "incident-gateway",
    version = VERSION.as_str(),
    args_conflicts_with_subcommands = true,
    after_help = "Without a command it serves. Settings: docs/CONFIGURATION.md, or the output of \
        `check`."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default command)
    Serve(serve::Args),
    /// Read every source once and write the document to stdout or a file
    Fetch(fetch::Args),
    /// Validate the configuration and print the effective one, secrets masked; or report on what
    /// the sources send and what their mappings make of it
    Check(check::Args),
    /// Read every source once, store what they have, send what is due to the receivers, and exit
    Forward(forward::Args),
    /// Delete one employee's history from the store
    Forget(forget::Args),
    /// Ask a running gateway whether it is ready; exit 0 or 1
    Healthcheck(healthcheck::Args),
    /// Run the demo upstream alone
    DemoUpstream(Box<demo::Args>),
}

/// Runs the command that `arguments` name, and returns the exit code. The first argument is the
/// name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // This also prints help and version; a closed pipe is no error then.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(BAD_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let result = match line.command.unwrap_or(Command::Serve(line.serve)) {
        Command::Serve(args) => serve::run(args, environment),
        Command::Fetch(args) => fetch::run(args, environment),
        Command::Check(args) => check::run(args, environment),
        Command::Forward(args) => forward::run(args, environment),
        Command::Forget(args) => forget::run(args, environment),
        Command::Healthcheck(args) => healthcheck::run(args, environment),
        Command::DemoUpstream(args) => Ok(demo_upstream::run(*args)),
    };
    result.unwrap_or_else(|errors: ConfigErrors| fail_usage(&errors.to_string()))
}

/// Prints a line on stderr. Errors are ignored: there is no other place to report them.
fn print_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints why a command failed, and returns its exit code.
fn fail(why: &str) -> ExitCode {
    print_stderr(&format!("error: {why}"));
    ExitCode::FAILURE
}

/// Prints what is wrong with the command's arguments or configuration, and returns its exit code.
fn fail_usage(why: &str) -> ExitCode {
    print_stderr(&format!("error: {why}"));
    ExitCode::from(BAD_USAGE)
}

/// Writes `text` to stdout. A reader that stops early (`| head`) is no failure.
fn print_stdout(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to stdout: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Starts the log with the filter of `RUST_LOG`; prints what is wrong when it cannot start.
fn start_log(config: &Config, environment: &Environment) -> Result<Log, ExitCode> {
    let filter = environment.get("RUST_LOG").map(|filter| filter.to_string_lossy());
    logging::start(config.log_format, filter.as_deref(), &config.otlp)
        .map_err(|error| fail_usage(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    fn parse(line: &str) -> Result<CommandLine, clap::error::ErrorKind> {
        let words = std::iter::once("incident-gateway").chain(line.split_whitespace());
        CommandLine::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn serve_is_the_default_command_with_all_its_flags() {
        let flags = "--config c.yaml --listen :1 --admin-listen :2 --demo";
        let without = parse(flags).unwrap();
        assert!(without.command.is_none());
        let Some(Command::Serve(with)) = parse(&format!("serve {flags}")).unwrap().command else {
            panic!()
        };
        assert_eq!(without.serve, with);
        assert!(with.demo);
        assert_eq!(with.listen.as_deref(), Some(":1"));
        assert_eq!(parse("").unwrap().serve, serve::Args::default());
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        for line in [
            "serve",
            "fetch --config c.yaml --demo --output out.json --format ndjson",
            "fetch --format csv",
            "check --config c.yaml --connect",
            "check --connect --source okta",
            "check --source okta --body body.json",
            "forward --config c.yaml",
            "forget E1 --config c.yaml",
            "forget --config c.yaml -- -1",
            "healthcheck --url http://127.0.0.1:9001",
            "healthcheck --config c.yaml",
            "demo-upstream --listen 127.0.0.1:0",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn bad_usage_is_refused() {
        for line in [
            "--nonsense",
            "nonsense",
            "fetch --format xml",
            "serve extra",
            "--demo check",
            "check --demo",
            "check --body body.json",
            "forget",
            "forward siem",
            "forward --demo",
            "forget E1 E2",
            "check --connect --source okta --body body.json",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
