//! A source's document: where its list of records is, and what it says about the list.

use std::ops::ControlFlow;

use super::BYTE_ORDER_MARK;
use super::error::{AnswerError, DecodeError};
use super::page_end::PageEnd;
use super::walked::Walked;
use crate::config::Origin;
use crate::json::{Captures, Found, NodeId, Path, Selection, Step, ValueKind, find};
use crate::request::NextPage;

/// The longest value at the path of `next` or `more`, in bytes.
const MAX_PAGE_VALUE_BYTES: usize = 64 << 10;

/// The paths of a source's document, compiled.
#[derive(Debug)]
pub(super) struct Document {
    /// The path to the list.
    pub(super) list: Path,
    /// Whether the source is plain: its faults are those of the list `results` in an object.
    pub(super) is_plain: bool,
    pub(super) selection: Selection,
    /// The positions of these paths in `selection`.
    next: Option<usize>,
    more: Option<usize>,
    fail_if: Vec<(usize, Path)>,
    truncation: Option<Truncation>,
    /// The node of the list, if paths lead to single elements of it.
    pub(super) indexed_list: Option<NodeId>,
}

/// The positions in the selection of the members that say that there are more records, in the
/// answer of a plain source without `next`.
#[derive(Clone, Copy, Debug)]
struct Truncation {
    next: usize,
    count: usize,
}

impl Document {
    /// The document of a source or table with its list at `list`.
    pub(super) fn new(list: &Path, origin: &Origin, is_plain: bool) -> Self {
        let http = match origin {
            Origin::Http(http) => Some(http),
            Origin::File(_) => None,
        };
        let mut paths = Vec::new();
        let mut add = |path: &Path| {
            paths.push(path.clone());
            paths.len() - 1
        };
        let (mut next, mut more) = (None, None);
        match http.and_then(|http| http.next.as_ref()) {
            Some(NextPage::Url(path) | NextPage::Cursor { at: path, .. }) => next = Some(add(path)),
            Some(NextPage::Offset { more: path, .. } | NextPage::Number { more: path, .. }) => {
                more = path.as_ref().map(&mut add);
            }
            Some(NextPage::Link) | None => {}
        }
        let fail_if = http.map(|http| http.fail_if.as_slice()).unwrap_or_default();
        let fail_if = fail_if.iter().map(|path| (add(path), path.clone())).collect();
        let is_single_page = http.is_some_and(|http| http.next.is_none());
        let truncation = (is_plain && is_single_page).then(|| Truncation {
            next: add(&Path::name("next")),
            count: add(&Path::name("count")),
        });
        let selection = Selection::new(&paths);
        let list_node = list.steps().iter().try_fold(Selection::ROOT, |node, step| match step {
            Step::Name(name) | Step::Token(name) => selection.child(node, name.as_bytes(), false),
            Step::Index(_) | Step::Each => None,
        });
        let indexed_list = list_node.filter(|list| {
            (0..paths.len()).map(|path| selection.target(path)).any(|(node, rest)| {
                node == *list && matches!(rest.first(), Some(Step::Index(_) | Step::Token(_)))
            })
        });
        Self {
            list: list.clone(),
            is_plain,
            selection,
            next,
            more,
            fail_if,
            truncation,
            indexed_list,
        }
    }

    /// Whether there are paths at which an answer can say that it has failed.
    pub(super) fn can_fail(&self) -> bool {
        !self.fail_if.is_empty()
    }

    /// What a page says, once it has been read: whether it is the answer that the configuration
    /// describes, and what follows.
    pub(super) fn page_end(&self, body: &[u8], walked: &Walked) -> Result<PageEnd, DecodeError> {
        for (position, path) in &self.fail_if {
            let mut is_failed = false;
            self.visit(*position, body, walked, |found| is_failed |= says_something(found));
            if is_failed {
                return Err(failed(path));
            }
        }
        if let Some(fault) = walked.list_fault {
            if self.is_plain {
                return Err(fault.into());
            }
            let hint = match self.list.steps().last() {
                Some(Step::Each) => "; if the records are the elements, leave out the last `[*]`",
                _ => "",
            };
            let detail = format!("the answer has no list at `{}`{hint}", self.list);
            return Err(AnswerError::new(detail).into());
        }
        let value = |position: Option<usize>, key: &str| -> Result<Option<String>, DecodeError> {
            let Some(position) = position else { return Ok(None) };
            let mut first = None;
            self.visit(position, body, walked, |found| first = first.or(Some(found.raw)));
            if first.is_some_and(|raw| raw.len() > MAX_PAGE_VALUE_BYTES) {
                let detail = format!("the value of `{key}` is larger than 64 KiB");
                return Err(AnswerError::new(detail).into());
            }
            Ok(first.map(str::to_owned))
        };
        let (next, more) = (value(self.next, "next")?, value(self.more, "more")?);
        Ok(PageEnd { records: walked.records, next, more })
    }

    /// Whether a plain source's document says that there are more than `records` records: its
    /// member `next` names a further page, or its `count` is greater.
    pub(super) fn is_truncated(&self, captures: &Captures, body: &[u8], records: usize) -> bool {
        let Some(Truncation { next, count }) = self.truncation else { return false };
        let member = |position: usize| {
            captures.get(self.selection.target(position).0).and_then(|value| value.found(body))
        };
        let has_next =
            member(next).is_some_and(|next| !matches!(next.raw, "null" | "false" | "\"\""));
        has_next
            || member(count)
                .filter(|count| count.kind == ValueKind::Number)
                .and_then(|count| count.raw.parse().ok())
                .is_some_and(|count: f64| count > records as f64)
    }

    /// Calls `visit` for the values of a path of the document.
    fn visit<'t>(
        &self,
        path: usize,
        body: &'t [u8],
        walked: &Walked,
        mut visit: impl FnMut(Found<'t>),
    ) {
        let (node, steps) = self.selection.target(path);
        let is_in_list = Some(node) == self.indexed_list;
        // A list may have a hundred thousand elements, of which the walk has noted the positions.
        let element = match steps.split_first() {
            Some((Step::Index(index), rest)) if is_in_list => Some((walked.element(*index), rest)),
            Some((Step::Token(token), rest)) if is_in_list => {
                Some((token.parse().ok().and_then(|index| walked.element(index)), rest))
            }
            _ => None,
        };
        match element {
            Some((start, rest)) => {
                let element = start.and_then(|start| element_at(body, start));
                element.iter().flat_map(|element| find(*element, rest)).for_each(visit);
            }
            None => {
                let _ = self.selection.visit(path, &walked.captures, body, &mut |found| {
                    visit(found);
                    ControlFlow::<()>::Continue(())
                });
            }
        }
    }
}

/// The element of a list that starts at this position.
fn element_at(body: &[u8], start: usize) -> Option<Found<'_>> {
    let mut scanner = crate::json::Scanner::at(body, start);
    scanner.value(1).ok()?.found(body)
}

/// A fault if a document, which must be valid JSON, has something at one of the paths `fail_if`.
pub(crate) fn check_fail_if(fail_if: &[Path], body: &[u8]) -> Result<(), DecodeError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let Ok(text) = std::str::from_utf8(body) else { return Ok(()) };
    match fail_if.iter().find(|path| path.find(text).into_iter().any(says_something)) {
        Some(path) => Err(failed(path)),
        None => Ok(()),
    }
}

fn failed(path: &Path) -> DecodeError {
    AnswerError::new(format!("the answer has something at `{path}`")).into()
}

/// Whether a value says that something has failed: it is not null, false, 0, `""`, `[]` or `{}`.
fn says_something(value: Found<'_>) -> bool {
    match value.kind {
        ValueKind::Number => value.raw.parse().is_ok_and(|number: f64| number != 0.0),
        ValueKind::String => value.raw != "\"\"",
        ValueKind::Other => {
            !matches!(value.raw, "null" | "false")
                && !matches!(value.raw.as_bytes(), [b'[' | b'{', inside @ .., _]
                    if inside.trim_ascii().is_empty())
        }
    }
}
