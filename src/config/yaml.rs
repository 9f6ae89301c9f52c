//! YAML text → a tree whose every node knows where it stands, and all that is wrong with the text
//! itself.
//!
//! The parser's events are read directly rather than through serde: a typed deserializer stops at
//! the first fault, and one report is to hold them all. Scalars stay text; what a text means is
//! decided by the setting that it is for, so that `password: 0123` is four characters and `source:
//! no` is a word.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::error::{Found, Problem};

/// How many bytes of text aliases may copy in all.
const MOST_COPIED: usize = 1 << 20;

/// Where a node stands in the text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1, in characters.
    pub column: usize,
}

impl From<Span> for At {
    fn from(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `plain`: written without quotes, so that `null` and `~` mean nothing rather than themselves.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: At,
    pub node: Node,
}

impl Node {
    /// A scalar that is exactly `text`, from outside any YAML.
    pub(super) fn verbatim(text: &str) -> Self {
        Self { at: At::default(), value: Value::Scalar { text: text.to_owned(), plain: false } }
    }

    /// Whether this is YAML's null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What this is, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "plain text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn weight(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(entries) => {
                entries.iter().map(|entry| entry.key.len() + entry.node.weight()).sum()
            }
        }
    }
}

/// What was read from a text.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The root; `None` if the text is empty or no YAML.
    pub root: Option<Node>,
    /// What is wrong with the text, and where.
    pub faults: Vec<(At, Problem)>,
}

/// Reads `text`, going on past every fault that leaves the rest readable.
pub(super) fn parse(text: &str) -> Document {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_break() {
                    break;
                }
            }
            Err(error) => {
                let mark = error.marker();
                let at = At { line: mark.line(), column: mark.col() + 1 };
                builder.document.faults.push((at, Problem::Syntax(error.info())));
                // What came before the fault is not judged: it may mean something else once the
                // fault is mended.
                builder.document.root = None;
                break;
            }
        }
    }
    builder.document
}

#[derive(Default)]
struct Builder {
    document: Document,
    documents: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
}

/// A list or a map whose end has not come yet.
struct Open {
    at: At,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Entry>, Key),
}

/// What a map knows of its next key.
enum Key {
    /// The next node is the key.
    Awaited,
    /// The next node is this key's value.
    Known(String, At),
    /// The next node is the value of something that cannot be a key.
    Refused,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> ControlFlow<()> {
        let at = At::from(span);
        self.check_tag(event.tag(), span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.document.faults.push((at, Problem::SecondDocument));
                    return ControlFlow::Break(());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.finish(
                    Node { at, value: Value::Scalar { text: text.into_owned(), plain } },
                    anchor,
                )?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { at, anchor, kind: OpenKind::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open { at, anchor, kind: OpenKind::Map(Vec::new(), Key::Awaited) });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, kind }) = self.open.pop() {
                    let value = match kind {
                        OpenKind::List(items) => Value::List(items),
                        OpenKind::Map(entries, _) => Value::Map(entries),
                    };
                    self.finish(Node { at, value }, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    self.document.faults.push((at, Problem::AliasOfItself));
                    return ControlFlow::Break(());
                };
                self.spend(&node, at)?;
                self.place(Node { at, ..node });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Takes a whole node: keeps a copy if aliases may name it, and puts it where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> ControlFlow<()> {
        if anchor != 0 {
            self.spend(&node, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node);
        ControlFlow::Continue(())
    }

    /// Accounts for one more copy of `node`, and ends the reading where there have been too many.
    fn spend(&mut self, node: &Node, at: At) -> ControlFlow<()> {
        self.copied += node.weight();
        if self.copied > MOST_COPIED {
            self.document.faults.push((at, Problem::AliasBomb));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn place(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.document.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map(entries, key)) => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => {
                    *key = if let Value::Scalar { text, .. } = node.value {
                        Key::Known(text, node.at)
                    } else {
                        self.document.faults.push((node.at, Problem::KeyNotText));
                        Key::Refused
                    };
                }
                Key::Refused => {}
                Key::Known(name, key_at) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == name) {
                        let problem = Problem::DuplicateKey {
                            key: Found::new(&name),
                            first_line: first.key_at.line,
                        };
                        self.document.faults.push((key_at, problem));
                    } else {
                        entries.push(Entry { key: name, key_at, node });
                    }
                }
            },
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let core = |tag: &Tag| {
            ["str", "int", "float", "bool", "null", "seq", "map"]
                .iter()
                .any(|name| tag.is_yaml_core_schema_tag(name))
        };
        if tag.is_some_and(|tag| !core(tag)) {
            self.document.faults.push((At::from(span.tag_span().unwrap_or(span)), Problem::Tag));
        }
    }
}
