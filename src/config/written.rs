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

    /// The value behind a key that is indented by `indent` and ends in column `column`: on the
    /// same line if it is short, else below it, indented further.
    pub(super) fn after(&self, indent: usize, column: usize) -> String {
        let flow = self.flow();
        let is_short = column + 1 + flow.chars().count() <= MAX_LINE_CHARS;
        match self {
            Self::Map(fields) if !is_short => format!("\n{}", fields.block(indent + 2)),
            Self::List(items) if !is_short => {
                let items = items.iter().map(|item| item.item(indent + 2));
                format!("\n{}", items.collect::<Vec<_>>().join("\n"))
            }
            _ => format!(" {flow}"),
        }
    }

    /// The value as an item of a block list.
    fn item(&self, indent: usize) -> String {
        match self {
            Self::Map(fields) => fields.item(indent),
            _ => format!("{}- {}", " ".repeat(indent), self.flow()),
        }
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

    /// The map with a line for each member, each indented by `indent` spaces; what is too long for
    /// a line goes on below it.
    pub(super) fn block(&self, indent: usize) -> String {
        let line = |(key, value): &(String, Written)| {
            let margin = " ".repeat(indent);
            let key = show_text(key);
            format!("{margin}{key}:{}", value.after(indent, indent + key.len() + 1))
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The map as an item of a block list: on one line if that is short, else a line for each
    /// member.
    pub(super) fn item(&self, indent: usize) -> String {
        let margin = " ".repeat(indent);
        let flow = format!("{margin}- {}", self.flow());
        if flow.chars().count() <= MAX_LINE_CHARS {
            return flow;
        }
        format!("{margin}- {}", self.block(indent + 2).trim_start())
    }
}

/// The longest line, if it can be broken.
const MAX_LINE_CHARS: usize = 100;
