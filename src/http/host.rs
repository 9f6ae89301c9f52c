//! The `Host` header, which nothing here looks at and the protocol demands all the same (RFC 9112,
//! section 3.2): what one server on the way takes for the host and another does not is how requests
//! are smuggled past them.

use std::net::Ipv6Addr;

use http::header::{self, HeaderMap};
use http::{HeaderValue, Version};

/// Whether a request says for whom it is as its version demands: once in HTTP/1.1, at most once in
/// HTTP/1.0, where it may be left out, as it may in HTTP/2, which has `:authority`.
pub(super) fn is_lawful(version: Version, headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => version != Version::HTTP_11,
        (Some(host), None) => is_host(host),
        (Some(_), Some(_)) => false,
    }
}

/// A name or an address, with or without a port. An empty value is a host too (RFC 3986, section
/// 3.2.2).
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let after_host = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok();
            if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
                return false;
            }
            &rest[end + 1..]
        }
        _ => &value[value.iter().take_while(|byte| is_of_name(**byte)).count()..],
    };
    match after_host {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a byte may stand in a registered name or an IPv4 address (RFC 3986, section 3.2.2).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lawful(version: Version, hosts: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        is_lawful(version, &headers)
    }

    #[test]
    fn names_and_addresses_are_hosts() {
        for host in [
            "localhost",
            "localhost:9000",
            "example.com:",
            "10.0.0.1:80",
            "[::1]",
            "[2001:db8::7]:9000",
            "under_score",
            "a%20b",
            "",
        ] {
            assert!(lawful(Version::HTTP_11, &[host]), "{host:?}");
        }
        for host in [
            "a b", "a/b", "a@b", "http://a", "a?b", "a#b", "a:b", "a:1:2", "::1", "[::1", "[::1]9",
            "[a]", "a\\b", "a,b:c", "<a>",
        ] {
            assert!(!lawful(Version::HTTP_11, &[host]), "{host:?}");
        }
    }

    #[test]
    fn it_stands_there_as_often_as_the_version_demands() {
        assert!(!lawful(Version::HTTP_11, &[]));
        assert!(lawful(Version::HTTP_10, &[]) && lawful(Version::HTTP_2, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert!(lawful(version, &["a"]), "{version:?}");
            assert!(!lawful(version, &["a", "a"]) && !lawful(version, &["a", "b"]), "{version:?}");
            assert!(!lawful(version, &["a b"]), "{version:?}");
        }
    }
}
