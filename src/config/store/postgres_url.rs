//! URLs of PostgreSQL: what is accepted means what it means to libpq.
//!
//! A URL may have a password in it by mistake, so that no error quotes more of it than the name of
//! a parameter, `allow` and `prefer`, and the path of `sslrootcert`.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use super::{Postgres, PostgresTls, is_loopback, is_socket};
use crate::config::PemFile;
use crate::config::access::Files;
use crate::config::error::{ConfigErrorKind, Excerpt};

const DEFAULT_PORT: u16 = 5432;

/// The longest host name, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// The longest path of a Unix socket, in bytes: `sun_path` has 108, the last of which is 0.
const MAX_SOCKET_BYTES: usize = 107;

/// The most bytes of the name of a socket in its directory.
const SOCKET_NAME_BYTES: usize = "/.s.PGSQL.65535".len();

const KNOWN_PARAMETERS: &str = "`host`, `port`, `sslmode` and `sslrootcert`";

/// The parameters, as they are written.
#[derive(Default)]
struct Parameters {
    host: Option<String>,
    port: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

/// Parses `url`, whose text after the scheme is `rest`.
pub(super) fn parse(url: &str, rest: &str, files: Files) -> Result<Postgres, ConfigErrorKind> {
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // What is before it may be part of a password with such a character.
    if rest.contains('@') {
        return Err(detail(
            "contains an `@` after the host; percent-encode it (`%40`); a password belongs in the \
             file of `store.password_file`, not in the URL",
        ));
    }
    if rest.contains('#') {
        return Err(detail("contains a fragment (`#`); remove it, or percent-encode it (`%23`)"));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((user, address)) = authority.rsplit_once('@') else {
        return Err(detail("names no user; write it as `postgres://user@host/database`"));
    };
    if user.contains(':') {
        return Err(password_inside());
    }
    if user.contains('@') {
        return Err(detail("contains more than one `@`; percent-encode those in names (`%40`)"));
    }
    let parameters = parameters(query)?;
    let (host, port) = host_and_port(address, &parameters)?;
    let database = path.strip_prefix('/').unwrap_or(path);
    if database.contains('/') {
        return Err(detail("names more than one database; percent-encode `/` in a name (`%2F`)"));
    }
    Ok(Postgres {
        url: url.to_owned(),
        tls: tls(&host, &parameters, files)?,
        host,
        port,
        user: name(user, "user")?,
        password: None,
        password_file: None,
        database: name(database, "database")?,
    })
}

fn parameters(query: &str) -> Result<Parameters, ConfigErrorKind> {
    let mut parameters = Parameters::default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let slot = match name {
            "host" => &mut parameters.host,
            "port" => &mut parameters.port,
            "sslmode" => &mut parameters.sslmode,
            "sslrootcert" => &mut parameters.sslrootcert,
            "password" => return Err(password_inside()),
            _ => {
                let is_word =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let name = Some(name).filter(|name| name.bytes().all(is_word));
                let name = Excerpt::new(name.unwrap_or("…"));
                return Err(detail(format!(
                    "the parameter {name} is not supported; remove it; known are {KNOWN_PARAMETERS}"
                )));
            }
        };
        if slot.is_some() {
            return Err(detail(format!("the parameter `{name}` appears twice; keep one")));
        }
        *slot = Some(self::name(value, &format!("value of `{name}`"))?);
    }
    Ok(parameters)
}

/// The host and the port, each of which is in the address or in its parameter.
fn host_and_port(address: &str, parameters: &Parameters) -> Result<(String, u16), ConfigErrorKind> {
    let parameter = parameters.host.as_deref();
    if address.contains(',') || parameter.is_some_and(|host| host.contains(',')) {
        return Err(detail(
            "names several hosts; name one: an address that always leads to the primary",
        ));
    }
    let after_brackets = address.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match address[after_brackets..].split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err(detail(
                "has more than one `:` after the `@`; write an IPv6 address in \
                 brackets, such as `[::1]`",
            ));
        }
        Some((host, port)) => (&address[..after_brackets + host.len()], Some(port)),
        None => (address, None),
    };
    if port.is_some() && parameters.port.is_some() {
        return Err(detail("names a port before `?` and another after; keep one"));
    }
    let port = port.or(parameters.port.as_deref()).map_or(Some(DEFAULT_PORT), |port| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|port| digits && *port != 0)
    });
    let port = port.ok_or_else(|| detail("has a port that is not a number from 1 to 65535"))?;
    let host = match (host, parameter) {
        ("", None) => {
            return Err(detail(
                "names no host; write it as `postgres://user@host/database`, or with \
                 `?host=/directory` of a Unix socket",
            ));
        }
        ("", Some(parameter)) => parameter.to_owned(),
        (_, Some(_)) => return Err(detail("names a host before `?` and another after; keep one")),
        (host, None) => match host.strip_prefix('[') {
            Some(address) => {
                let address = address.strip_suffix(']').and_then(|ip| ip.parse::<Ipv6Addr>().ok());
                let address = address
                    .ok_or_else(|| detail("has something in brackets that is no IPv6 address"))?;
                return Ok((address.to_string(), port));
            }
            None => name(host, "host")?,
        },
    };
    check_host(&host)?;
    Ok((host, port))
}

fn check_host(host: &str) -> Result<(), ConfigErrorKind> {
    if is_socket(host) {
        return if host.len() + SOCKET_NAME_BYTES > MAX_SOCKET_BYTES {
            let most = MAX_SOCKET_BYTES - SOCKET_NAME_BYTES;
            Err(detail(format!(
                "has a directory of a Unix socket that is longer than {most} bytes; shorten it"
            )))
        } else {
            Ok(())
        };
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = host.bytes().all(is_allowed) && host.len() <= MAX_HOST_BYTES;
    if is_name || host.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(detail(
            "has a host that is no host name of ASCII letters, digits, `-`, `.` and `_`, no \
             address, and no directory of a Unix socket, which begins with `/`",
        ))
    }
}

fn tls(host: &str, parameters: &Parameters, files: Files) -> Result<PostgresTls, ConfigErrorKind> {
    let is_socket = is_socket(host);
    let authorities = parameters.sslrootcert.as_deref();
    let is_encrypted = match parameters.sslmode.as_deref() {
        None => authorities.is_some() || !(is_socket || is_loopback(host)),
        Some("disable") => false,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some(mode @ ("allow" | "prefer")) => {
            return Err(detail(format!(
                "`sslmode={mode}` would go on without encryption; write `verify-full`, or \
                 `disable` where nobody can listen"
            )));
        }
        Some(_) => {
            return Err(detail(
                "has an `sslmode` that is none of `disable`, `require`, `verify-ca` and \
                 `verify-full`",
            ));
        }
    };
    if is_socket && is_encrypted {
        return Err(detail(
            "asks for TLS over a Unix socket, which does without; remove `sslmode` and \
             `sslrootcert`",
        ));
    }
    match authorities {
        Some(_) if !is_encrypted => {
            Err(detail("has `sslrootcert` beside `sslmode=disable`; keep one of them"))
        }
        Some(path) if path != "system" && files == Files::Read => {
            Ok(PostgresTls::Verified { authorities: Some(PemFile::authorities(path)?) })
        }
        _ if is_encrypted => Ok(PostgresTls::Verified { authorities: None }),
        _ => Ok(PostgresTls::Disabled),
    }
}

/// A part of the URL, decoded; `what` it is stands in errors.
fn name(text: &str, what: &str) -> Result<String, ConfigErrorKind> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        if !is_digit(bytes.get(index + 1)) || !is_digit(bytes.get(index + 2)) {
            return Err(detail(format!(
                "has a {what} with a `%` without two hexadecimal digits after it; write `%25` for \
                 the character itself"
            )));
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| detail(format!("has a {what} that is not UTF-8")))?;
    if decoded.is_empty() {
        return Err(detail(format!(
            "names no {what}; write it as `postgres://user@host/database`"
        )));
    }
    if decoded.contains(char::is_control) {
        return Err(detail(format!("has a {what} with a control character; remove it")));
    }
    Ok(decoded.into_owned())
}

fn password_inside() -> ConfigErrorKind {
    detail("contains a password; write it into a file and name that in `store.password_file`")
}

fn detail(text: impl Into<String>) -> ConfigErrorKind {
    ConfigErrorKind::Detail(text.into())
}
