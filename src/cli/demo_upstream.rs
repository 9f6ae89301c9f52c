//! The demo upstream: alone (`demo-upstream`), or embedded in another command (`--demo`).

use std::io;
use std::process::ExitCode;

use super::runtime::runtime;
use super::signals::ignore_hangups;
use crate::config::Config;
use crate::demo;

/// Serves until SIGINT or SIGTERM. Bad usage, such as a fixture that cannot be read, exits with 2.
#[must_use]
pub fn run(args: demo::Args) -> ExitCode {
    let served = runtime().and_then(|runtime| {
        runtime.block_on(async {
            ignore_hangups(|| super::print_stderr("ignored SIGHUP: there is nothing to reload"))?;
            demo::run(args).await
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            super::fail_usage(&error.to_string())
        }
        Err(error) => super::fail(&error.to_string()),
    }
}

/// Starts a demo upstream, which serves until it is dropped, and points the configuration at it.
/// A configuration without sources of its own gets those of the demo.
pub(super) async fn start_embedded(config: &mut Config) -> io::Result<demo::Upstream> {
    demo::configure(config);
    let upstream = demo::Upstream::start(demo::Options::default()).await?;
    config.upstream.base_url = upstream.base_url().parse().map_err(io::Error::other)?;
    config.upstream.username = Some(demo::USERNAME.to_owned());
    config.upstream.password = Some(demo::PASSWORD.into());
    config.upstream.auth = None;
    config.upstream.proxy = None;
    Ok(upstream)
}
