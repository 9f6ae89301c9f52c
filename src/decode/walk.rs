//! Walks a document once: reads its list of records, and captures its other values.
#![expect(clippy::inline_always, reason = "called for every record, as in the scanner")]

use super::document::Document;
use super::error::DecodeError;
use super::walked::Walked;
use super::{BYTE_ORDER_MARK, utf8};
use crate::json::{JsonError, NodeId, Scanner, Selection, Step, Value, ValueKind};

/// Reads records.
pub(super) trait RecordSink {
    /// Reads the record at the scanner's position; `depth` is as for [`Scanner::value`].
    fn record(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Result<(), JsonError>;
}

/// Reads the document that begins at `start` of the body and ends at the body's end; `sink` reads
/// its records. Offsets of faults are those in the document.
pub(super) fn walk(
    document: &Document,
    body: &[u8],
    start: usize,
    sink: &mut impl RecordSink,
) -> Result<Walked, DecodeError> {
    // Spans are 32 bits wide; configuration keeps `max_body` below this.
    if u32::try_from(body.len()).is_err() {
        return Err(TOO_LARGE.into());
    }
    let mut scanner = Scanner::at(body, start);
    scanner.accept_bytes(BYTE_ORDER_MARK);
    scanner.skip_whitespace();
    let walked = Walked {
        captures: document.selection.captures(),
        records: 0,
        list_fault: None,
        element_starts: Vec::new(),
    };
    let mut walk = Walk { document, sink, walked };
    let read = walk.document(&mut scanner).and_then(|()| scanner.end());
    // ASCII is UTF-8, so most bodies need no second pass.
    if read.is_err() || !scanner.is_ascii() {
        utf8(&body[start..])?;
    }
    let in_document =
        |fault: JsonError| JsonError { offset: fault.offset.saturating_sub(start), ..fault };
    read.map_err(in_document)?;
    walk.walked.list_fault = walk.walked.list_fault.map(in_document);
    Ok(walk.walked)
}

/// Offsets would not fit into 32 bits.
pub(super) const TOO_LARGE: JsonError =
    JsonError { offset: 0, fault: "the body is larger than 4 GiB" };

/// The fault of a document without a list.
const NO_LIST: &str = "no `results` in the document";

/// Reads whole lines from `start` of the body on, each of which is a record; returns how many.
/// Blank lines are none. Offsets of faults are those in the lines.
pub(super) fn walk_lines(
    body: &[u8],
    start: usize,
    sink: &mut impl RecordSink,
) -> Result<usize, JsonError> {
    if u32::try_from(body.len()).is_err() {
        return Err(TOO_LARGE);
    }
    utf8(&body[start..])?;
    let in_lines = |fault: JsonError| JsonError { offset: fault.offset - start, ..fault };
    let mut records = 0;
    let mut next = start;
    if body[start..].starts_with(BYTE_ORDER_MARK) {
        next += BYTE_ORDER_MARK.len();
    }
    while next < body.len() {
        let end = memchr::memchr(b'\n', &body[next..]).map_or(body.len(), |line| next + line);
        let mut scanner = Scanner::at(&body[..end], next);
        scanner.skip_whitespace();
        if scanner.position() < end {
            sink.record(&mut scanner, 0).map_err(in_lines)?;
            scanner.end().map_err(in_lines)?;
            records += 1;
        }
        next = end + 1;
    }
    Ok(records)
}

struct Walk<'d, S> {
    document: &'d Document,
    sink: &'d mut S,
    walked: Walked,
}

/// What a value of the document is to the walk.
#[derive(Clone, Copy)]
struct Place<'d> {
    /// Its node in the selection, if it has one.
    node: Option<NodeId>,
    /// The steps from here to the list, if the path to the list leads here.
    steps: Option<&'d [Step]>,
    /// How many arrays and objects are open around it.
    depth: usize,
}

impl<'d, S: RecordSink> Walk<'d, S> {
    fn document(&mut self, scanner: &mut Scanner<'_>) -> Result<(), JsonError> {
        if self.document.is_plain && scanner.peek() != b'{' {
            return scanner.fault("expected an object with `results`");
        }
        let steps = Some(self.document.list.steps());
        self.value(scanner, Place { node: Some(Selection::ROOT), steps, depth: 0 })?;
        Ok(())
    }

    /// Notes that the path to the list does not lead to a list. Ends the walk, unless the rest of
    /// the document may say that the whole answer has failed.
    fn no_list(&mut self, fault: JsonError) -> Result<(), JsonError> {
        if self.document.is_plain && !self.document.can_fail() {
            return Err(fault);
        }
        self.walked.list_fault.get_or_insert(fault);
        Ok(())
    }

    /// Reads a value. A path has fewer steps than arrays and objects may nest, so that only values
    /// that are not walked through can be nested too deep.
    fn value(&mut self, scanner: &mut Scanner<'_>, place: Place<'d>) -> Result<(), JsonError> {
        let Place { node, steps, depth } = place;
        if let Some(node) = node {
            self.document.selection.clear(node, &mut self.walked.captures);
        }
        let start = scanner.position();
        let has_children = || node.is_some_and(|node| self.document.selection.has_children(node));
        let value = match (scanner.peek(), steps) {
            (b'[', Some([])) => {
                *scanner = self.list(*scanner, depth)?;
                Value { kind: ValueKind::Other, start, end: scanner.position() }
            }
            (b'{', Some([_, ..])) => {
                self.members(scanner, place)?;
                Value { kind: ValueKind::Other, start, end: scanner.position() }
            }
            (b'[', Some([step, rest @ ..])) => {
                self.elements(scanner, step, Place { steps: Some(rest), ..place })?;
                Value { kind: ValueKind::Other, start, end: scanner.position() }
            }
            (b'{', None) if has_children() => {
                self.members(scanner, place)?;
                Value { kind: ValueKind::Other, start, end: scanner.position() }
            }
            (_, Some(steps)) => {
                let fault = if steps.is_empty() { "`results` is no array" } else { NO_LIST };
                scanner.fault(fault).or_else(|fault| self.no_list(fault))?;
                self.value_of_any_kind(scanner, place)?
            }
            (_, None) => scanner.value(depth)?,
        };
        if let Some(node) = node {
            self.walked.captures.set(node, value);
        }
        Ok(())
    }

    /// Reads a value in whose place there should be a list.
    fn value_of_any_kind(
        &mut self,
        scanner: &mut Scanner<'_>,
        place: Place<'d>,
    ) -> Result<Value, JsonError> {
        match place.node {
            Some(node) => {
                let captures = &mut self.walked.captures;
                self.document.selection.read(node, scanner, place.depth, captures)
            }
            None => scanner.value(place.depth),
        }
    }

    /// Reads the members of an object.
    fn members(&mut self, scanner: &mut Scanner<'_>, place: Place<'d>) -> Result<(), JsonError> {
        let document = self.document;
        let step = place.steps.and_then(<[Step]>::split_first);
        let mut is_found = matches!(step, Some((Step::Each, _)) | None);
        scanner.object("expected an object", |scanner, spelled| {
            let child = place.node.and_then(|node| {
                document.selection.child(node, spelled.as_bytes(), spelled.contains('\\'))
            });
            let steps = match step {
                Some((Step::Each, rest)) => Some(rest),
                Some((Step::Name(name) | Step::Token(name), rest)) if is_named(spelled, name) => {
                    // Records of the first are already read.
                    if std::mem::replace(&mut is_found, true) {
                        return scanner.fault(if document.is_plain {
                            "a second `results`"
                        } else {
                            "a second member of a name on the path to the list"
                        });
                    }
                    Some(rest)
                }
                _ => None,
            };
            self.value(scanner, Place { node: child, steps, depth: place.depth + 1 })
        })?;
        if is_found { Ok(()) } else { self.no_list(JsonError { offset: 0, fault: NO_LIST }) }
    }

    /// Reads the elements of an array on the path to the list; `place` has the steps that follow
    /// `step`.
    fn elements(
        &mut self,
        scanner: &mut Scanner<'_>,
        step: &Step,
        place: Place<'d>,
    ) -> Result<(), JsonError> {
        let wanted = match step {
            Step::Each => None,
            Step::Index(index) if *index < 0 => {
                // Which element it is shows at the array's end.
                let length = count_elements(*scanner)?;
                Some(length.wrapping_sub(usize::try_from(index.unsigned_abs()).unwrap_or(0)))
            }
            Step::Index(index) => Some(usize::try_from(*index).unwrap_or(usize::MAX)),
            Step::Token(token) => Some(crate::json::canonical_index(token).unwrap_or(usize::MAX)),
            Step::Name(_) => Some(usize::MAX),
        };
        let mut index = 0;
        let mut is_found = wanted.is_none();
        array(scanner, |scanner| {
            let is_wanted = wanted.is_none_or(|wanted| wanted == index);
            index += 1;
            is_found |= is_wanted;
            let steps = place.steps.filter(|_| is_wanted);
            self.value(scanner, Place { node: None, steps, depth: place.depth + 1 })
        })?;
        if is_found { Ok(()) } else { self.no_list(JsonError { offset: 0, fault: NO_LIST }) }
    }

    /// Reads the array of records. The scanner is passed by value so that its position stays in a
    /// register.
    fn list<'a>(
        &mut self,
        mut scanner: Scanner<'a>,
        depth: usize,
    ) -> Result<Scanner<'a>, JsonError> {
        let is_indexed = self.document.indexed_list.is_some();
        let mut records = 0;
        array(&mut scanner, |scanner| {
            if is_indexed {
                self.walked.element_starts.push(scanner.position());
            }
            records += 1;
            self.sink.record(scanner, depth + 1)
        })?;
        self.walked.records += records;
        Ok(scanner)
    }
}

fn count_elements(mut scanner: Scanner<'_>) -> Result<usize, JsonError> {
    let mut count = 0;
    array(&mut scanner, |scanner| {
        count += 1;
        scanner.value(1).map(drop)
    })?;
    Ok(count)
}

/// Reads an array from its opening bracket on; `element` must read each element.
#[inline(always)]
fn array<'a>(
    scanner: &mut Scanner<'a>,
    mut element: impl FnMut(&mut Scanner<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    scanner.expect(b'[', "expected an array")?;
    scanner.skip_whitespace();
    if scanner.accept(b']') {
        return Ok(());
    }
    loop {
        element(scanner)?;
        scanner.skip_whitespace();
        if scanner.accept(b']') {
            return Ok(());
        }
        scanner.expect(b',', "expected a comma or a closing bracket")?;
        scanner.skip_whitespace();
    }
}

/// Whether a name as spelled between its quotes is this name.
fn is_named(spelled: &str, name: &str) -> bool {
    spelled == name
        || (spelled.contains('\\') && crate::json::unescape(spelled).as_deref() == Some(name))
}
