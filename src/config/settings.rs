//! The table of all settings: the key of each, how it is parsed and how it is printed.
//!
//! The keys in the file, the names of the variables, the suggestions, the printed configuration and
//! the test of the documentation are all derived from this table.

use std::time::Duration;

use super::error::{ConfigErrorKind, Excerpt};
use super::upstream::{self, Draft};
use super::value::{
    address, count, duration, path, show_address, show_duration, show_size, show_text, size, text,
    url,
};
use super::yaml::Node;
use super::{Auth, Config, LogFormat, PemFile, Table, Upstream, source};

pub(super) const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
pub(super) const YEAR: Duration = Duration::from_hours(365 * 24);

const NUMBER: &str = "a whole number";
const AUTO_OR_NUMBER: &str = "`auto` or a whole number";
const LOG_FORMAT: &str = "one of `auto`, `json` and `text`";

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
            Form::Value(_, show) => show(config),
            Form::Tree(Tree::Upstreams) => upstream::show_all(&config.upstreams),
            Form::Tree(Tree::Identities) => source::show_tables(&config.identities),
            Form::Tree(Tree::Sources) => source::show(&config.sources),
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

/// The table, in the order in which it is printed.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::value("listen", |c, v| assign(&mut c.listen, address(v)), |c| show_address(c.listen)),
    Setting::value(
        "admin_listen",
        |c, v| assign(&mut c.admin_listen, address(v)),
        |c| show_address(c.admin_listen),
    ),
    Setting::value(
        "response_budget",
        |c, v| assign(&mut c.response_budget, duration(v, MS..=HOUR)),
        |c| show_duration(c.response_budget),
    ),
    Setting::upstream(
        "upstream.base_url",
        |u, v| {
            let remedy = u.credentials_remedy();
            assign(&mut u.settings.base_url, url(v, remedy))
        },
        |u| show_url(&u.base_url),
    ),
    Setting::upstream(
        "upstream.username",
        |u, v| assign(&mut u.settings.username, upstream::username(v)),
        |u| optional(u.username.as_deref().map(show_text)),
    ),
    Setting::upstream(
        "upstream.password",
        |u, v| assign(&mut u.settings.password, upstream::password(v)),
        |u| optional(u.password.as_ref().map(|_| show_text(upstream::MASK))),
    ),
    Setting::upstream(
        "upstream.password_file",
        |u, v| assign(&mut u.settings.password, upstream::password_file(v)),
        |_| String::new(),
    ),
    Setting { key: "upstream.auth", form: Form::Tree(Tree::Auth) },
    Setting::upstream(
        "upstream.ca_file",
        |u, v| assign(&mut u.settings.ca, upstream::authorities(v)),
        |u| show_path(u.ca.as_ref()),
    ),
    Setting::upstream(
        "upstream.client_cert_file",
        |u, v| assign(&mut u.certificate, upstream::chain(v)),
        |u| show_path(u.client_certificate.as_ref().map(|client| &client.certificate)),
    ),
    Setting::upstream(
        "upstream.client_key_file",
        |u, v| assign(&mut u.key, upstream::key(v)),
        |u| show_path(u.client_certificate.as_ref().map(|client| &client.key)),
    ),
    Setting::upstream(
        "upstream.proxy",
        |u, v| assign(&mut u.settings.proxy, upstream::proxy(v)),
        |u| u.proxy.as_ref().map(show_url).unwrap_or_default(),
    ),
    Setting::upstream(
        "upstream.rate",
        |u, v| assign(&mut u.settings.rate, upstream::rate(v)),
        |u| u.rate.map(upstream::show_rate).unwrap_or_default(),
    ),
    Setting::upstream(
        "upstream.timeout",
        |u, v| assign(&mut u.settings.timeout, duration(v, MS..=HOUR)),
        |u| show_duration(u.timeout),
    ),
    Setting::upstream(
        "upstream.connect_timeout",
        |u, v| assign(&mut u.settings.connect_timeout, duration(v, MS..=HOUR)),
        |u| show_duration(u.connect_timeout),
    ),
    Setting::upstream(
        "upstream.concurrency",
        |u, v| assign(&mut u.settings.concurrency, upstream::concurrency(v)),
        |u| upstream::show_concurrency(u.concurrency),
    ),
    Setting::upstream(
        "upstream.max_concurrency",
        |u, v| assign(&mut u.settings.max_concurrency, count(v, 1..=1024, NUMBER)),
        |u| u.max_concurrency.to_string(),
    ),
    Setting::upstream(
        "upstream.retries",
        |u, v| assign(&mut u.settings.retries, count(v, 0..=10, NUMBER)),
        |u| u.retries.to_string(),
    ),
    // Offsets into a body have 32 bits.
    Setting::upstream(
        "upstream.max_body",
        |u, v| assign(&mut u.settings.max_body, size(v, 1..=u64::from(u32::MAX))),
        |u| show_size(u.max_body),
    ),
    Setting { key: "upstreams", form: Form::Tree(Tree::Upstreams) },
    Setting { key: "identities", form: Form::Tree(Tree::Identities) },
    Setting::value(
        "identities.path",
        |c, v| {
            c.identities = vec![Table::addresses(&path(v)?)];
            Ok(())
        },
        |c| source::addresses_path(&c.identities).map_or_else(String::new, show_text),
    ),
    Setting { key: "sources", form: Form::Tree(Tree::Sources) },
    Setting::value(
        "cache.ttl",
        |c, v| assign(&mut c.cache.ttl, duration(v, MS..=YEAR)),
        |c| show_duration(c.cache.ttl),
    ),
    Setting::value(
        "cache.stale_for",
        |c, v| assign(&mut c.cache.stale_for, duration(v, MS..=YEAR)),
        |c| show_duration(c.cache.stale_for),
    ),
    Setting::value(
        "cache.max_bytes",
        |c, v| assign(&mut c.cache.max_bytes, size(v, 0..=1 << 40)),
        |c| show_size(c.cache.max_bytes),
    ),
    Setting::value(
        "limits.max_connections",
        |c, v| assign(&mut c.limits.max_connections, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_connections.to_string(),
    ),
    Setting::value(
        "limits.max_requests",
        |c, v| assign(&mut c.limits.max_requests, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_requests.to_string(),
    ),
    Setting::value(
        "limits.max_renders",
        |c, v| assign(&mut c.limits.max_renders, max_renders(v)),
        |c| c.limits.max_renders.map_or_else(|| "auto".to_owned(), |renders| renders.to_string()),
    ),
    Setting::value(
        "limits.max_events",
        |c, v| assign(&mut c.limits.max_events, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_events.to_string(),
    ),
    Setting::value(
        "limits.header_timeout",
        |c, v| assign(&mut c.limits.header_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.header_timeout),
    ),
    Setting::value(
        "limits.idle_timeout",
        |c, v| assign(&mut c.limits.idle_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.idle_timeout),
    ),
    Setting::value(
        "limits.write_timeout",
        |c, v| assign(&mut c.limits.write_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.write_timeout),
    ),
    Setting::value(
        "limits.min_send_rate",
        |c, v| assign(&mut c.limits.min_send_rate, size(v, 0..=1 << 30)),
        |c| show_size(c.limits.min_send_rate),
    ),
    Setting::value(
        "shutdown.drain_delay",
        |c, v| assign(&mut c.shutdown.drain_delay, duration(v, Duration::ZERO..=HOUR)),
        |c| show_duration(c.shutdown.drain_delay),
    ),
    Setting::value(
        "shutdown.timeout",
        |c, v| assign(&mut c.shutdown.timeout, duration(v, Duration::ZERO..=HOUR)),
        |c| show_duration(c.shutdown.timeout),
    ),
    Setting::value(
        "log_format",
        |c, v| assign(&mut c.log_format, log_format(v)),
        |c| match c.log_format {
            None => "auto".to_owned(),
            Some(LogFormat::Json) => "json".to_owned(),
            Some(LogFormat::Text) => "text".to_owned(),
        },
    ),
    Setting::value(
        "otlp.endpoint",
        |c, v| {
            assign(
                &mut c.otlp.endpoint,
                if v.is_null() { Ok(None) } else { url(v, "leave them out").map(Some) },
            )
        },
        |c| optional(c.otlp.endpoint.as_ref().map(show_url)),
    ),
];

fn assign<T>(slot: &mut T, value: Result<T, ConfigErrorKind>) -> Result<(), ConfigErrorKind> {
    *slot = value?;
    Ok(())
}

fn optional(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn show_path(file: Option<&PemFile>) -> String {
    file.map_or_else(String::new, |file| show_text(&file.path.display().to_string()))
}

fn show_url(url: &reqwest::Url) -> String {
    let text = url.as_str();
    show_text(if url.path() == "/" { text.strip_suffix('/').unwrap_or(text) } else { text })
}

fn max_renders(node: &Node) -> Result<Option<usize>, ConfigErrorKind> {
    match text(node, AUTO_OR_NUMBER)? {
        "auto" => Ok(None),
        _ => count(node, 1..=1024, AUTO_OR_NUMBER).map(Some),
    }
}

fn log_format(node: &Node) -> Result<Option<LogFormat>, ConfigErrorKind> {
    match text(node, LOG_FORMAT)? {
        "auto" => Ok(None),
        "json" => Ok(Some(LogFormat::Json)),
        "text" => Ok(Some(LogFormat::Text)),
        other => {
            Err(ConfigErrorKind::Unparsable { found: Excerpt::new(other), expected: LOG_FORMAT })
        }
    }
}
