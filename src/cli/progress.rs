//! The state of each source, as lines for people.

use std::io::{self, IsTerminal as _, Write as _};

use crate::snapshot::{Snapshot, SourceStatus};

/// Lines on stderr, one a source, kept up to date while it is a terminal.
pub(super) struct Progress {
    terminal: bool,
    drawn: usize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), drawn: 0 }
    }

    /// Draws the lines over the previous ones; does nothing where stderr is no terminal.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) {
        if !self.terminal {
            return;
        }
        let mut text = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        for source in snapshot.sources.iter() {
            text.push_str("\r\x1b[2K");
            text.push_str(&line(source));
            text.push('\n');
        }
        self.drawn = snapshot.sources.len();
        // The command succeeds also where its progress cannot be shown.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints a line for each failed source, where `draw` has not.
    pub(super) fn conclude(&self, snapshot: &Snapshot) {
        for source in
            snapshot.sources.iter().filter(|source| !self.terminal && source.last_error.is_some())
        {
            super::say(&line(source));
        }
    }
}

/// `denial         ok            200 records       17.9 kB   1.501 s`
pub(super) fn line(source: &SourceStatus) -> String {
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
