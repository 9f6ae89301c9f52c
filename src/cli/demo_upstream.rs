//! `demo-upstream`: the demo upstream alone.

use std::io;
use std::process::ExitCode;

use super::fan_out::runtime;
use super::signals::ignore_hangups;
use crate::demo;

/// Serves until a signal comes. Bad usage, such as a fixture that cannot be read, exits 2.
#[must_use]
pub fn run(args: demo::Args) -> ExitCode {
    let served = runtime().and_then(|runtime| {
        runtime.block_on(async {
            ignore_hangups(|| super::say("ignored SIGHUP: there is nothing to reload"))?;
            demo::run(args).await
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            super::say(&format!("error: {error}"));
            ExitCode::from(super::BAD_USAGE)
        }
        Err(error) => super::fail(&error.to_string()),
    }
}
