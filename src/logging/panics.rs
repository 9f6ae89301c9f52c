//! Panics as lines of the log: in its form, and without waiting for a reader of stderr who has
//! stopped reading.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use super::writer::Gathering;

/// Has panics logged from now on, with a backtrace where `RUST_BACKTRACE` asks for one.
pub(super) fn log_panics(lines: Gathering) {
    panic::set_hook(Box::new(move |panic| {
        log(panic);
        // What comes after it may be the end of the process.
        lines.flush_or_give_up();
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
