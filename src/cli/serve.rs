//! `serve`: runs the gateway until a signal stops it.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use futures::future::OptionFuture;
use tokio::time::{sleep, timeout};

use super::config_source::ConfigSource;
use super::demo_upstream::EmbeddedDemo;
use super::runtime::runtime;
use super::signals::EndSignals;
use crate::REVISION;
use crate::app::{ConfigWatch, LOOK_INTERVAL, OpenStore, Running};
use crate::config::{Config, ConfigErrors, DEFAULT_UPSTREAM, Environment, Overrides};
use crate::memory::keep_heaps_small;

/// The flags of `serve`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the public listener binds, such as `0.0.0.0:9000`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where the admin listener binds, such as `0.0.0.0:9001`
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
    /// Start the embedded demo upstream and read from it; no credentials needed
    #[arg(long)]
    pub demo: bool,
}

/// Loads the configuration and serves until a signal ends it.
///
/// # Errors
///
/// The errors of the configuration; without `--demo`, missing credentials are one.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    keep_heaps_small();
    let overrides =
        Overrides { config: args.config, listen: args.listen, admin_listen: args.admin_listen };
    let source = ConfigSource::new(overrides, environment.clone(), args.demo);
    let config = source.load()?;
    let _log = match super::start_log(&config, environment) {
        Ok(log) => log,
        Err(code) => return Ok(code),
    };
    warn(&config);
    raise_file_limit(&config);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Ok(super::fail(&format!("cannot start: {error}"))),
    };
    let code = runtime.block_on(serve(config, source));
    // Blocking work whose result nobody needs must not delay the exit.
    runtime.shutdown_background();
    Ok(code)
}

/// File descriptors needed beside those of clients' connections: upstream calls, listeners, the
/// runtime.
const RESERVED_FILES: u64 = 128;

/// Raises the soft limit of open files to the hard limit. The usual soft limit of 1024 exists for
/// the sake of `select`, which is not used here, and is less than the default of
/// `limits.max_connections`.
fn raise_file_limit(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err()
    {
        tracing::debug!("the limit of open files cannot be raised");
    }
    let connections = config.limits.max_connections as u64;
    if let Some(files) =
        getrlimit(Resource::Nofile).current.filter(|files| *files < connections + RESERVED_FILES)
    {
        tracing::warn!(
            files,
            connections,
            "fewer files may be open than `limits.max_connections` needs; raise the limit \
             (`ulimit -n`) or lower the setting"
        );
    }
}

/// Warns of what is valid, but may not be what was meant.
fn warn(config: &Config) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
}

/// The names and base URLs of the upstreams that are used, such as `default: https://…, okta:
/// https://…`; `None` if all sources are files.
fn used_upstreams(config: &Config) -> Option<String> {
    let used = config.used_upstreams();
    let named = config.upstreams.iter().map(|upstream| (&*upstream.name, &upstream.settings));
    let upstreams = std::iter::once((DEFAULT_UPSTREAM, &config.upstream)).chain(named);
    let used = upstreams.filter(|(name, _)| used.contains(name));
    let shown: Vec<_> =
        used.map(|(name, settings)| format!("{name}: {}", settings.base_url)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

async fn serve(mut config: Config, source: ConfigSource) -> ExitCode {
    let mut signals = match EndSignals::listen() {
        Ok(signals) => signals,
        Err(error) => return super::fail(&format!("cannot listen to signals: {error}")),
    };
    let demo = source.demo.then(EmbeddedDemo::start);
    let demo = match OptionFuture::from(demo).await.transpose() {
        Ok(demo) => demo,
        Err(error) => return super::fail(&format!("cannot start the demo upstream: {error}")),
    };
    if let Some(demo) = &demo {
        demo.configure(&mut config);
    }
    let is_demo = demo.is_some();
    let load = Arc::new(move || source.load_again(demo.as_ref()));
    let mut watch = match ConfigWatch::new(config.clone(), load, LOOK_INTERVAL) {
        Ok(watch) => watch,
        Err(error) => return super::fail(&format!("cannot listen to signals: {error}")),
    };
    let opened = tokio::select! {
        opened = OpenStore::open(&config, fastrand::u64(..)) => opened,
        signal = signals.next() => {
            tracing::info!(signal = signal.name, "stopped before serving");
            return ExitCode::SUCCESS;
        }
    };
    let started = opened.and_then(|store| Running::start(&config, store, fastrand::u64(..)));
    let mut running = match started {
        Ok(running) => running,
        Err(error) if error.is_usage() => return super::fail_usage(&error.to_string()),
        Err(error) => return super::fail(&error.to_string()),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = REVISION,
        address = %running.address,
        admin_address = %running.admin_address,
        upstreams = used_upstreams(&config).map(tracing::field::display),
        demo = is_demo,
        tls = config.tls.is_some(),
        auth = running.asks_for_sign_in(),
        sources = config.sources.len(),
        store = running.store_kind(),
        "listening"
    );
    let reload_metrics = running.reload_metrics().clone();
    loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal = signal.name, "stopping");
                break;
            }
            part = running.failed() => {
                tracing::error!(part, "a part that must run has ended; see the log before this");
                return ExitCode::FAILURE;
            }
            changed = watch.changed(&reload_metrics) => running.reload(&changed),
        }
    }
    let shutdown = running.config().shutdown;
    let stop = async {
        running.drain();
        let mut drained = pin!(sleep(shutdown.drain_delay));
        // Whoever loses access loses it now, however long the delay is.
        loop {
            tokio::select! {
                () = &mut drained => break,
                changed = watch.changed(&reload_metrics) => running.reload(&changed),
            }
        }
        if timeout(shutdown.timeout, running.close()).await.is_err() {
            tracing::warn!("requests were still in flight at `shutdown.timeout`; ending them");
        }
    };
    tokio::select! {
        () = stop => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        signal = signals.next() => {
            tracing::warn!(signal = signal.name, "a second signal; ending at once");
            ExitCode::from(signal.exit_code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_upstreams_in_use_are_shown_by_name() {
        let shown = |text: &str| {
            let config = config::from_yaml("c.yaml", text);
            used_upstreams(&config.unwrap_or_else(|errors| panic!("{errors}")))
        };
        let default = shown("upstream: { base_url: 'https://a.example/x' }");
        assert_eq!(default.as_deref(), Some("default: https://a.example/x"));
        let upstreams = "upstreams: { okta: { base_url: 'https://okta.example' }, \
            graph: { base_url: 'https://graph.example' } }\nsources: ";
        let source = "{ name: s, upstream: okta, path: /, identity: who }";
        let file = "{ name: f, file: x.csv, identity: who }";
        let named = shown(&format!("{upstreams} [{source}, {file}]"));
        assert_eq!(named.as_deref(), Some("okta: https://okta.example/"));
        let table = "identities: [{ upstream: graph, path: / }, { path: / }]";
        let three = shown(&format!("{upstreams} [{source}]\n{table}")).unwrap();
        assert!(three.starts_with("default: https://incident-api."), "{three}");
        assert!(three.ends_with(", okta: https://okta.example/, graph: https://graph.example/"));
        assert_eq!(shown(&format!("{upstreams} [{file}]")), None);
    }
}
