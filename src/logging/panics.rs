//! Panics as lines of the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use super::writer::LogBuffer;

/// How long a panic may wait for its line to be written: the process may abort after it, but the
/// thread may as well be one that answers requests, and go on.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// Has panics logged from now on, with a backtrace where `RUST_BACKTRACE` asks for one.
///
/// Once a panic has waited in vain, because nobody reads stderr, later ones do not wait at all.
pub(super) fn log_panics(buffer: LogBuffer) {
    panic::set_hook(Box::new(move |panic| {
        log(panic);
        if !buffer.is_stuck() {
            buffer.flush_within(FLUSH_TIMEOUT);
        }
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        panic = panic.payload_as_str(),
        location = panic.location().map(tracing::field::display),
        thread = std::thread::current().name(),
        backtrace = backtrace.map(tracing::field::display),
        "panicked"
    );
}
