//! How the commands take signals.
//!
//! All that run for longer end by SIGINT and SIGTERM themselves rather than by the default action,
//! which the kernel withholds from the first process of a container. The servers ignore SIGHUP, the
//! one-shot commands leave it as it is, so that `nohup` works.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM.
pub(super) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// One of them has come.
pub(super) struct EndSignal {
    /// Its name.
    pub(super) name: &'static str,
    /// The exit code of a process that a signal ended: 128 and its number.
    pub(super) exit_code: u8,
}

impl EndSignals {
    /// Listens from now on. Must be called on a runtime.
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

/// Has SIGHUP do nothing but call `report`, for as long as the runtime runs that this is called on.
pub(super) fn ignore_hangups(report: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            report();
        }
    });
    Ok(())
}
