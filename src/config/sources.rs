//! The list of incident sources: YAML → [`Source`]s, and back.

use super::error::{Found, Problem};
use super::value::{path, show_text, text};
use super::yaml::{At, Entry, Node, Value};
use super::{IDENTITIES, Source};

const LIST: &str = "a list of sources, such as `- { name: denial, path: /incidents/denial/, identity: reported_by }`";
const NAME: &str =
    "a source's name (a lower-case letter, then at most 63 lower-case letters, digits, `_` or `-`)";
const IDENTITY: &str =
    "the record's field that names the employee, such as `employee_id`, or a list of such fields";
const KEYS: [&str; 3] = ["name", "path", "identity"];

/// Far beyond what one upstream has; what is kept for each record has 14 bits for its source.
const MOST: usize = 1000;

/// A fault inside a setting's value.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Where, in the text.
    pub at: At,
    /// Where, below the setting: `[2].path`.
    pub below: String,
    /// What.
    pub problem: Problem,
}

/// Reads the whole list, and reports every fault of every source.
pub(super) fn read(node: &Node) -> Result<Vec<Source>, Vec<Mistake>> {
    let whole = |problem| Err(vec![Mistake { at: node.at, below: String::new(), problem }]);
    let Value::List(items) = &node.value else {
        if node.is_null() {
            return whole(Problem::Empty { expected: LIST });
        }
        return whole(Problem::WrongShape { expected: LIST, found: node.kind() });
    };
    if items.is_empty() {
        return whole(Problem::Empty { expected: LIST });
    }
    if items.len() > MOST {
        return whole(Problem::TooMany { found: items.len(), most: MOST });
    }
    let mut sources: Vec<Source> = Vec::with_capacity(items.len());
    let mut mistakes = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut reader = Reader { index, mistakes: &mut mistakes };
        let Some((source, name_at)) = reader.source(item) else { continue };
        if sources.iter().any(|other| other.name == source.name) {
            reader.mistake(name_at, "name", Problem::DuplicateSource { name: source.name.clone() });
        }
        sources.push(source);
    }
    if mistakes.is_empty() { Ok(sources) } else { Err(mistakes) }
}

struct Reader<'a> {
    index: usize,
    mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, at: At, key: &str, problem: Problem) {
        let dot = if key.is_empty() || key.starts_with('[') { "" } else { "." };
        let below = format!("[{}]{dot}{key}", self.index);
        self.mistakes.push(Mistake { at, below, problem });
    }

    /// One source, and where its name stands.
    fn source(&mut self, item: &Node) -> Option<(Source, At)> {
        let Value::Map(entries) = &item.value else {
            let expected = "a map with the keys `name`, `path` and `identity`";
            self.mistake(item.at, "", Problem::WrongShape { expected, found: item.kind() });
            return None;
        };
        for entry in entries {
            if !KEYS.contains(&entry.key.as_str()) {
                let nearest = super::nearest::nearest(&entry.key, KEYS).map(ToOwned::to_owned);
                let problem = Problem::UnknownKey { nearest, known: KEYS.join(", ") };
                let below = format!("[{}].{}", self.index, Found::bare(&entry.key));
                self.mistakes.push(Mistake { at: entry.key_at, below, problem });
            }
        }
        let name = self.field(item, entries, "name", name);
        let path = self.field(item, entries, "path", path);
        let identity = self.field(item, entries, "identity", identity);
        let (name, at) = name?;
        Some((Source { name, path: path?.0, identity: identity?.0 }, at))
    }

    fn field<T>(
        &mut self,
        item: &Node,
        entries: &[Entry],
        key: &'static str,
        read: fn(&Node) -> Result<T, Problem>,
    ) -> Option<(T, At)> {
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            self.mistake(item.at, "", Problem::MissingKey { key });
            return None;
        };
        match read(&entry.node) {
            Ok(value) => Some((value, entry.node.at)),
            Err(problem) => {
                self.mistake(entry.node.at, key, problem);
                None
            }
        }
    }
}

fn name(node: &Node) -> Result<String, Problem> {
    let text = text(node, NAME)?;
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !text.starts_with(|c: char| c.is_ascii_lowercase())
        || !text.chars().all(rest)
        || text.len() > 64
    {
        return Err(Problem::Unparsable { found: Found::new(text), expected: NAME });
    }
    if text == IDENTITIES {
        return Err(Problem::ReservedSource);
    }
    Ok(text.to_owned())
}

fn identity(node: &Node) -> Result<Vec<String>, Problem> {
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        return Err(Problem::Empty { expected: IDENTITY });
    }
    let field = |node| match text(node, IDENTITY)? {
        "" => Err(Problem::Empty { expected: IDENTITY }),
        text => Ok(text.to_owned()),
    };
    nodes.iter().map(field).collect()
}

/// The list as YAML, a source a line.
pub(super) fn show(sources: &[Source]) -> String {
    let line = |source: &Source| {
        let fields: Vec<_> = source.identity.iter().map(|field| show_text(field)).collect();
        let identity = match fields.as_slice() {
            [field] => field.clone(),
            fields => format!("[{}]", fields.join(", ")),
        };
        let (name, path) = (show_text(&source.name), show_text(&source.path));
        format!("\n  - {{ name: {name}, path: {path}, identity: {identity} }}")
    };
    sources.iter().map(line).collect()
}
