//! Parses YAML into a tree of nodes with their positions, and collects all syntax errors.
//!
//! This uses the parser's events rather than serde, because a typed deserializer stops at the first
//! error, while one report should have them all. Scalars stay text, which each setting interprets,
//! so that `password: 0123` is four characters and `name: no` is a word.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::error::{ConfigErrorKind, Excerpt};

/// The most bytes that all aliases together may expand to.
const MAX_ALIASED_BYTES: usize = 1 << 20;

/// The input that is the configuration file.
pub(super) const FILE_INPUT: usize = 0;

/// A position in the file, or in the value of a variable or a flag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Position {
    /// The index of the file, variable or flag among the loader's inputs.
    pub input: usize,
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1, in characters.
    pub column: usize,
}

impl Position {
    /// Where an input begins.
    pub(super) const fn start_of(input: usize) -> Self {
        Self { input, line: 1, column: 1 }
    }

    /// Whether this is in the configuration file, not in a variable or a flag.
    pub(super) const fn is_in_file(self) -> bool {
        self.input == FILE_INPUT
    }
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub position: Position,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `plain`: without quotes or a tag, so that `null` and `~` mean null.
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
    pub key_position: Position,
    pub node: Node,
}

impl Node {
    /// A scalar that is exactly `text`, the value of an input that is not YAML.
    pub(super) fn verbatim(text: &str, input: usize) -> Self {
        Self {
            position: Position::start_of(input),
            value: Value::Scalar { text: text.to_owned(), plain: false },
        }
    }

    /// Whether this is null in YAML.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// Whether this is null or a map without entries.
    pub(super) fn is_empty(&self) -> bool {
        self.is_null() || matches!(&self.value, Value::Map(entries) if entries.is_empty())
    }

    /// The items of a list; others have none.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// The kind of node, with an article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "plain text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// About how many bytes a copy takes.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => {
                entries.iter().map(|entry| entry.key.len() + entry.node.size()).sum()
            }
        }
    }
}

/// The result of parsing.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// `None` if the text is empty or not valid YAML.
    pub root: Option<Node>,
    /// The errors of the text itself.
    pub errors: Vec<(Position, ConfigErrorKind)>,
}

/// Parses the text of an input, and continues after each error that leaves the rest readable.
pub(super) fn parse(text: &str, input: usize) -> Document {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder { input, ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_break() {
                    break;
                }
            }
            Err(error) => {
                let mark = error.marker();
                let position = Position { input, line: mark.line(), column: mark.col() + 1 };
                builder.document.errors.push((position, ConfigErrorKind::Syntax(error.info())));
                // What precedes the error may mean something else once it is corrected.
                builder.document.root = None;
                break;
            }
        }
    }
    builder.document
}

#[derive(Default)]
struct Builder {
    input: usize,
    document: Document,
    document_count: usize,
    /// The lists and maps that have not ended, the innermost last.
    open: Vec<Open>,
    /// The nodes that aliases may refer to, by anchor.
    anchors: BTreeMap<usize, Node>,
    copied_bytes: usize,
}

/// A list or a map that has not ended.
struct Open {
    position: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Entry>, Key),
}

/// What the next node of a map is.
enum Key {
    /// The next node is the key.
    Awaited,
    /// The next node is this key's value.
    Known(String, Position),
    /// The next node is the value of something that cannot be a key.
    Refused,
}

impl Builder {
    fn position(&self, span: Span) -> Position {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        Position { input: self.input, line, column }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> ControlFlow<()> {
        let position = self.position(span);
        self.check_tag(event.tag(), span);
        match event {
            Event::DocumentStart(..) => {
                self.document_count += 1;
                if self.document_count > 1 {
                    self.document.errors.push((position, ConfigErrorKind::SecondDocument));
                    return ControlFlow::Break(());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.finish(
                    Node { position, value: Value::Scalar { text: text.into_owned(), plain } },
                    anchor,
                )?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { position, anchor, kind: OpenKind::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open {
                    position,
                    anchor,
                    kind: OpenKind::Map(Vec::new(), Key::Awaited),
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { position, anchor, kind }) = self.open.pop() {
                    let value = match kind {
                        OpenKind::List(items) => Value::List(items),
                        OpenKind::Map(entries, _) => Value::Map(entries),
                    };
                    self.finish(Node { position, value }, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    self.document.errors.push((position, ConfigErrorKind::AliasOfItself));
                    return ControlFlow::Break(());
                };
                self.count_copy(&node, position)?;
                self.insert(Node { position, ..node });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Inserts a complete node, and keeps a copy if aliases may refer to it.
    fn finish(&mut self, node: Node, anchor: usize) -> ControlFlow<()> {
        if anchor != 0 {
            self.count_copy(&node, node.position)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.insert(node);
        ControlFlow::Continue(())
    }

    /// Counts one more copy of `node`, and stops parsing if copies take too many bytes.
    fn count_copy(&mut self, node: &Node, position: Position) -> ControlFlow<()> {
        self.copied_bytes += node.size();
        if self.copied_bytes > MAX_ALIASED_BYTES {
            self.document.errors.push((position, ConfigErrorKind::AliasBomb));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn insert(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.document.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map(entries, key)) => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => {
                    *key = if let Value::Scalar { text, .. } = node.value {
                        Key::Known(text, node.position)
                    } else {
                        self.document.errors.push((node.position, ConfigErrorKind::KeyNotText));
                        Key::Refused
                    };
                }
                Key::Refused => {}
                Key::Known(name, key_position) => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == name) {
                        let kind = ConfigErrorKind::DuplicateKey {
                            key: Excerpt::new(&name),
                            first_line: first.key_position.line,
                        };
                        self.document.errors.push((key_position, kind));
                    } else {
                        entries.push(Entry { key: name, key_position, node });
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
            let position = self.position(span.tag_span().unwrap_or(span));
            self.document.errors.push((position, ConfigErrorKind::Tag));
        }
    }
}
