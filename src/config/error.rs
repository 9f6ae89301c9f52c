//! Every fault that a configuration can have, by name, with its message and its mend.
//!
//! No message holds the value of a secret setting: [`Problem`]'s variants for those carry none.

use std::fmt;

/// All faults of one configuration, in the order of the layers: file, environment, flags, then what
/// they make together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors {
    /// The faults; at least one.
    pub faults: Vec<Fault>,
}

/// One fault: where it stands and what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What the user wrote it in; `None` where something is missing altogether.
    pub place: Option<Place>,
    /// The setting it belongs to, such as `cache.ttl`, where it belongs to a known one.
    pub setting: Option<&'static str>,
    /// The dotted path to show, such as `sources[2].path`; `None` where `place` says it already.
    pub path: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
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

/// What is wrong, and how it is mended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem {
    /// A file that cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// A file too large to be what it should be.
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
    /// A file named for a secret that holds nothing.
    EmptySecretFile {
        /// Its path.
        path: String,
    },
    /// Text that is not YAML, in the parser's words.
    Syntax(String),
    /// A second YAML document in one text.
    SecondDocument,
    /// A YAML tag other than those of the core schema.
    Tag,
    /// Aliases that copy too much.
    AliasBomb,
    /// An alias inside the node that it names.
    AliasOfItself,
    /// A key that is a list or a map.
    KeyNotText,
    /// A key that stands twice in one map.
    DuplicateKey {
        /// The key.
        key: Found,
        /// The line of the first.
        first_line: usize,
    },
    /// A key that is none of ours.
    UnknownKey {
        /// What was probably meant.
        nearest: Option<String>,
        /// The keys that this map may have.
        known: String,
    },
    /// A variable with our prefix that is none of ours.
    UnknownVariable {
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// Two variables for one setting that say different things.
    Contradiction {
        /// The other variable.
        other: String,
    },
    /// A value of the wrong kind.
    WrongShape {
        /// What is wanted, with an article and an example.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A number where a duration is wanted.
    NoUnit {
        /// The number.
        found: String,
    },
    /// A value that cannot be read as what is wanted.
    Unparsable {
        /// What stands there.
        found: Found,
        /// What is wanted, with an article and an example.
        expected: &'static str,
    },
    /// A value outside its range.
    OutOfRange {
        /// What stands there.
        found: Found,
        /// The smallest accepted.
        from: String,
        /// The largest accepted.
        to: String,
    },
    /// A list is longer than anything can make use of.
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
    /// A URL that cannot be read, in the parser's words; the URL itself may hold a password.
    NotAUrl(String),
    /// A URL of another scheme than `http` and `https`.
    UrlScheme,
    /// A user or a password inside a URL.
    UrlCredentials {
        /// What to use instead.
        mend: &'static str,
    },
    /// A query or a fragment in a URL.
    UrlQuery,
    /// A colon in the user's name.
    UsernameColon,
    /// A control character in the user's name or the password.
    ControlCharacter,
    /// A source's name that another has taken.
    DuplicateSource {
        /// The name.
        name: String,
    },
    /// The name `identities` for an incident source.
    ReservedSource,
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
    /// No credentials where the upstream is to be called.
    MissingCredentials {
        /// The variable or variables that are missing.
        missing: &'static str,
    },
}

/// A value as it may be shown: one line, not too long, without control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found(String);

impl Found {
    /// The longest text shown, in characters.
    const LONGEST: usize = 60;

    /// Makes `text` fit to be shown.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown: String =
            text.chars().take(Self::LONGEST).flat_map(char::escape_debug).collect();
        if text.chars().nth(Self::LONGEST).is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    /// The same without the quotes around it.
    pub(super) fn bare(text: &str) -> String {
        Self::new(text).0
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did_you_mean = |nearest: &Option<String>| match nearest {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "cannot read {path}: {reason}; give the path of a readable file")
            }
            Self::TooLarge { path, limit } => {
                write!(f, "{path} is larger than {limit} bytes; is it the right file?")
            }
            Self::FileNotUtf8 { path } => write!(f, "{path} is not UTF-8 text; save it as UTF-8"),
            Self::FileUtf16 { path } => write!(f, "{path} is UTF-16 text; save it as UTF-8"),
            Self::VariableNotUtf8 => write!(f, "the value is not UTF-8 text"),
            Self::EmptySecretFile { path } => write!(f, "{path} is empty; write the value into it"),
            Self::Syntax(reason) => write!(f, "this is not YAML: {reason}"),
            Self::SecondDocument => {
                write!(f, "a second document begins here; keep one, without another `---`")
            }
            Self::Tag => write!(f, "YAML tags (`!…`) mean nothing here; remove it"),
            Self::AliasBomb => write!(f, "the aliases (`*…`) copy too much; write the values out"),
            Self::AliasOfItself => {
                write!(f, "the alias (`*…`) stands inside what it names; write the value out")
            }
            Self::KeyNotText => write!(f, "a key must be plain text, not a list or a map"),
            Self::DuplicateKey { key, first_line } => {
                write!(
                    f,
                    "{key} stands here for the second time (first on line {first_line}); keep one"
                )
            }
            Self::UnknownKey { nearest: None, known } => {
                write!(f, "unknown key; known here: {known}")
            }
            Self::UnknownKey { nearest, .. } => write!(f, "unknown key{}", did_you_mean(nearest)),
            Self::UnknownVariable { nearest: None } => {
                write!(f, "unknown variable; unset it, or see docs/CONFIGURATION.md for the names")
            }
            Self::UnknownVariable { nearest } => {
                write!(f, "unknown variable{}", did_you_mean(nearest))
            }
            Self::Contradiction { other } => write!(f, "{other} sets the same; unset one of them"),
            Self::WrongShape { expected, found } => write!(f, "needs {expected}, not {found}"),
            Self::NoUnit { found } => {
                write!(
                    f,
                    "`{found}` has no unit; write `{found}s` for seconds, `{found}ms` for milliseconds"
                )
            }
            Self::Unparsable { found, expected } => write!(f, "{found} is not {expected}"),
            Self::OutOfRange { found, from, to } => {
                write!(f, "{found} is out of range; give {from} to {to}")
            }
            Self::TooMany { found, most } => write!(f, "has {found} items; give at most {most}"),
            Self::Empty { expected } => write!(f, "is empty; give {expected}"),
            Self::MissingKey { key } => write!(f, "lacks the key `{key}`; add it"),
            Self::NotAUrl(reason) => {
                write!(
                    f,
                    "is not a URL ({reason}); write it as https://host:port (not shown: it may hold a password)"
                )
            }
            Self::UrlScheme => {
                write!(f, "is not a web address; write it as https://host:port or http://host:port")
            }
            Self::UrlCredentials { mend } => {
                write!(f, "holds a user or a password before the `@`; {mend}")
            }
            Self::UrlQuery => write!(f, "holds a query (`?`) or a fragment (`#`); remove it"),
            Self::UsernameColon => {
                write!(
                    f,
                    "a user's name cannot hold `:` (RFC 7617); is the password in it? It goes into ELEVATE_PASSWORD"
                )
            }
            Self::ControlCharacter => {
                write!(
                    f,
                    "holds a control character, such as a line break, which Basic auth forbids (RFC 7617)"
                )
            }
            Self::DuplicateSource { name } => {
                write!(f, "another source is called `{name}` already; names are unique")
            }
            Self::ReservedSource => {
                write!(f, "`identities` is the identity table's own name; choose another")
            }
            Self::SameListener { admin } => {
                write!(
                    f,
                    "both listeners cannot have one port (`admin_listen` is {admin}); give each its own"
                )
            }
            Self::StaleBelowTtl { stale_for, ttl } => write!(
                f,
                "data would be dropped before it is refreshed: `cache.stale_for` is {stale_for}, `cache.ttl` is {ttl}; \
                 make `cache.stale_for` at least {ttl}"
            ),
            Self::MissingCredentials { missing } => write!(
                f,
                "no credentials for the upstream ({missing}); set ELEVATE_USERNAME and ELEVATE_PASSWORD (or \
                 ELEVATE_USERNAME_FILE and ELEVATE_PASSWORD_FILE to read them from files), or try it with `--demo`"
            ),
        }
    }
}

impl fmt::Display for Fault {
    /// One line: where it was written, the key, and the value with what is wrong with it, unless
    /// that may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        write!(f, "{}", self.problem)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = self.faults.as_slice() {
            return write!(f, "{fault}");
        }
        write!(f, "the configuration has {} faults:", self.faults.len())?;
        for fault in &self.faults {
            write!(f, "\n- {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
