//! Reads the maps and lists below a setting, and collects all that is wrong with them.

use super::error::{ConfigErrorKind, Excerpt};
use super::nearest::nearest;
use super::value::text;
use super::yaml::{Entry, Node, Position, Value};

/// An error below a setting.
#[derive(Debug)]
pub(super) struct Fault {
    pub position: Position,
    /// The dotted path, such as `sources[2].path`.
    pub path: String,
    pub kind: ConfigErrorKind,
}

/// Collects faults, and knows the path of the node that is being read.
///
/// A value that cannot be read is `None`, like one that is absent, so callers must check
/// [`Self::faults`] before they use the result.
#[derive(Debug, Default)]
pub(super) struct Reader {
    path: String,
    pub faults: Vec<Fault>,
}

impl Reader {
    /// A reader of the node at `path`.
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), faults: Vec::new() }
    }

    /// Reports an error of the present node.
    pub(super) fn report(&mut self, position: Position, kind: ConfigErrorKind) {
        self.faults.push(Fault { position, path: self.path.clone(), kind });
    }

    /// Reports an error of the value with this key in the present map.
    pub(super) fn report_at(&mut self, position: Position, key: &str, kind: ConfigErrorKind) {
        let path = format!("{}.{}", self.path, Excerpt::bare(key));
        self.faults.push(Fault { position, path, kind });
    }

    /// Runs `read` on what is one step below, such as `.path` or `[2]`.
    pub(super) fn below<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// The value, unless it is an error of `node`, which is reported.
    pub(super) fn value<T>(&mut self, node: &Node, value: Result<T, ConfigErrorKind>) -> Option<T> {
        value.map_err(|kind| self.report(node.position, kind)).ok()
    }

    /// A text that is not empty and has no control characters.
    pub(super) fn line(&mut self, node: &Node, expected: &'static str) -> Option<String> {
        let line = match text(node, expected) {
            Ok("") => Err(ConfigErrorKind::Empty { expected }),
            Ok(text) if text.contains(char::is_control) => Err(ConfigErrorKind::NotALine),
            Ok(text) => Ok(text.to_owned()),
            Err(kind) => Err(kind),
        };
        self.value(node, line)
    }

    /// The fields of a map whose keys are all among `known`; others are reported.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        expected: &'static str,
        known: &'n [&'static str],
    ) -> Option<Fields<'n>> {
        let entries = self.entries(node, expected)?;
        for entry in entries {
            let key = entry.key.as_str();
            if !known.contains(&key) {
                let nearest = nearest(key, known.iter().copied()).map(ToOwned::to_owned);
                let kind = ConfigErrorKind::UnknownKey { nearest, known: known.join(", ") };
                self.report_at(entry.key_position, key, kind);
            }
        }
        Some(Fields { position: node.position, entries, known })
    }

    /// The entries of a map with any keys.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        expected: &'static str,
    ) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Map(entries) => {
                let is_long = |entry: &&Entry| entry.key.chars().count() > MAX_KEY_CHARS;
                let Some(entry) = entries.iter().find(is_long) else { return Some(entries) };
                let detail = format!("is longer than {MAX_KEY_CHARS} characters; shorten it");
                self.report_at(entry.key_position, &entry.key, ConfigErrorKind::Detail(detail));
                None
            }
            _ if node.is_null() => self.value(node, Err(ConfigErrorKind::Empty { expected })),
            _ => {
                let found = node.kind();
                self.value(node, Err(ConfigErrorKind::WrongShape { expected, found }))
            }
        }
    }

    /// The value of a key, if the key is there and its value is good.
    pub(super) fn optional<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = fields.get(key)?;
        self.below(&format!(".{key}"), |reader| read(reader, node))
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        if !fields.has(key) {
            self.report(fields.position, ConfigErrorKind::MissingKey { key });
        }
        self.optional(fields, key, read)
    }

    /// The values of the items of a list, or of a single value.
    pub(super) fn one_or_more<T>(
        &mut self,
        node: &Node,
        expected: &'static str,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.value(node, Err(ConfigErrorKind::Empty { expected }))
            }
            Value::List(items) if items.len() > MAX_ITEMS => {
                let kind = ConfigErrorKind::TooMany { found: items.len(), most: MAX_ITEMS };
                self.value(node, Err(kind))
            }
            Value::List(items) => {
                // All are read before any is missed, so that each has its error reported.
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.push(self.below(&format!("[{index}]"), |reader| read(reader, item)));
                }
                values.into_iter().collect()
            }
            _ => read(self, node).map(|value| vec![value]),
        }
    }

    /// Refuses `key`, if it is there, beside `other`.
    pub(super) fn refuse_beside(&mut self, fields: &Fields<'_>, key: &str, other: &'static str) {
        self.refuse(fields, key, ConfigErrorKind::Excludes { other });
    }

    /// Refuses `key`, if it is there and known in this map.
    pub(super) fn refuse(&mut self, fields: &Fields<'_>, key: &str, kind: ConfigErrorKind) {
        if let Some(position) = fields.position_of(key).filter(|_| fields.known.contains(&key)) {
            self.report_at(position, key, kind);
        }
    }

    /// Refuses `key`, if it is there and known in this map; `detail` says why and what to do.
    pub(super) fn refuse_because(&mut self, fields: &Fields<'_>, key: &str, detail: &str) {
        self.refuse(fields, key, ConfigErrorKind::Detail(detail.to_owned()));
    }
}

/// The longest key, so that it can be printed as one that YAML accepts, even if every character is
/// escaped.
const MAX_KEY_CHARS: usize = 100;

/// The most items of a list within a source.
const MAX_ITEMS: usize = 100;

/// The fields of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'n> {
    pub position: Position,
    entries: &'n [Entry],
    known: &'n [&'static str],
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where a key stands.
    pub(super) fn position_of(&self, key: &str) -> Option<Position> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_position)
    }
}
