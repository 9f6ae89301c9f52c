//! The table.

use std::path::Path;
use std::time::Duration;

use super::{Form, HOUR, MS, Setting, Tree, YEAR};
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::value::{
    address, boolean, count, duration, path, show_address, show_duration, show_size, show_text,
    show_url, size, text, url,
};
use crate::config::yaml::Node;
use crate::config::{LogFormat, PemFile, StoreUrl, Table, access, source, store, upstream};

const NUMBER: &str = "a whole number";
const AUTO_OR_NUMBER: &str = "`auto` or a whole number";
const LOG_FORMAT: &str = "one of `auto`, `json` and `text`";

/// The table, in the order in which it is printed.
pub(in crate::config) static SETTINGS: &[Setting] = &[
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
    Setting::store("store.url", store::url, |c| show_text(&c.store.url.to_string())),
    Setting::store("store.password_file", store::password_file, |c| match &c.store.url {
        StoreUrl::Postgres(postgres) => {
            postgres.password_file.as_deref().map_or_else(String::new, show_file)
        }
        StoreUrl::None | StoreUrl::Sqlite(_) => String::new(),
    }),
    Setting::store("store.keep", store::keep, |c| show_duration(c.store.keep)),
    Setting { key: "forward", form: Form::Tree(Tree::Forward) },
    Setting::value(
        "public_url",
        |c, v| assign(&mut c.public_url, public_url(v)),
        |c| optional(c.public_url.as_ref().map(show_url)),
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
    Setting::access("tls.cert_file", access::cert_file, |c| {
        c.tls.as_ref().map(|tls| show_file(&tls.certificate.path))
    }),
    Setting::access("tls.key_file", access::key_file, |c| {
        c.tls.as_ref().map(|tls| show_file(&tls.key.path))
    }),
    Setting::access("tls.client_ca_file", access::client_ca_file, |c| {
        c.tls.as_ref()?.client_ca.as_ref().map(|file| show_file(&file.path))
    }),
    Setting::access("auth.users_file", access::users_file, |c| {
        c.sign_in.users.as_ref().map(|file| show_file(&file.path))
    }),
    Setting::access("auth.tokens_file", access::tokens_file, |c| {
        c.sign_in.tokens.as_ref().map(|file| show_file(&file.path))
    }),
    Setting::access("auth.jwt.issuer", access::issuer, |c| {
        c.sign_in.jwt.as_ref().map(|jwt| show_text(&jwt.issuer))
    }),
    Setting::access("auth.jwt.audience", access::audience, |c| {
        c.sign_in.jwt.as_ref().map(|jwt| show_text(&jwt.audience))
    }),
    Setting::access("auth.jwt.jwks_url", access::jwks_url, |c| {
        c.sign_in.jwt.as_ref()?.jwks_url.as_ref().map(show_url)
    }),
    Setting::access("auth.jwt.ca_file", access::ca_file, |c| {
        c.sign_in.jwt.as_ref()?.ca.as_ref().map(|file| show_file(&file.path))
    }),
    Setting::access("auth.jwt.proxy", access::proxy, |c| {
        c.sign_in.jwt.as_ref()?.proxy.as_ref().map(show_url)
    }),
    Setting::access("auth.jwt.employee_claim", access::employee_claim, |c| {
        c.sign_in.jwt.as_ref().map(|jwt| show_text(&jwt.employee_claim))
    }),
    Setting::access("auth.jwt.scope_claim", access::scope_claim, |c| {
        c.sign_in.jwt.as_ref().map(|jwt| show_text(&jwt.scope_claim))
    }),
    Setting::value(
        "admin.tls",
        |c, v| assign(&mut c.admin.tls, boolean(v)),
        |c| c.admin.tls.to_string(),
    ),
    Setting::value(
        "admin.auth",
        |c, v| assign(&mut c.admin.auth, boolean(v)),
        |c| c.admin.auth.to_string(),
    ),
    Setting { key: "allowed_hosts", form: Form::Tree(Tree::AllowedHosts) },
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
    file.map_or_else(String::new, |file| show_file(&file.path))
}

fn show_file(path: &Path) -> String {
    show_text(&path.display().to_string())
}

/// Where people reach the gateway; null means that it is not known.
fn public_url(node: &Node) -> Result<Option<reqwest::Url>, ConfigErrorKind> {
    if node.is_null() {
        return Ok(None);
    }
    let mut url = url(node, "leave them out")?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(Some(url))
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
