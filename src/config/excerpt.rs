//! The line of the file that a fault stands on, with a caret below it.
//!
//! A line of a configuration may hold a password, also under a misspelt key and beside the fault. So an excerpt shows
//! the faulty key, or a key with its faulty value, and nothing else of its line; and nothing at all where a text cannot
//! be read and says somewhere that it may hold a secret.

use super::yaml::At;

/// The longest excerpt, in characters.
const LONGEST: usize = 100;

/// What in a text that is no YAML hints at a secret.
const HINTS: [&str; 7] = ["pass", "pw", "user", "secret", "cred", "token", "@"];

/// A key alone.
pub(super) fn of_key(text: &str, at: At) -> Option<String> {
    render(text, At { lead: at.start, ..at })
}

/// A value with its key, if that stands on the same line.
pub(super) fn of_value(text: &str, at: At) -> Option<String> {
    render(text, at)
}

/// The whole line where a text stops being YAML.
pub(super) fn of_syntax(text: &str, at: At) -> Option<String> {
    let lower = text.to_lowercase();
    if HINTS.iter().any(|hint| lower.contains(hint)) {
        return None;
    }
    let start = line_start(text, at.start)?;
    let end = line_end(text, at.start)?;
    let carets = text.get(start..at.start)?.chars().count();
    Some(gutter(at.line, &clean(text.get(start..end)?), carets.min(LONGEST), 1))
}

fn render(text: &str, at: At) -> Option<String> {
    let before = text.get(line_start(text, at.lead)?..at.lead)?;
    let end = line_end(text, at.start)?;
    let lead = if before.chars().all(|c| c.is_whitespace() || c == '-') { clean(before) } else { "… ".to_owned() };
    let shown = text.get(at.lead..at.end.clamp(at.start, end))?;
    let more = if text.get(at.lead + shown.len()..end)?.trim().is_empty() { "" } else { " …" };
    let carets_from = lead.chars().count() + text.get(at.lead..at.start)?.chars().count();
    let carets = text.get(at.start..at.lead + shown.len())?.trim_end().chars().count();
    let line = format!("{lead}{}{more}", clean(shown.trim_end()));
    Some(gutter(at.line, &line, carets_from.min(LONGEST), carets.max(1)))
}

fn gutter(line: usize, shown: &str, carets_from: usize, carets: usize) -> String {
    let mut cut: String = shown.chars().take(LONGEST).collect();
    if shown.chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    let carets = "^".repeat(carets.min(LONGEST.saturating_sub(carets_from)).max(1));
    let empty = " ".repeat(line.to_string().len());
    format!("  {line} | {cut}\n  {empty} | {:carets_from$}{carets}", "")
}

/// Control characters could play tricks on a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn line_start(text: &str, at: usize) -> Option<usize> {
    Some(text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1))
}

fn line_end(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    Some(at + rest.find('\n').unwrap_or(rest.len()))
}
