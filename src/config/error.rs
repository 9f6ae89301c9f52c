//! The errors of configurations; each message says what is wrong and how to correct it.
//!
//! No message contains a secret, because the variants for secret settings have no value.

mod message;

use std::fmt;

/// All errors of one configuration, in the order of its layers (file, environment, flags), followed
/// by those that only all layers together show, such as values that contradict each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors {
    /// At least one.
    pub errors: Vec<ConfigError>,
}

/// One error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// Where the value was set; `None` if a value is missing.
    pub location: Option<Location>,
    /// The setting, such as `cache.ttl`, if it is known.
    pub setting: Option<&'static str>,
    /// The path to show, such as `sources[2].path`; `None` if `location` already names the setting.
    pub path: Option<String>,
    /// What is wrong.
    pub kind: ConfigErrorKind,
}

/// Where a value was set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// In the file; lines and columns count from 1, columns in characters.
    File {
        /// The file's name as the user gave it.
        name: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag, such as `--listen`.
    Flag(&'static str),
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConfigErrorKind {
    /// A file that cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// The system's message.
        reason: String,
    },
    /// A file that is larger than any configuration or secret.
    TooLarge {
        /// Its path.
        path: String,
        /// The largest accepted, in bytes.
        limit: u64,
    },
    /// A file that is not UTF-8.
    FileNotUtf8 {
        /// Its path.
        path: String,
    },
    /// A file that begins with the byte order mark of UTF-16.
    FileUtf16 {
        /// Its path.
        path: String,
    },
    /// A variable that is not UTF-8.
    VariableNotUtf8,
    /// An empty secret file.
    EmptySecretFile {
        /// Its path.
        path: String,
    },
    /// A file whose content is not what it should be.
    InvalidFile {
        /// Its path.
        path: String,
        /// What is wrong with it, and the remedy. Quotes nothing of it.
        detail: String,
    },
    /// A line of a file that is not what it should be.
    InvalidLine {
        /// The file's path.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, and the remedy. Quotes nothing of it.
        detail: String,
    },
    /// Text that is not YAML, with the parser's message.
    Syntax(String),
    /// A second YAML document in one text.
    SecondDocument,
    /// A YAML tag other than those of the core schema.
    Tag,
    /// Aliases that expand to too much text.
    AliasBomb,
    /// An alias to a node that contains it.
    AliasOfItself,
    /// A key that is a list or a map.
    KeyNotText,
    /// A key that appears twice in one map.
    DuplicateKey {
        /// The key.
        key: Excerpt,
        /// The line of the first.
        first_line: usize,
    },
    /// An unknown key.
    UnknownKey {
        /// The name that was probably meant.
        nearest: Option<String>,
        /// The keys that this map may have.
        known: String,
    },
    /// An unknown variable with our prefix.
    UnknownVariable {
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// Two variables that give one setting different values.
    Contradiction {
        /// The other variable.
        other: String,
    },
    /// A list, map or text where another of them is needed.
    WrongShape {
        /// What is needed, with an article and an example.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// A duration without a unit.
    NoUnit {
        /// The number.
        found: String,
    },
    /// A value that cannot be parsed.
    Unparsable {
        /// What was given.
        found: Excerpt,
        /// What is needed, with an article and an example.
        expected: &'static str,
    },
    /// A value outside its range.
    OutOfRange {
        /// What was given.
        found: Excerpt,
        /// The smallest accepted.
        from: String,
        /// The largest accepted.
        to: String,
    },
    /// A list that is too long.
    TooMany {
        /// How many items it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// Something that must not be empty.
    Empty {
        /// What it must hold.
        expected: &'static str,
    },
    /// A key that must be there.
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// Text that is no URL, with the parser's message; the text itself may contain a password.
    NotAUrl(String),
    /// A URL of another scheme than `http` and `https`.
    UrlScheme,
    /// A user name or password in a URL.
    UrlCredentials {
        /// What to use instead.
        remedy: &'static str,
    },
    /// A query or a fragment in a URL.
    UrlQuery,
    /// A colon in the user name.
    UsernameColon,
    /// A control character in the user name or password.
    ControlCharacter,
    /// The name of another source.
    DuplicateSource {
        /// The name.
        name: String,
    },
    /// The name of an identity table for an incident source.
    ReservedSource {
        /// The name.
        name: String,
    },
    /// The name `default` in `upstreams`.
    ReservedUpstream,
    /// An upstream's name that differs from another's in `-` and `_` alone.
    SameVariables {
        /// The other's name.
        other: String,
    },
    /// A source's or table's upstream that is not configured.
    UnknownUpstream {
        /// What was given.
        found: Excerpt,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// Both listeners on one address.
    SameListener {
        /// The admin listener's address.
        admin: String,
    },
    /// `cache.stale_for` below `cache.ttl`.
    StaleBelowTtl {
        /// `cache.stale_for`.
        stale_for: String,
        /// `cache.ttl`.
        ttl: String,
    },
    /// No credentials, where the default upstream is to be called.
    MissingCredentials {
        /// The variable or variables that are missing.
        missing: &'static str,
        /// The names of the sources and tables that are fetched from it, if there are other
        /// upstreams that may be meant.
        used_by: Vec<String>,
    },
    /// No credentials, where another upstream is to be called.
    IncompleteCredentials {
        /// The key that is there.
        given: String,
        /// The key that is missing.
        missing: String,
    },
    /// A secret that is masked, where its upstream is to be called.
    MaskedSecret {
        /// The dotted path to the secret.
        path: String,
    },
    /// A setting that needs another one.
    Needs {
        /// The other setting or settings, each in backticks.
        others: &'static str,
    },
    /// A key beside another one that excludes it.
    Excludes {
        /// The other key.
        other: &'static str,
    },
    /// Text with a control character.
    NotALine,
    /// A secret with a control character.
    ControlCharacterInSecret,
    /// A key that is no name of a header.
    NotAHeaderName,
    /// A header that a configuration may not set.
    GatewayHeader,
    /// A header that appears twice, spelled differently.
    DuplicateHeader,
    /// Text that no header can hold.
    NotAHeaderValue,
    /// Any other error, as a sentence that names the remedy and quotes no secret.
    Detail(String),
}

/// A value for messages: on one line, shortened, with control characters escaped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excerpt(String);

impl Excerpt {
    /// Longer values are truncated.
    const MAX_CHARS: usize = 60;

    /// The excerpt of `text` to show.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown: String =
            text.chars().take(Self::MAX_CHARS).flat_map(char::escape_debug).collect();
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    /// The excerpt as text, without the quotes that `Display` adds.
    pub(super) fn bare(text: &str) -> String {
        Self::new(text).0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ConfigError {
    /// One line: location, path, and what is wrong with the value; secret values are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        write!(f, "{}", self.kind)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [error] = self.errors.as_slice() {
            return write!(f, "{error}");
        }
        write!(f, "the configuration has {} errors:", self.errors.len())?;
        for error in &self.errors {
            write!(f, "\n- {error}")?;
        }
        Ok(())
    }
}

impl ConfigErrors {
    /// The errors of several checks in one report.
    ///
    /// # Errors
    ///
    /// All errors, if there are any.
    pub fn of_all(checks: impl IntoIterator<Item = Result<(), Self>>) -> Result<(), Self> {
        let failed = checks.into_iter().filter_map(Result::err);
        let errors: Vec<_> = failed.flat_map(|report| report.errors).collect();
        if errors.is_empty() { Ok(()) } else { Err(Self { errors }) }
    }
}

impl std::error::Error for ConfigErrors {}
