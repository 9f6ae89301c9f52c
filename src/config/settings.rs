//! The table of all settings: the key of each, how it is parsed and how it is printed.
//!
//! The keys in the file, the names of the variables, the suggestions, the printed configuration and
//! the test of the documentation are all derived from this table.

mod table;

use std::time::Duration;

pub(super) use table::SETTINGS;

use super::error::ConfigErrorKind;
use super::upstream::{self, Draft};
use super::yaml::Node;
use super::{Auth, Config, Upstream, access, forward, source, store};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const YEAR: Duration = Duration::from_hours(365 * 24);

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// The dotted path in the file. `upstream.…` also stands for the settings of other upstreams.
    pub key: &'static str,
    /// How it is read and printed.
    pub form: Form,
}

/// How a setting is read and printed. A block that is printed starts with a line break, and what
/// is not printed is empty.
#[derive(Debug)]
pub(super) enum Form {
    /// One value; a variable holds its text.
    Value(fn(&mut Config, &Node) -> Result<(), ConfigErrorKind>, fn(&Config) -> String),
    /// One value of an upstream.
    Upstream(fn(&mut Draft, &Node) -> Result<(), ConfigErrorKind>, fn(&Upstream) -> String),
    /// One value of access control. A file has an error for each of its faulty lines.
    Access(
        fn(&mut access::Draft, &Node) -> Result<(), Vec<ConfigErrorKind>>,
        fn(&Config) -> Option<String>,
    ),
    /// One value of the store.
    Store(fn(&mut store::Draft, &Node) -> Result<(), ConfigErrorKind>, fn(&Config) -> String),
    /// A structure; a variable holds YAML.
    Tree(Tree),
}

/// A setting that is a structure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tree {
    Auth,
    Upstreams,
    Identities,
    Sources,
    Forward,
    AllowedHosts,
}

impl Setting {
    const fn value(
        key: &'static str,
        set: fn(&mut Config, &Node) -> Result<(), ConfigErrorKind>,
        show: fn(&Config) -> String,
    ) -> Self {
        Self { key, form: Form::Value(set, show) }
    }

    const fn upstream(
        key: &'static str,
        set: fn(&mut Draft, &Node) -> Result<(), ConfigErrorKind>,
        show: fn(&Upstream) -> String,
    ) -> Self {
        Self { key, form: Form::Upstream(set, show) }
    }

    const fn access(
        key: &'static str,
        set: fn(&mut access::Draft, &Node) -> Result<(), Vec<ConfigErrorKind>>,
        show: fn(&Config) -> Option<String>,
    ) -> Self {
        Self { key, form: Form::Access(set, show) }
    }

    const fn store(
        key: &'static str,
        set: fn(&mut store::Draft, &Node) -> Result<(), ConfigErrorKind>,
        show: fn(&Config) -> String,
    ) -> Self {
        Self { key, form: Form::Store(set, show) }
    }

    /// Whether a variable holds the value itself, not YAML.
    pub(super) const fn is_value(&self) -> bool {
        !matches!(self.form, Form::Tree(_))
    }

    /// The environment variable's name.
    pub(super) fn variable(&self) -> String {
        variable(self.key)
    }

    /// Its value as YAML.
    pub(super) fn show(&self, config: &Config) -> String {
        match self.form {
            Form::Value(_, show) | Form::Store(_, show) => show(config),
            Form::Access(_, show) => show(config).unwrap_or_default(),
            Form::Tree(Tree::Upstreams) => upstream::show_all(&config.upstreams),
            Form::Tree(Tree::Identities) => source::show_tables(&config.identities),
            Form::Tree(Tree::Sources) => source::show(&config.sources),
            Form::Tree(Tree::Forward) => forward::show(&config.forward),
            Form::Tree(Tree::AllowedHosts) => access::show_hosts(config.allowed_hosts.as_deref()),
            Form::Upstream(..) | Form::Tree(Tree::Auth) => self.show_upstream(&config.upstream, 2),
        }
    }

    /// Its value for this upstream as YAML, in a section whose keys are indented by `indent`; empty
    /// if it is no setting of an upstream.
    pub(super) fn show_upstream(&self, upstream: &Upstream, indent: usize) -> String {
        match self.form {
            Form::Upstream(_, show) => show(upstream),
            Form::Tree(Tree::Auth) => {
                let show = |auth: &Auth| auth.written().after(indent, indent + "auth:".len());
                let value = upstream.auth.as_ref().map(show).unwrap_or_default();
                value.strip_prefix(' ').map_or_else(|| value.clone(), str::to_owned)
            }
            _ => String::new(),
        }
    }
}

/// The prefix of the variables of settings and sections.
pub(super) const PREFIX: &str = "INCIDENT_GATEWAY__";

/// A variable with a name of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alias {
    pub name: &'static str,
    /// The key of the setting that it sets.
    pub key: &'static str,
    /// Whether the variable `name` + `_FILE` may name a file with the value instead.
    pub has_file_variable: bool,
}

/// The variables with names of their own.
pub(super) const ALIASES: [Alias; 4] = [
    Alias { name: "ELEVATE_BASE_URL", key: "upstream.base_url", has_file_variable: false },
    Alias { name: "ELEVATE_USERNAME", key: "upstream.username", has_file_variable: true },
    Alias { name: "ELEVATE_PASSWORD", key: "upstream.password", has_file_variable: true },
    Alias { name: "ELEVATE_TIMEOUT", key: "upstream.timeout", has_file_variable: false },
];

/// The variable of a setting's or a section's key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", upstream::variable_part(key).replace('.', "__"))
}

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether `key` is that of a section.
pub(super) fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

/// The sections, repeated for each setting in them.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|setting| Some(setting.key.rsplit_once('.')?.0))
}

/// What a section must have; others may be empty. An empty section of access control could be taken
/// for one that protects.
pub(super) fn needed_in(section: &str) -> Option<&'static str> {
    match section {
        "tls" => Some("`cert_file` and `key_file`, or remove it"),
        "auth" => Some("`users_file`, `tokens_file` or `jwt`, or remove it"),
        "auth.jwt" => Some("`issuer` and `audience`, or remove it"),
        _ => None,
    }
}

/// The names of the settings and sections directly below `section`, in order; the root's is empty.
pub(super) fn names_below(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        let rest = match section {
            "" => Some(setting.key),
            _ => setting.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}
