//! The progress display of `fetch`: a status line for each source.

use std::io::{self, IsTerminal as _, Write as _};

use crate::snapshot::{Snapshot, SourceStatus};

/// Status lines on stderr, redrawn in place when stderr is a terminal.
pub(super) struct Progress {
    is_terminal: bool,
    /// How many lines the last drawing has.
    drawn_lines: usize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), drawn_lines: 0 }
    }

    /// Draws the lines over the previous ones; does nothing where stderr is no terminal.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) {
        if !self.is_terminal {
            return;
        }
        let mut text = match self.drawn_lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        for source in snapshot.sources.iter() {
            text.push_str("\r\x1b[2K");
            text.push_str(&status_line(source));
            text.push('\n');
        }
        self.drawn_lines = snapshot.sources.len();
        // The command must not fail because its progress cannot be shown.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints a line for each failed source, unless `draw` has shown it on the terminal.
    pub(super) fn print_failures(&self, snapshot: &Snapshot) {
        for source in snapshot
            .sources
            .iter()
            .filter(|source| !self.is_terminal && source.last_error.is_some())
        {
            super::print_stderr(&status_line(source));
        }
    }
}

/// Such as `denial         ok              1.501 s   200 records, 18 kB`.
pub(super) fn status_line(source: &SourceStatus) -> String {
    let seconds = source
        .last_duration
        .map_or_else(String::new, |took| format!("{:.3} s", took.as_secs_f64()));
    let name = &source.name;
    match &source.last_error {
        Some(error) => {
            format!("{name:<14} {:<13} {seconds:>9}   {}", error.kind.as_str(), error.detail)
        }
        None if source.fetched_at.is_some() => {
            let kilobytes = source.bytes.div_ceil(1000);
            format!(
                "{name:<14} {:<13} {seconds:>9}   {} records, {kilobytes} kB",
                "ok", source.records
            )
        }
        None => format!("{name:<14} waiting"),
    }
}
