//! Logs panics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use super::writer::LogBuffer;

/// How long a panicking thread waits for its line to be written. The process may abort after it,
/// but the thread may also go on to answer requests.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// Logs panics from now on, with a backtrace if `RUST_BACKTRACE` asks for one.
///
/// If a panic's line could not be written in time because nobody reads stderr, later panics do not
/// wait.
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
