//! Signal handling of the commands.
//!
//! Commands that run for a while handle SIGINT and SIGTERM themselves, because the kernel does not
//! apply the default action to the first process of a container. On SIGHUP `serve` reloads its
//! configuration, and `demo-upstream` does nothing. The one-shot commands do not change its
//! handling, so that `nohup` works.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A stream of SIGINT and SIGTERM.
pub(super) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// A received signal of [`EndSignals`].
pub(super) struct EndSignal {
    /// Its name.
    pub(super) name: &'static str,
    /// The exit code of a process that this signal has ended: 128 + its number.
    pub(super) exit_code: u8,
}

impl EndSignals {
    /// Starts to listen. Must be called on a runtime.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> EndSignal {
        tokio::select! {
            _ = self.interrupt.recv() => EndSignal { name: "SIGINT", exit_code: 130 },
            _ = self.terminate.recv() => EndSignal { name: "SIGTERM", exit_code: 143 },
        }
    }
}

/// Makes SIGHUP only call `report`, as long as the current runtime runs.
pub(super) fn ignore_hangups(report: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            report();
        }
    });
    Ok(())
}
