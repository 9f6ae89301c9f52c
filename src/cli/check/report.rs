//! The report on a source: what was asked, what came, and what the mapping makes of it.

use std::sync::Arc;

use http::StatusCode;

use super::answer;
use super::attribution::attribution;
use super::identities::Identities;
use super::lead::Lead;
use super::lines::Lines;
use super::more_pages;
use super::priorities::Priorities;
use super::reading::{Failure, Reading, Tables};
use super::shown::{count, grouped, shown, size};
use super::times::Times;
use crate::config::{self, Origin};
use crate::decode::Incidents;
use crate::json::{Found, Path};
use crate::outcome::Outcome;
use crate::request::NextPage;

/// The most of an answer with a bad status that is printed.
const MAX_REFUSAL_CHARS: usize = 600;
/// The most of a request that is printed.
const MAX_REQUEST_CHARS: usize = 1_000;

/// How a source fared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It can be used as it is.
    Good,
    /// It was read, but records of a mapped source have no priority or no time.
    Invalid,
    /// It could not be read.
    Failed,
}

/// Prints the report on a source.
pub(super) fn report(
    source: &config::Source,
    reading: &Reading<Arc<Incidents>>,
    tables: &Tables,
) -> (String, Verdict) {
    let mut lines = Lines::default();
    let verdict = match &reading.result {
        Ok(incidents) => {
            answered(reading, incidents.records().len(), incidents.duplicates(), &mut lines);
            records(source, reading, incidents, tables, &mut lines)
        }
        Err(failure) => {
            answered_failure(reading, failure, &mut lines);
            let fail_if = match &source.origin {
                Origin::Http(http) => http.fail_if.as_slice(),
                Origin::File(_) => &[],
            };
            explain_answer(reading, failure, &records_path(source), fail_if, &mut lines);
            Verdict::Failed
        }
    };
    (with_heading(&reading.name, &verdict_text(verdict, reading), lines), verdict)
}

/// The text of a report below its heading.
pub(super) fn with_heading(name: &str, verdict: &str, lines: Lines) -> String {
    let mut heading = Lines::default();
    let marks = match (lines.problems(), lines.doubts()) {
        (0, 0) => "",
        (0, _) => "; look at the lines with ?",
        (_, 0) => "; mend the lines with !",
        (_, _) => "; mend the lines with !, and look at those with ?",
    };
    heading.heading(&format!("{name:<14} {verdict}{marks}"));
    heading.into_text() + &lines.into_text()
}

fn verdict_text<T>(verdict: Verdict, reading: &Reading<T>) -> String {
    match (verdict, &reading.result) {
        (Verdict::Failed, Err(failure)) => format!("FAILED ({})", failure.outcome.as_str()),
        (Verdict::Invalid, _) => "INVALID".to_owned(),
        _ => "ok".to_owned(),
    }
}

/// What was asked and what came.
pub(super) fn answered<T>(
    reading: &Reading<T>,
    records: usize,
    duplicates: usize,
    lines: &mut Lines,
) {
    asked(reading, lines);
    let bytes = reading.pages.iter().map(|page| page.body.len()).sum();
    let pages = if reading.pages.is_empty() { "file" } else { "page" };
    let mut parts = vec![count(reading.page_count, pages)];
    parts.push(match duplicates {
        0 => count(records, "record"),
        _ => format!("{} ({} dropped)", count(records, "record"), count(duplicates, "duplicate")),
    });
    parts.extend((bytes > 0).then(|| size(bytes)));
    parts.extend(reading.duration.map(|took| format!("{:.3} s", took.as_secs_f64())));
    lines.add("answered", &parts.join(", "));
    if reading.is_repeated {
        lines.doubt(
            "the list ended because its next address or cursor was one already used, such as the \
             page's own; if records are missing, see `next`",
        );
    }
}

fn asked<T>(reading: &Reading<T>, lines: &mut Lines) {
    lines.add("from", &reading.origin);
    let label = if reading.is_file { "read" } else { "asked" };
    lines.add(label, &shown(&reading.asked, MAX_REQUEST_CHARS).to_string());
}

/// What was asked, and why nothing can be made of what came.
pub(super) fn answered_failure<T>(reading: &Reading<T>, failure: &Failure, lines: &mut Lines) {
    asked(reading, lines);
    lines.add("failed", &format!("{}: {}", failure.outcome.as_str(), failure.detail));
    if failure.status == Some(StatusCode::METHOD_NOT_ALLOWED) {
        lines.problem(if reading.asked.starts_with("POST ") {
            "it was asked by POST; without `body` and `form` the request is a GET"
        } else {
            "it was asked by GET; `body` or `form` makes the request a POST"
        });
    }
    if let Some(refusal) = failure.refusal.as_ref().filter(|text| !text.trim().is_empty()) {
        lines.add("its answer", &shown(refusal.trim(), MAX_REFUSAL_CHARS).to_string());
    }
    let is_of_last_page =
        matches!(failure.outcome, Outcome::Answer | Outcome::Decode | Outcome::Pages);
    if reading.pages.len() > usize::from(is_of_last_page) {
        let bytes = reading.pages.iter().map(|page| page.body.len()).sum();
        let page = reading.pages.len() + usize::from(!is_of_last_page);
        lines.more(&format!("on page {page}, after {}", size(bytes)));
    }
}

/// What stands in an answer in place of what it should have.
pub(super) fn explain_answer<T>(
    reading: &Reading<T>,
    failure: &Failure,
    records: &Path,
    fail_if: &[Path],
    lines: &mut Lines,
) {
    let Some(last) = reading.pages.last() else { return };
    if failure.outcome == Outcome::Answer
        && let Ok(body) = std::str::from_utf8(without_byte_order_mark(&last.body))
    {
        answer::explain(body, records, fail_if, lines);
    } else if failure.outcome == Outcome::Decode {
        answer::explain_text(&last.body, lines);
    }
}

fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

fn records_path(source: &config::Source) -> Path {
    source.records.clone().unwrap_or_else(Path::results)
}

/// What the mapping makes of the records.
fn records(
    source: &config::Source,
    reading: &Reading<Arc<Incidents>>,
    incidents: &Arc<Incidents>,
    tables: &Tables,
    lines: &mut Lines,
) -> Verdict {
    page_hints(source, reading, incidents, lines);
    if incidents.records().is_empty() {
        lines.doubt("no records: nothing can be said about the mapping; try a longer `window`");
        return Verdict::Good;
    }
    let mut priorities = Priorities::of(source);
    let mut times = Times::of(source);
    let mut identities = Identities::of(source, tables);
    let mut others: Vec<(&str, Lead)> = Vec::new();
    for (key, paths) in [("id", &source.id), ("title", &source.title), ("url", &source.url)] {
        others.extend(paths.iter().map(|path| (key, Lead::new(path))));
    }
    for record in incidents.records() {
        // What is no object has none of the values, which is another fault.
        let json = sent(source, incidents.bytes(record));
        let Some(json) = json.filter(|json| json.raw.starts_with('{')) else { continue };
        priorities.add(json.raw, record);
        times.add(json.raw, record);
        identities.add(json.raw);
        for (_, lead) in &mut others {
            lead.follow(json.raw);
        }
    }
    let first = incidents.records().first();
    let first = first.and_then(|record| sent(source, incidents.bytes(record)));
    let first = first.map(|found| found.raw);
    priorities.print(first, lines);
    times.print(first, lines);
    identities.print(first, lines);
    let total = incidents.records().len();
    for (key, lead) in &others {
        let without = total - lead.held;
        let rest =
            if without == 0 { String::new() } else { format!(", {} without", grouped(without)) };
        let values = count(lead.held, "record");
        lines.add(key, &format!("`{}`: {values} with a value{rest}", lead.path()));
        lead.print_dead_end(lines);
    }
    attribution(reading, incidents, tables, lines);
    let is_invalid = source.is_mapped() && priorities.invalid + times.invalid > 0;
    if is_invalid { Verdict::Invalid } else { Verdict::Good }
}

/// What the upstream sent as a record. A mapped source's records stand in an envelope.
fn sent<'a>(source: &config::Source, bytes: &'a [u8]) -> Option<Found<'a>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if source.is_mapped() { Path::name("record").find(text).pop() } else { Some(Found::new(text)) }
}

/// Signs of more pages, and what the paths of `next` and `fail_if` lead to.
fn page_hints(
    source: &config::Source,
    reading: &Reading<Arc<Incidents>>,
    incidents: &Incidents,
    lines: &mut Lines,
) {
    let Origin::Http(http) = &source.origin else { return };
    let Some(page) = reading.pages.first() else { return };
    let Ok(body) = std::str::from_utf8(without_byte_order_mark(&page.body)) else { return };
    let records = incidents.records().len() + incidents.duplicates();
    let next = match &http.next {
        None => {
            let hints = more_pages::hints(body, page.headers.as_ref(), records);
            if !hints.is_empty() {
                lines.add("next", "not set");
            }
            for hint in &hints {
                lines.doubt(hint);
            }
            None
        }
        Some(NextPage::Url(path) | NextPage::Cursor { at: path, .. }) => Some(path),
        Some(NextPage::Offset { more, .. } | NextPage::Number { more, .. }) => more.as_ref(),
        Some(NextPage::Link) => None,
    };
    if let Some(path) = next {
        let mut lead = Lead::new(path);
        lead.follow(body);
        if let Some(end) = lead.dead_end() {
            lines.add("next", &format!("`{path}`: nothing on the first page"));
            lines.doubt(&format!("{end} (right if this is the only page)"));
        }
    }
    for path in &http.fail_if {
        let mut lead = Lead::new(path);
        lead.follow(body);
        // The last name may be missing where nothing has failed.
        if let Some(end) = lead.dead_end()
            && !lead.ends_at_last_step()
        {
            lines.add("fail_if", &format!("`{path}`: nothing on the first page"));
            lines.doubt(&end);
        }
    }
}
