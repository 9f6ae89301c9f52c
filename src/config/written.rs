//! A value to be printed as YAML.

use super::value::show_text;

/// A value to be printed. A key is at its place even if its value is the default, unless its
/// setting says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// A scalar as it is spelled in YAML.
    Scalar(String),
    List(Vec<Written>),
    Map(Fields),
}

/// The members of a map, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Written)>);

impl Written {
    /// A text, quoted if it needs to be.
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(show_text(text))
    }

    /// The only item, or a list of several.
    pub(super) fn one_or_more(mut items: Vec<Self>) -> Self {
        if items.len() == 1 { items.remove(0) } else { Self::List(items) }
    }

    /// The value on one line.
    pub(super) fn flow(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::flow).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(fields) => fields.flow(),
        }
    }
}

impl From<Fields> for Written {
    fn from(fields: Fields) -> Self {
        Self::Map(fields)
    }
}

impl Fields {
    /// Adds a member.
    pub(super) fn add(&mut self, key: &str, value: Written) {
        self.0.push((key.to_owned(), value));
    }

    /// Adds a member with a text.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.add(key, Written::text(text));
    }

    /// Adds a member whose value is spelled in YAML as `text`.
    pub(super) fn scalar(&mut self, key: &str, text: String) {
        self.add(key, Written::Scalar(text));
    }

    /// The map on one line.
    fn flow(&self) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(key, value)| format!("{}: {}", show_text(key), value.flow()))
            .collect();
        format!("{{ {} }}", members.join(", "))
    }

    /// The map with a line for each member, each indented by `indent`.
    pub(super) fn lines(&self, indent: &str) -> String {
        let line = |(key, value): &(String, Written)| {
            format!("{indent}{}: {}", show_text(key), value.flow())
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The map as an item of a block list: on one line if that is short, else a line for each
    /// member.
    pub(super) fn item(&self) -> String {
        let flow = format!("  - {}", self.flow());
        if flow.chars().count() <= MAX_LINE_CHARS {
            return flow;
        }
        let lines = self.lines("    ");
        format!("  - {}", lines.trim_start())
    }
}

/// The longest item of a list that is printed on one line.
const MAX_LINE_CHARS: usize = 100;
