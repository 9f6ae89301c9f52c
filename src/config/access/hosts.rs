//! Reads and prints `allowed_hosts`.

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::Reader;
use crate::config::written::Written;
use crate::config::yaml::Node;

const HOSTS: &str = "a list of hosts, such as `[gateway.example, \"gateway.example:9000\"]`";
const HOST: &str = "a host's name or address, with or without a port, such as `gateway.example`, \
    `gateway.example:9000` or `[::1]:9000`";

/// The longest name of a host, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// The longest label of a name, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Reads the hosts, in lower case.
pub(in crate::config) fn read(reader: &mut Reader, node: &Node) -> Option<Arc<[String]>> {
    reader.one_or_more(node, HOSTS, host).map(Into::into)
}

/// The hosts as a YAML list; nothing if any host is allowed.
pub(in crate::config) fn show(hosts: Option<&[String]>) -> String {
    let Some(hosts) = hosts else { return String::new() };
    let list = Written::List(hosts.iter().map(|host| Written::text(host)).collect());
    let value = list.after(0, "allowed_hosts:".len());
    value.strip_prefix(' ').map_or_else(|| value.clone(), str::to_owned)
}

fn host(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.line(node, HOST)?;
    let checked = check(&text).map(|()| text.to_ascii_lowercase());
    reader.value(node, checked)
}

fn check(text: &str) -> Result<(), ConfigErrorKind> {
    let because = |detail: &str| Err(ConfigErrorKind::Detail(detail.to_owned()));
    if text.contains('@') {
        return because("contains a user name or a password before the `@`; give the host alone");
    }
    if text.contains('*') {
        return because("hosts are compared whole, so `*` matches nothing; list each host");
    }
    if text.contains("://") {
        return because("begins with a scheme; give the host alone, such as `gateway.example`");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return because("write an IPv6 address in brackets, such as `[::1]`, as requests do");
    }
    if !text.is_ascii() {
        return because(
            "has other characters than ASCII; write the name as requests do, with \
                        `xn--…`",
        );
    }
    let is_host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            let is_end = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            address.parse::<Ipv6Addr>().is_ok() && is_end
        }
        None => match text.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(text),
        },
    };
    if is_host {
        Ok(())
    } else {
        Err(ConfigErrorKind::Unparsable { found: Excerpt::new(text), expected: HOST })
    }
}

/// Whether this is a name or an IPv4 address; a name may end with a dot.
fn is_name(text: &str) -> bool {
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(is_of_label)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label)
}

/// Whether this is a port as requests spell it.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0 && port.to_string() == text)
}
