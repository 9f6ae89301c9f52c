//! One fan-out, for the commands that read every source once.

use std::process::ExitCode;
use std::sync::Arc;

use super::signals::EndSignals;
use crate::app::Engine;
use crate::config::Config;
use crate::demo;
use crate::refresh::Repeat;
use crate::snapshot::Snapshot;
use crate::upstream::SetupError;

/// Starts a demo upstream, which serves until it is dropped, and points the configuration at it.
pub(super) async fn start_demo(config: &mut Config) -> std::io::Result<demo::Upstream> {
    let upstream = demo::Upstream::start(demo::Options::default()).await?;
    config.upstream.base_url = upstream.base_url().parse().map_err(std::io::Error::other)?;
    config.upstream.username = Some(demo::USERNAME.to_owned());
    config.upstream.password = Some(demo::PASSWORD.into());
    Ok(upstream)
}

/// Calls every source once, retries included, and returns the snapshot of their answers; `progress`
/// sees each snapshot on the way.
pub(super) async fn fan_out(
    config: &Config,
    mut progress: impl FnMut(&Snapshot),
) -> Result<Arc<Snapshot>, SetupError> {
    let Engine { mut snapshots, refresh, .. } =
        Engine::new(config, fastrand::u64(..), Repeat::Never)?;
    let refresh = tokio::spawn(refresh.run());
    while snapshots.changed().await.is_ok() {
        progress(&snapshots.borrow_and_update());
    }
    // The refresh, which held the sender, has ended: this is the last snapshot.
    let _ = refresh.await;
    let snapshot = Arc::clone(&snapshots.borrow());
    Ok(snapshot)
}

/// Runs a one-shot command until it ends, or until a signal: then its future is dropped, and the
/// exit code names the signal.
pub(super) fn run_until_signal(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&format!("cannot start: {error}")),
    };
    let code = runtime.block_on(async {
        let mut signals = match EndSignals::listen() {
            Ok(signals) => signals,
            Err(error) => return super::fail(&format!("cannot listen to signals: {error}")),
        };
        tokio::select! {
            code = command => code,
            signal = signals.next() => {
                super::say(&format!("error: ended by {}", signal.name));
                ExitCode::from(signal.exit_code)
            }
        }
    });
    // A blocked write, such as to a FIFO that nobody reads, must not delay the exit.
    runtime.shutdown_background();
    code
}

/// The runtime of a command.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
