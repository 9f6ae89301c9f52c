//! Parses and prints the list of incident sources.

use super::error::{ConfigErrorKind, Excerpt};
use super::value::{path, show_text, text};
use super::yaml::{Entry, Node, Position, Value};
use super::{IDENTITIES, Origin, Source};

const LIST: &str = "a list of sources, such as `- { name: denial, path: /incidents/denial/, \
    identity: reported_by }`";
const NAME: &str =
    "a source's name (a lower-case letter, then at most 63 lower-case letters, digits, `_` or `-`)";
const IDENTITY: &str =
    "the record's field that names the employee, such as `employee_id`, or a list of such fields";
/// The longest name of a source.
const MAX_NAME_BYTES: usize = 64;

const KEYS: [&str; 3] = ["name", "path", "identity"];

/// The most sources; records keep their source's index in 16 bits.
const MAX_SOURCES: usize = 1000;

/// An error in the list of sources.
#[derive(Debug)]
pub(super) struct SourceError {
    /// The position in the text.
    pub position: Position,
    /// The path below the setting, such as `[2].path`.
    pub below: String,
    /// What is wrong.
    pub kind: ConfigErrorKind,
}

/// Parses the whole list.
///
/// # Errors
///
/// All errors of all sources.
pub(super) fn read(node: &Node) -> Result<Vec<Source>, Vec<SourceError>> {
    let whole =
        |kind| Err(vec![SourceError { position: node.position, below: String::new(), kind }]);
    let Value::List(items) = &node.value else {
        if node.is_null() {
            return whole(ConfigErrorKind::Empty { expected: LIST });
        }
        return whole(ConfigErrorKind::WrongShape { expected: LIST, found: node.kind() });
    };
    if items.is_empty() {
        return whole(ConfigErrorKind::Empty { expected: LIST });
    }
    if items.len() > MAX_SOURCES {
        return whole(ConfigErrorKind::TooMany { found: items.len(), most: MAX_SOURCES });
    }
    let mut sources: Vec<Source> = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut reader = Reader { index, errors: &mut errors };
        let Some((source, name_position)) = reader.source(item) else { continue };
        if sources.iter().any(|other| other.name == source.name) {
            reader.report(
                name_position,
                "name",
                ConfigErrorKind::DuplicateSource { name: source.name.clone() },
            );
        }
        sources.push(source);
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

struct Reader<'a> {
    index: usize,
    errors: &'a mut Vec<SourceError>,
}

impl Reader<'_> {
    fn report(&mut self, position: Position, key: &str, kind: ConfigErrorKind) {
        let dot = if key.is_empty() || key.starts_with('[') { "" } else { "." };
        let below = format!("[{}]{dot}{key}", self.index);
        self.errors.push(SourceError { position, below, kind });
    }

    /// Parses one source; returns it with the position of its name.
    fn source(&mut self, item: &Node) -> Option<(Source, Position)> {
        let Value::Map(entries) = &item.value else {
            let expected = "a map with the keys `name`, `path` and `identity`";
            self.report(
                item.position,
                "",
                ConfigErrorKind::WrongShape { expected, found: item.kind() },
            );
            return None;
        };
        for entry in entries {
            if !KEYS.contains(&entry.key.as_str()) {
                let nearest = super::nearest::nearest(&entry.key, KEYS).map(ToOwned::to_owned);
                let kind = ConfigErrorKind::UnknownKey { nearest, known: KEYS.join(", ") };
                let below = format!("[{}].{}", self.index, Excerpt::bare(&entry.key));
                self.errors.push(SourceError { position: entry.key_position, below, kind });
            }
        }
        let name = self.field(item, entries, "name", name);
        let path = self.field(item, entries, "path", path);
        let identity = self.field(item, entries, "identity", identity);
        let (name, position) = name?;
        let (path, identity) = (path?.0, identity?.0);
        let identity: Vec<&str> = identity.iter().map(String::as_str).collect();
        Some((Source::plain(&name, &path, &identity), position))
    }

    fn field<T>(
        &mut self,
        item: &Node,
        entries: &[Entry],
        key: &'static str,
        read: fn(&Node) -> Result<T, ConfigErrorKind>,
    ) -> Option<(T, Position)> {
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            self.report(item.position, "", ConfigErrorKind::MissingKey { key });
            return None;
        };
        match read(&entry.node) {
            Ok(value) => Some((value, entry.node.position)),
            Err(kind) => {
                self.report(entry.node.position, key, kind);
                None
            }
        }
    }
}

fn name(node: &Node) -> Result<String, ConfigErrorKind> {
    let text = text(node, NAME)?;
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !text.starts_with(|c: char| c.is_ascii_lowercase())
        || !text.chars().all(rest)
        || text.len() > MAX_NAME_BYTES
    {
        return Err(ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: NAME });
    }
    if text == IDENTITIES {
        return Err(ConfigErrorKind::ReservedSource);
    }
    Ok(text.to_owned())
}

fn identity(node: &Node) -> Result<Vec<String>, ConfigErrorKind> {
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        return Err(ConfigErrorKind::Empty { expected: IDENTITY });
    }
    let field = |node| match text(node, IDENTITY)? {
        "" => Err(ConfigErrorKind::Empty { expected: IDENTITY }),
        text => Ok(text.to_owned()),
    };
    nodes.iter().map(field).collect()
}

/// Prints the list as YAML, with a line for each source.
pub(super) fn show(sources: &[Source]) -> String {
    let line = |source: &Source| {
        let fields: Vec<_> =
            source.identity.iter().map(|entry| show_text(entry.at.as_str())).collect();
        let identity = match fields.as_slice() {
            [field] => field.clone(),
            fields => format!("[{}]", fields.join(", ")),
        };
        let path = match &source.origin {
            Origin::Http(http) => &http.request.path,
            Origin::File(pattern) => pattern,
        };
        let (name, path) = (show_text(&source.name), show_text(path));
        format!("\n  - {{ name: {name}, path: {path}, identity: {identity} }}")
    };
    sources.iter().map(line).collect()
}
