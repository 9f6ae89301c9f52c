//! The table of all settings: the key of each, how it is parsed and how it is printed.
//!
//! The keys in the file, the names of the variables, the suggestions, the printed configuration and
//! the test of the documentation are all derived from this table.

use std::time::Duration;

use secrecy::SecretString;

use super::error::{ConfigErrorKind, Excerpt};
use super::sources::{self, SourceError};
use super::value::{
    address, count, duration, path, show_address, show_duration, show_size, show_text, size, text,
    url,
};
use super::yaml::Node;
use super::{Concurrency, Config, HttpOrigin, LogFormat, Origin, Table};

/// Printed instead of a password. As a value it means no password, so that the output of `check`
/// can be used as a configuration file.
pub(super) const MASK: &str = "********";

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

const NUMBER: &str = "a whole number";
const AUTO_OR_NUMBER: &str = "`auto` or a whole number";
const LOG_FORMAT: &str = "one of `auto`, `json` and `text`";

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// The dotted path in the file.
    pub key: &'static str,
    /// Parses the value and sets it in a [`Config`].
    pub set: Setter,
    /// Prints the value as YAML; a block starts with a line break.
    pub show: fn(&Config) -> String,
}

/// How a setting's value is read.
#[derive(Debug)]
pub(super) enum Setter {
    /// Parses one value; a variable holds its text.
    Scalar(fn(&mut Config, &Node) -> Result<(), ConfigErrorKind>),
    /// Parses a structure; a variable holds YAML.
    Tree(fn(&mut Config, &Node) -> Result<(), Vec<SourceError>>),
}

impl Setting {
    const fn scalar(
        key: &'static str,
        set: fn(&mut Config, &Node) -> Result<(), ConfigErrorKind>,
        show: fn(&Config) -> String,
    ) -> Self {
        Self { key, set: Setter::Scalar(set), show }
    }

    /// Whether a variable holds the value itself, not YAML.
    pub(super) const fn is_scalar(&self) -> bool {
        matches!(self.set, Setter::Scalar(_))
    }

    /// The environment variable's name.
    pub(super) fn variable(&self) -> String {
        variable(self.key)
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
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
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
    Setting::scalar("listen", |c, v| assign(&mut c.listen, address(v)), |c| show_address(c.listen)),
    Setting::scalar(
        "admin_listen",
        |c, v| assign(&mut c.admin_listen, address(v)),
        |c| show_address(c.admin_listen),
    ),
    Setting::scalar(
        "response_budget",
        |c, v| assign(&mut c.response_budget, duration(v, MS..=HOUR)),
        |c| show_duration(c.response_budget),
    ),
    Setting::scalar(
        "upstream.base_url",
        |c, v| {
            assign(
                &mut c.upstream.base_url,
                url(v, "set ELEVATE_USERNAME and ELEVATE_PASSWORD instead"),
            )
        },
        |c| show_url(&c.upstream.base_url),
    ),
    Setting::scalar(
        "upstream.username",
        |c, v| assign(&mut c.upstream.username, username(v)),
        |c| optional(c.upstream.username.as_deref().map(show_text)),
    ),
    Setting::scalar(
        "upstream.password",
        |c, v| assign(&mut c.upstream.password, password(v)),
        |c| optional(c.upstream.password.as_ref().map(|_| format!("\"{MASK}\""))),
    ),
    Setting::scalar(
        "upstream.timeout",
        |c, v| assign(&mut c.upstream.timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.upstream.timeout),
    ),
    Setting::scalar(
        "upstream.connect_timeout",
        |c, v| assign(&mut c.upstream.connect_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.upstream.connect_timeout),
    ),
    Setting::scalar(
        "upstream.concurrency",
        |c, v| assign(&mut c.upstream.concurrency, concurrency(v)),
        |c| match c.upstream.concurrency {
            Concurrency::Auto => "auto".to_owned(),
            Concurrency::Fixed(calls) => calls.to_string(),
        },
    ),
    Setting::scalar(
        "upstream.max_concurrency",
        |c, v| assign(&mut c.upstream.max_concurrency, count(v, 1..=1024, NUMBER)),
        |c| c.upstream.max_concurrency.to_string(),
    ),
    Setting::scalar(
        "upstream.retries",
        |c, v| assign(&mut c.upstream.retries, count(v, 0..=10, NUMBER)),
        |c| c.upstream.retries.to_string(),
    ),
    // Offsets into a body have 32 bits.
    Setting::scalar(
        "upstream.max_body",
        |c, v| assign(&mut c.upstream.max_body, size(v, 1..=u64::from(u32::MAX))),
        |c| show_size(c.upstream.max_body),
    ),
    Setting::scalar(
        "identities.path",
        |c, v| {
            let origin = Origin::Http(HttpOrigin::endpoint(&path(v)?));
            c.identities = vec![Table { origin, every: None, rows: None }];
            Ok(())
        },
        |c| match c.identities.first().map(|table| &table.origin) {
            Some(Origin::Http(http)) => show_text(&http.request.path),
            _ => "null".to_owned(),
        },
    ),
    Setting {
        key: "sources",
        set: Setter::Tree(|c, v| {
            c.sources = sources::read(v)?;
            Ok(())
        }),
        show: |c| sources::show(&c.sources),
    },
    Setting::scalar(
        "cache.ttl",
        |c, v| assign(&mut c.cache.ttl, duration(v, MS..=YEAR)),
        |c| show_duration(c.cache.ttl),
    ),
    Setting::scalar(
        "cache.stale_for",
        |c, v| assign(&mut c.cache.stale_for, duration(v, MS..=YEAR)),
        |c| show_duration(c.cache.stale_for),
    ),
    Setting::scalar(
        "cache.max_bytes",
        |c, v| assign(&mut c.cache.max_bytes, size(v, 0..=1 << 40)),
        |c| show_size(c.cache.max_bytes),
    ),
    Setting::scalar(
        "limits.max_connections",
        |c, v| assign(&mut c.limits.max_connections, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_connections.to_string(),
    ),
    Setting::scalar(
        "limits.max_requests",
        |c, v| assign(&mut c.limits.max_requests, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_requests.to_string(),
    ),
    Setting::scalar(
        "limits.max_renders",
        |c, v| assign(&mut c.limits.max_renders, max_renders(v)),
        |c| c.limits.max_renders.map_or_else(|| "auto".to_owned(), |renders| renders.to_string()),
    ),
    Setting::scalar(
        "limits.max_events",
        |c, v| assign(&mut c.limits.max_events, count(v, 1..=1_000_000, NUMBER)),
        |c| c.limits.max_events.to_string(),
    ),
    Setting::scalar(
        "limits.header_timeout",
        |c, v| assign(&mut c.limits.header_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.header_timeout),
    ),
    Setting::scalar(
        "limits.idle_timeout",
        |c, v| assign(&mut c.limits.idle_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.idle_timeout),
    ),
    Setting::scalar(
        "limits.write_timeout",
        |c, v| assign(&mut c.limits.write_timeout, duration(v, MS..=HOUR)),
        |c| show_duration(c.limits.write_timeout),
    ),
    Setting::scalar(
        "limits.min_send_rate",
        |c, v| assign(&mut c.limits.min_send_rate, size(v, 0..=1 << 30)),
        |c| show_size(c.limits.min_send_rate),
    ),
    Setting::scalar(
        "shutdown.drain_delay",
        |c, v| assign(&mut c.shutdown.drain_delay, duration(v, Duration::ZERO..=HOUR)),
        |c| show_duration(c.shutdown.drain_delay),
    ),
    Setting::scalar(
        "shutdown.timeout",
        |c, v| assign(&mut c.shutdown.timeout, duration(v, Duration::ZERO..=HOUR)),
        |c| show_duration(c.shutdown.timeout),
    ),
    Setting::scalar(
        "log_format",
        |c, v| assign(&mut c.log_format, log_format(v)),
        |c| match c.log_format {
            None => "auto".to_owned(),
            Some(LogFormat::Json) => "json".to_owned(),
            Some(LogFormat::Text) => "text".to_owned(),
        },
    ),
    Setting::scalar(
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

fn show_url(url: &reqwest::Url) -> String {
    let text = url.as_str();
    show_text(if url.path() == "/" { text.strip_suffix('/').unwrap_or(text) } else { text })
}

/// The Basic auth user name; an empty one means none.
fn username(node: &Node) -> Result<Option<String>, ConfigErrorKind> {
    let Some(name) = credential(node)? else { return Ok(None) };
    if name.contains(':') {
        return Err(ConfigErrorKind::UsernameColon);
    }
    Ok(Some(name.to_owned()))
}

/// The Basic auth password; an empty or masked one means none.
fn password(node: &Node) -> Result<Option<SecretString>, ConfigErrorKind> {
    Ok(credential(node)?.filter(|password| *password != MASK).map(SecretString::from))
}

fn credential(node: &Node) -> Result<Option<&str>, ConfigErrorKind> {
    if node.is_null() {
        return Ok(None);
    }
    let text = text(node, "text")?;
    if text.contains(char::is_control) {
        return Err(ConfigErrorKind::ControlCharacter);
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn concurrency(node: &Node) -> Result<Concurrency, ConfigErrorKind> {
    match text(node, AUTO_OR_NUMBER)? {
        "auto" => Ok(Concurrency::Auto),
        _ => count(node, 1..=1024, AUTO_OR_NUMBER).map(Concurrency::Fixed),
    }
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
