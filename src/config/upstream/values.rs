//! Parses and prints the values of an upstream's settings.

use std::path::Path;
use std::time::Duration;

use super::{Concurrency, MASK, Rate};
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::value::{count, file_path, text, url};
use crate::config::yaml::Node;
use crate::config::{PemFile, Secret, files};

const AUTO_OR_NUMBER: &str = "`auto` or a whole number";
const RATE: &str = "a rate of 1 to 1000000 requests a second, minute or hour, such as `10/s`, \
    `600/m` or `5000/h`";
const CERTIFICATES: &str = "the path of a file with certificates in PEM";
const KEY: &str = "the path of a file with a private key in PEM";
const SECRET_FILE: &str = "the path of a file with the secret";

/// The units of rates.
const RATE_UNITS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("m", Duration::from_mins(1)), ("h", Duration::from_hours(1))];

/// The most requests in one of the units.
const MAX_RATE_REQUESTS: u32 = 1_000_000;

/// The Basic auth user name; an empty one means none.
pub(in crate::config) fn username(node: &Node) -> Result<Option<String>, ConfigErrorKind> {
    let Some(name) = credential(node)? else { return Ok(None) };
    if name.contains(':') {
        return Err(ConfigErrorKind::UsernameColon);
    }
    Ok(Some(name.to_owned()))
}

/// The Basic auth password; an empty or masked one means none.
pub(in crate::config) fn password(node: &Node) -> Result<Option<Secret>, ConfigErrorKind> {
    Ok(credential(node)?.filter(|password| *password != MASK).map(Secret::from))
}

/// The Basic auth password, read from the file at this path.
pub(in crate::config) fn password_file(node: &Node) -> Result<Option<Secret>, ConfigErrorKind> {
    let password = secret_file(node)?;
    if password.contains(char::is_control) {
        return Err(ConfigErrorKind::ControlCharacter);
    }
    Ok(Some(password.into()))
}

/// The secret in the file at this path.
pub(super) fn secret_file(node: &Node) -> Result<String, ConfigErrorKind> {
    files::secret(Path::new(file_path(node, SECRET_FILE)?))
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

/// How many calls may be in flight.
pub(in crate::config) fn concurrency(node: &Node) -> Result<Concurrency, ConfigErrorKind> {
    match text(node, AUTO_OR_NUMBER)? {
        "auto" => Ok(Concurrency::Auto),
        _ => count(node, 1..=1024, AUTO_OR_NUMBER).map(Concurrency::Fixed),
    }
}

/// `auto`, or the number.
pub(in crate::config) fn show_concurrency(concurrency: Concurrency) -> String {
    match concurrency {
        Concurrency::Auto => "auto".to_owned(),
        Concurrency::Fixed(calls) => calls.to_string(),
    }
}

/// Certificates that are trusted beside the system's; null means none.
pub(in crate::config) fn authorities(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    pem_file(node, CERTIFICATES, PemFile::authorities)
}

/// The chain of certificates that a client presents; null means none.
pub(in crate::config) fn chain(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    pem_file(node, CERTIFICATES, PemFile::chain)
}

/// The private key of a client; null means none.
pub(in crate::config) fn key(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    pem_file(node, KEY, PemFile::key)
}

fn pem_file(
    node: &Node,
    expected: &'static str,
    read: fn(&str) -> Result<PemFile, ConfigErrorKind>,
) -> Result<Option<PemFile>, ConfigErrorKind> {
    if node.is_null() { Ok(None) } else { read(file_path(node, expected)?).map(Some) }
}

/// The address of a proxy; null means none.
pub(in crate::config) fn proxy(node: &Node) -> Result<Option<reqwest::Url>, ConfigErrorKind> {
    const REMEDY: &str =
        "leave them out: a proxy that asks for a user name and a password is not supported";
    if node.is_null() {
        return Ok(None);
    }
    let url = url(node, REMEDY)?;
    if url.path() != "/" {
        let detail = "contains a path; write it as http://host:port";
        return Err(ConfigErrorKind::Detail(detail.to_owned()));
    }
    Ok(Some(url))
}

/// A rate such as `10/s`; null means none.
pub(in crate::config) fn rate(node: &Node) -> Result<Option<Rate>, ConfigErrorKind> {
    if node.is_null() {
        return Ok(None);
    }
    let text = text(node, RATE)?.trim();
    let parsed = || {
        let (requests, unit) = text.split_once('/')?;
        let (requests, unit) = (requests.trim_end(), unit.trim_start());
        let digits = requests.bytes().all(|byte| byte.is_ascii_digit());
        let requests = requests.parse().ok().filter(|_| digits)?;
        let per = RATE_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        (1..=MAX_RATE_REQUESTS).contains(&requests).then_some(Rate { requests, per })
    };
    parsed()
        .map(Some)
        .ok_or_else(|| ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: RATE })
}

/// A rate as it is written.
pub(in crate::config) fn show_rate(rate: Rate) -> String {
    let unit = RATE_UNITS.iter().find(|(_, per)| *per == rate.per).map_or("s", |(name, _)| name);
    format!("{}/{unit}", rate.requests)
}
