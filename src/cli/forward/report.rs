//! What `forward` says at its end: the exit code, what went wrong, and one line of summary.

use std::process::ExitCode;

use crate::cli::{print_stderr, print_stdout};
use crate::forward::{ForwardStatuses, Outcome};
use crate::snapshot::Snapshot;

/// The exit code when nothing is due any more, but some records became dead letters.
const DEAD_LETTERS_EXIT_CODE: u8 = 3;

/// What came of everything.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How many sources and tables there are, and how many were read.
    sources: usize,
    read: usize,
    /// Whether there are incident sources, all of which have failed.
    have_all_failed: bool,
    forwards: Vec<Forwarded>,
}

/// What came of a forward.
#[derive(Debug)]
struct Forwarded {
    outcome: Outcome,
    /// Its last trouble.
    last_error: Option<String>,
}

impl Report {
    /// What came of the sources; the forwards are to follow.
    pub(super) fn of_sources(snapshot: &Snapshot) -> Self {
        let sources = &snapshot.sources;
        Self {
            sources: sources.len(),
            read: sources.iter().filter(|source| source.fetched_at.is_some()).count(),
            have_all_failed: !sources.incidents().is_empty() && !snapshot.has_data(),
            forwards: Vec::new(),
        }
    }

    /// Adds what came of the forwards.
    pub(super) fn with_forwards(self, outcomes: Vec<Outcome>, statuses: &ForwardStatuses) -> Self {
        let last_error = |name: &str| {
            let status = statuses.iter().find(|status| status.name == name);
            status.and_then(|status| status.last_error.clone())
        };
        let forwarded = |outcome: Outcome| {
            let last_error = last_error(&outcome.name);
            Forwarded { outcome, last_error }
        };
        Self { forwards: outcomes.into_iter().map(forwarded).collect(), ..self }
    }

    /// Prints what went wrong and the summary, and returns the exit code.
    pub(super) fn print(&self) -> ExitCode {
        for line in self.troubles() {
            print_stderr(&line);
        }
        let printed = print_stdout(&format!("{}\n", self.summary()));
        match self.exit_code() {
            0 => printed,
            code => ExitCode::from(code),
        }
    }

    fn exit_code(&self) -> u8 {
        let mut outcomes = self.forwards.iter().map(|forward| &forward.outcome);
        let is_done = |outcome: &Outcome| outcome.due == Some(0) && outcome.gave_up.is_none();
        if self.have_all_failed || !outcomes.clone().all(is_done) {
            1
        } else if outcomes.any(|outcome| outcome.dead_letters > 0) {
            DEAD_LETTERS_EXIT_CODE
        } else {
            0
        }
    }

    fn troubles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.have_all_failed {
            lines.push("error: no source answered; what is stored was sent".to_owned());
        }
        for Forwarded { outcome, last_error } in &self.forwards {
            let Outcome { name, dead_letters, gave_up, .. } = outcome;
            if let Some(why) = gave_up {
                lines.push(format!("error: forward {name}: {why}"));
            }
            if *dead_letters > 0 {
                let last = last_error.as_deref().filter(|_| gave_up.is_none());
                let last = last.map(|error| format!("; the last: {error}")).unwrap_or_default();
                let (letters, _) = plural(*dead_letters);
                lines.push(format!("warning: forward {name}: {dead_letters} {letters}{last}"));
            }
        }
        lines
    }

    /// One line, such as `read 3 of 4 sources; siem: 120 sent, 1 dead letter, 0 due`.
    fn summary(&self) -> String {
        let forwards = self.forwards.iter().map(|Forwarded { outcome, .. }| {
            let Outcome { name, sent, dead_letters, due, .. } = outcome;
            let due = due.map_or_else(|| "unknown".to_owned(), |due| due.to_string());
            let (_, letters) = plural(*dead_letters);
            format!("; {name}: {sent} sent, {dead_letters} {letters}, {due} due")
        });
        let forwards: String = forwards.collect();
        format!("read {} of {} sources{forwards}", self.read, self.sources)
    }
}

/// What a number of dead letters is of, in a sentence and as a figure.
fn plural(dead_letters: u64) -> (&'static str, &'static str) {
    match dead_letters {
        1 => ("record became a dead letter", "dead letter"),
        _ => ("records became dead letters", "dead letters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[(u64, u64, Option<u64>, Option<&str>)]) -> Report {
        let forwards = outcomes.iter().zip(["siem", "pager"]);
        let forwards = forwards.map(|(&(sent, dead_letters, due, gave_up), name)| {
            let (name, gave_up) = (name.to_owned(), gave_up.map(str::to_owned));
            let outcome = Outcome { name, sent, dead_letters, due, gave_up };
            Forwarded { outcome, last_error: Some("status 400: no".to_owned()) }
        });
        Report { sources: 4, read: 3, forwards: forwards.collect(), ..Report::default() }
    }

    #[test]
    fn the_exit_code_says_whether_all_was_sent() {
        let done = (7, 0, Some(0), None);
        let some_dead = (7, 1, Some(0), None);
        let some_due = (7, 0, Some(2), Some("gave up after 5 failures"));
        let unknown = (7, 0, None, Some("the store is down"));
        let code = |outcomes: &[_]| report(outcomes).exit_code();
        assert_eq!(code(&[done, done]), 0);
        assert_eq!(code(&[done, some_dead]), 3);
        assert_eq!(code(&[some_due, done]), 1);
        assert_eq!(code(&[some_dead, some_due]), 1);
        assert_eq!(code(&[done, unknown]), 1);
        let all_failed = Report { have_all_failed: true, ..report(&[done]) };
        assert_eq!(all_failed.exit_code(), 1);
    }

    #[test]
    fn the_summary_is_one_line_and_troubles_are_named() {
        let both = report(&[(120, 1, Some(0), None), (0, 2, Some(3), Some("it gave up"))]);
        assert_eq!(
            both.summary(),
            "read 3 of 4 sources; siem: 120 sent, 1 dead letter, 0 due; pager: 0 sent, 2 dead \
             letters, 3 due"
        );
        let expected = [
            "warning: forward siem: 1 record became a dead letter; the last: status 400: no",
            "error: forward pager: it gave up",
            "warning: forward pager: 2 records became dead letters",
        ];
        assert_eq!(both.troubles(), expected);
        let unknown = report(&[(1, 0, None, None)]);
        assert_eq!(
            unknown.summary(),
            "read 3 of 4 sources; siem: 1 sent, 0 dead letters, unknown due"
        );
        assert!(unknown.troubles().is_empty());
        let failed = Report { have_all_failed: true, ..Report::default() };
        assert_eq!(failed.troubles(), ["error: no source answered; what is stored was sent"]);
    }
}
