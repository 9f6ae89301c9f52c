//! Parses and prints durations, sizes, numbers, addresses and URLs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::error::{ConfigErrorKind, Excerpt};
use super::yaml::{Node, Value};

const DURATION: &str = "a duration, such as `1500ms`, `30s` or `1h`";
const SIZE: &str = "a size, such as `64MiB` or a number of bytes";
const ADDRESS: &str =
    "an address and a port, such as `0.0.0.0:9000`, `[::1]:9000`, `localhost:9000` or `:9000`";

/// The units of sizes: powers of 1024 and of 1000.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// The text of a scalar that is not null.
pub(super) fn text<'a>(node: &'a Node, expected: &'static str) -> Result<&'a str, ConfigErrorKind> {
    match &node.value {
        _ if node.is_null() => Err(ConfigErrorKind::Empty { expected }),
        Value::Scalar { text, .. } => Ok(text),
        _ => Err(ConfigErrorKind::WrongShape { expected, found: node.kind() }),
    }
}

/// The path of a file, relative to the working directory.
pub(super) fn file_path<'n>(
    node: &'n Node,
    expected: &'static str,
) -> Result<&'n str, ConfigErrorKind> {
    match text(node, expected)? {
        "" => Err(ConfigErrorKind::Empty { expected }),
        path => Ok(path),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, ConfigErrorKind> {
    const EXPECTED: &str = "`true` or `false`";
    match text(node, EXPECTED)?.trim() {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        other => {
            Err(ConfigErrorKind::Unparsable { found: Excerpt::new(other), expected: EXPECTED })
        }
    }
}

/// A duration with its unit, within `range`, in whole microseconds.
pub(super) fn duration(
    node: &Node,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ConfigErrorKind> {
    let text = text(node, DURATION)?.trim();
    if is_number(text) && text.bytes().any(|digit| matches!(digit, b'1'..=b'9')) {
        return Err(ConfigErrorKind::NoUnit { found: text.to_owned() });
    }
    let unparsable =
        || ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: DURATION };
    // humantime 2.4 panics if adding up the parts overflows; 15 digits are too few for that.
    if text.bytes().filter(u8::is_ascii_digit).count() > 15 {
        return Err(unparsable());
    }
    let value = if is_number(text) {
        Duration::ZERO
    } else {
        humantime::parse_duration(text).map_err(|_| unparsable())?
    };
    let value = Duration::new(value.as_secs(), value.subsec_micros() * 1000);
    within(value, range, text, show_duration)
}

/// A duration's text with the unit seconds added to a plain number, as in `ELEVATE_TIMEOUT`.
pub(super) fn with_unit(text: &str) -> String {
    let text = text.trim();
    if is_number(text) { format!("{text}s") } else { text.to_owned() }
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A size in bytes, within `range`.
pub(super) fn size(node: &Node, range: RangeInclusive<u64>) -> Result<u64, ConfigErrorKind> {
    let text = text(node, SIZE)?.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => Some(1),
        unit => UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|&(_, factor)| factor),
    };
    let (Ok(number), Some(factor)) = (number.parse::<u128>(), factor) else {
        return Err(ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: SIZE });
    };
    let bytes = u64::try_from(number.saturating_mul(u128::from(factor))).unwrap_or(u64::MAX);
    within(bytes, range, text, show_size)
}

/// A whole number, within `range`.
pub(super) fn count(
    node: &Node,
    range: RangeInclusive<usize>,
    expected: &'static str,
) -> Result<usize, ConfigErrorKind> {
    let text = text(node, expected)?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected });
    }
    // Digits that do not parse are a number that is too large.
    within(text.parse().unwrap_or(usize::MAX), range, text, |count| count.to_string())
}

fn within<T: PartialOrd + Copy>(
    value: T,
    range: RangeInclusive<T>,
    text: &str,
    show: fn(T) -> String,
) -> Result<T, ConfigErrorKind> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ConfigErrorKind::OutOfRange {
        found: Excerpt::new(text),
        from: show(*range.start()),
        to: show(*range.end()),
    })
}

/// An address to listen on: `IP:PORT`, `localhost:PORT` (IPv4), or `:PORT` (every IPv4 address).
pub(super) fn address(node: &Node) -> Result<SocketAddr, ConfigErrorKind> {
    let text = text(node, ADDRESS)?.trim();
    let ip = |host| match host {
        "" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => None,
    };
    let short = || {
        let (host, port) = text.rsplit_once(':')?;
        let all_digits = port.bytes().all(|byte| byte.is_ascii_digit());
        Some(SocketAddr::new(ip(host)?, port.parse().ok().filter(|_| all_digits)?))
    };
    text.parse()
        .ok()
        .or_else(short)
        .ok_or_else(|| ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: ADDRESS })
}

/// A URL of `http` or `https` without user name, password, query or fragment. Errors never contain
/// the URL.
pub(super) fn url(node: &Node, remedy: &'static str) -> Result<Url, ConfigErrorKind> {
    let url = url_with_query(node, remedy)?;
    if url.query().is_some() {
        return Err(ConfigErrorKind::UrlQuery);
    }
    Ok(url)
}

/// A URL of `http` or `https` without user name, password or fragment. Errors never contain the
/// URL.
pub(super) fn url_with_query(node: &Node, remedy: &'static str) -> Result<Url, ConfigErrorKind> {
    let text = text(node, "a URL, such as `https://host:port`")?.trim();
    let url = Url::parse(text).map_err(|error| ConfigErrorKind::NotAUrl(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigErrorKind::UrlScheme);
    }
    // The parser drops an empty user name (`https://@host`), so this looks at the text.
    let rest = text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    if rest.split(['/', '\\', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(ConfigErrorKind::UrlCredentials { remedy });
    }
    if url.fragment().is_some() {
        return Err(ConfigErrorKind::UrlQuery);
    }
    Ok(url)
}

/// The name of a header that a configuration may set.
pub(super) fn header_name(text: &str) -> Result<HeaderName, ConfigErrorKind> {
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| ConfigErrorKind::NotAHeaderName)?;
    if GATEWAY_HEADERS.contains(&name.as_str()) {
        return Err(ConfigErrorKind::GatewayHeader);
    }
    Ok(name)
}

/// Checks that a header can hold this text.
pub(super) fn check_header_value(text: &str) -> Result<(), ConfigErrorKind> {
    if text.is_ascii() && HeaderValue::from_str(text).is_ok() {
        Ok(())
    } else {
        Err(ConfigErrorKind::NotAHeaderValue)
    }
}

/// The headers that the gateway sets itself, or that only it may send.
const GATEWAY_HEADERS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The path of an endpoint below the base URL.
pub(super) fn path(node: &Node) -> Result<String, ConfigErrorKind> {
    const EXPECTED: &str = "a path that begins with one `/`, such as `/incidents/denial/`, \
        without `?`, `#`, `\\` or spaces";
    let text = text(node, EXPECTED)?;
    // `//host` and `/\host` would send the credentials to another host.
    let changes_host = text.starts_with("//") || text.contains('\\');
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
    if !text.starts_with('/') || changes_host || text.contains(is_forbidden) {
        return Err(ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: EXPECTED });
    }
    Ok(text.to_owned())
}

/// A duration of whole microseconds, in the largest unit without a fraction.
pub(super) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000)];
    match units.iter().find(|(_, unit)| micros.is_multiple_of(*unit)) {
        _ if micros == 0 => "0s".to_owned(),
        Some((name, unit)) => format!("{}{name}", micros / unit),
        None => format!("{micros}us"),
    }
}

/// A size in the largest power of 1024 without a fraction.
pub(super) fn show_size(bytes: u64) -> String {
    let unit = UNITS.iter().take(4).find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A URL as a YAML scalar.
pub(super) fn show_url(url: &Url) -> String {
    let text = url.as_str();
    show_text(if url.path() == "/" { text.strip_suffix('/').unwrap_or(text) } else { text })
}

/// An address as a YAML scalar.
pub(super) fn show_address(address: SocketAddr) -> String {
    if address.is_ipv4() { address.to_string() } else { format!("\"{address}\"") }
}

/// A text as a YAML scalar: plain if every YAML parser reads it as a string, else in double quotes.
pub(super) fn show_text(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | ':');
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let reserved_words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let ends_plain = !text.ends_with(':');
    if starts_plain
        && ends_plain
        && text.chars().all(is_plain)
        && !reserved_words.iter().any(|word| text.eq_ignore_ascii_case(word))
    {
        return text.to_owned();
    }
    let escaped = |c| match c {
        '"' | '\\' => format!("\\{c}"),
        ' '..='~' => c.to_string(),
        _ => format!("\\U{:08X}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests;
