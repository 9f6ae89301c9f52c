//! The progress display of `fetch` and `forward`: a status line for each source and each forward.

use std::io::{self, IsTerminal as _, Write as _};

use crate::forward::ForwardStatus;
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

    /// Whether there is a terminal to draw on.
    pub(super) fn is_shown(&self) -> bool {
        self.is_terminal
    }

    /// Draws the lines over the previous ones; does nothing where stderr is no terminal.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) {
        self.draw_lines(snapshot.sources.iter().map(status_line));
    }

    /// Draws a line for each forward over the previous ones, below those of the sources.
    pub(super) fn draw_forwards(&mut self, forwards: &[ForwardStatus]) {
        self.draw_lines(forwards.iter().map(forward_line));
    }

    /// Leaves the lines as they are; others are drawn below them.
    pub(super) fn begin_below(&mut self) {
        self.drawn_lines = 0;
    }

    fn draw_lines(&mut self, lines: impl Iterator<Item = String>) {
        if !self.is_terminal {
            return;
        }
        let mut text = match self.drawn_lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        self.drawn_lines = 0;
        for line in lines {
            text.push_str("\r\x1b[2K");
            text.push_str(&line);
            text.push('\n');
            self.drawn_lines += 1;
        }
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

/// The most characters of a forward's line, so that it takes one line of the terminal.
const MAX_LINE_CHARS: usize = 79;

/// Such as `siem           sending       1500 sent, 200 due, 1 dead letter`.
fn forward_line(forward: &ForwardStatus) -> String {
    let ForwardStatus { name, state, lag, sent, dead_letters, last_error } = forward;
    let due = lag.map_or_else(|| "? due".to_owned(), |due| format!("{due} due"));
    let letters = if *dead_letters == 1 { "dead letter" } else { "dead letters" };
    let mut line =
        format!("{name:<14} {:<13} {sent} sent, {due}, {dead_letters} {letters}", state.as_str());
    if let Some(error) = last_error {
        line.push_str("   ");
        line.push_str(error);
    }
    line.chars().filter(|c| !c.is_control()).take(MAX_LINE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ForwardState;

    #[test]
    fn the_line_of_a_forward_is_one_short_line() {
        let mut forward = ForwardStatus { name: "siem".to_owned(), ..ForwardStatus::default() };
        assert_eq!(
            forward_line(&forward),
            "siem           idle          0 sent, ? due, 0 dead letters"
        );
        forward.state = ForwardState::Retrying;
        (forward.lag, forward.sent, forward.dead_letters) = (Some(7), 12, 1);
        forward.last_error = Some(format!("status 503:\n\u{1b}[2J{}", "x".repeat(500)));
        let line = forward_line(&forward);
        let begin =
            "siem           retrying      12 sent, 7 due, 1 dead letter   status 503:[2Jxxx";
        assert!(line.starts_with(begin), "{line}");
        assert_eq!(line.len(), MAX_LINE_CHARS);
    }
}
