//! The tokio runtime of the commands.

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use super::signals::EndSignals;

/// Runs a one-shot command until it ends or a signal arrives. A signal drops the command's future
/// and determines the exit code.
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
                super::print_stderr(&format!("error: ended by {}", signal.name));
                ExitCode::from(signal.exit_code)
            }
        }
    });
    // A blocked write, such as to a FIFO that nobody reads, must not delay the exit.
    runtime.shutdown_background();
    code
}

/// The multi-threaded runtime that commands run on.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}
