//! The demo upstream: alone (`demo-upstream`), or embedded in another command (`--demo`).

use std::io;
use std::process::ExitCode;

use reqwest::Url;

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

/// A demo upstream in this process, which serves until this value is dropped.
pub(super) struct EmbeddedDemo {
    base_url: Url,
    _upstream: demo::Upstream,
}

impl EmbeddedDemo {
    /// Starts it on a free port of the loopback interface.
    pub(super) async fn start() -> io::Result<Self> {
        let upstream = demo::Upstream::start(demo::Options::default()).await?;
        let base_url = upstream.base_url().parse().map_err(io::Error::other)?;
        Ok(Self { base_url, _upstream: upstream })
    }

    /// Points a configuration at it. One without sources of its own gets those of the demo.
    pub(super) fn configure(&self, config: &mut Config) {
        demo::configure(config);
        config.upstream.base_url = self.base_url.clone();
        config.upstream.username = Some(demo::USERNAME.to_owned());
        config.upstream.password = Some(demo::PASSWORD.into());
        config.upstream.auth = None;
        config.upstream.proxy = None;
    }
}
