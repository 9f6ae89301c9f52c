//! `check`: validates the configuration and prints the effective one, or reads sources once and
//! reports what their mappings make of the data.

mod answer;
mod attribution;
mod candidates;
mod connect;
mod identities;
mod lead;
mod lines;
mod more_pages;
mod offline;
mod priorities;
mod reading;
mod report;
mod rows;
mod selection;
mod shown;
mod table_report;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;

use self::offline::SavedBody;
use self::report::Verdict;
use self::selection::Selection;
use super::runtime::run_until_signal;
use crate::config::{self, ConfigErrors, Environment, Overrides};
use crate::upstream::Mask;

/// The flags of `check`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Call every source once and report what came and what it means
    #[arg(long, conflicts_with = "body")]
    pub connect: bool,
    /// Report on this source or identity table alone
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Report on a saved body of the source, without calling anything
    #[arg(long, value_name = "FILE", requires = "source")]
    pub body: Option<PathBuf>,
}

/// Prints the effective configuration on stdout; with `--connect` or `--body`, a report on the data
/// of sources instead.
///
/// # Errors
///
/// The errors of the configuration; with `--connect`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let Args { config, connect, source, body } = args;
    let overrides = Overrides { config, ..Overrides::default() };
    let config = match &body {
        Some(_) => config::load_without_secrets(&overrides, environment)?,
        None => config::load(&overrides, environment)?,
    };
    if source.is_some() && !connect && body.is_none() {
        return Ok(super::fail_usage(
            "--source: needs `--connect`, to call the source, or `--body FILE`, to read an answer \
             that you saved",
        ));
    }
    let selection = match Selection::new(&config, source.as_deref()) {
        Ok(selection) => selection,
        Err(reason) => return Ok(super::fail_usage(&reason)),
    };
    if let (Some(path), Some(id)) = (body, selection.single()) {
        return Ok(match SavedBody::open(&config, id, &path) {
            Ok(body) => run_until_signal(offline::check(config, selection, body)),
            Err(reason) => super::fail_usage(&reason),
        });
    }
    let credentials = selection.restrict(&config).require_credentials();
    if connect {
        credentials?;
        return Ok(run_until_signal(connect::check(config, selection)));
    }
    let code = super::print_stdout(&config.to_yaml());
    if let Err(missing) = ConfigErrors::of_all([credentials, config.require_forward_secrets()]) {
        super::print_stderr(&format!("note: {missing}"));
    }
    Ok(code)
}

/// Prints the reports; exit code 0 if every source can be used as it is.
fn finish(mask: &Mask, reports: &[(String, Verdict)]) -> ExitCode {
    let mut text: Vec<String> = reports.iter().map(|(text, _)| text.clone()).collect();
    if reports.len() > 1 {
        // So that the verdicts are on the screen when the reports have scrolled by.
        let headings = reports.iter().filter_map(|(text, _)| text.split_inclusive('\n').next());
        text.push(headings.collect());
    }
    let printed = super::print_stdout(&mask.apply(&text.join("\n")));
    let number = |wanted: Verdict| reports.iter().filter(|(_, verdict)| *verdict == wanted).count();
    let (failed, invalid) = (number(Verdict::Failed), number(Verdict::Invalid));
    let of = match reports.len() {
        1 => "1 source".to_owned(),
        total => format!("{total} sources"),
    };
    match (failed, invalid) {
        (0, 0) => printed,
        (_, 0) => super::fail(&format!("{failed} of {of} failed")),
        (0, _) => super::fail(&format!(
            "{invalid} of {of} with records whose priority or time is invalid"
        )),
        _ => super::fail(&format!(
            "{failed} of {of} failed, and {invalid} with records whose priority or time is invalid"
        )),
    }
}
