//! Parses IP addresses as logs and inventories write them.

use std::net::IpAddr;

/// Parses an IP address. The result is canonical: an IPv4-mapped IPv6 address becomes the IPv4
/// address (RFC 4291, section 2.5.5.2).
///
/// The address may have whitespace, brackets (`[2001:db8::1]`; RFC 3986, section 3.2.2), a
/// port (`17.1.2.3:443`, `[2001:db8::1]:443`) and a zone (`fe80::1%eth0`; RFC 4007, section 11)
/// around it. They are ignored, because they do not identify the machine.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    // Every address has a dot or a colon; most ids have neither.
    memchr::memchr2(b'.', b':', text.as_bytes())?;
    let text = text.trim();
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let port = after.trim_start();
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return None;
            }
            parse_without_port(inside)
        }
        None => parse_without_port(text).or_else(|| {
            let (address, port) = text.rsplit_once(':')?;
            if is_port(port) { parse_without_port(address) } else { None }
        }),
    };
    address.map(|address| address.to_canonical())
}

/// An address with or without a zone.
fn parse_without_port(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _zone)| address);
    address.trim().parse().ok()
}

/// Whether a text is a port. RFC 3986, section 3.2.3 allows an empty one after the colon.
fn is_port(text: &str) -> bool {
    let digits = text.trim();
    digits.is_empty()
        || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_surrounds_an_address_is_dropped() {
        for (text, address) in [
            ("17.1.2.3", "17.1.2.3"),
            (" 17.1.2.3", "17.1.2.3"),
            ("\t17.1.2.3\r\n", "17.1.2.3"),
            ("\u{a0}17.1.2.3 ", "17.1.2.3"),
            ("17.1.2.3:443", "17.1.2.3"),
            ("17.1.2.3:", "17.1.2.3"),
            ("[17.1.2.3]:22", "17.1.2.3"),
            ("169.254.1.1%eth0", "169.254.1.1"),
            ("::ffff:17.1.2.3", "17.1.2.3"),
            ("::FFFF:1101:203", "17.1.2.3"),
            ("[::ffff:17.1.2.3]:443", "17.1.2.3"),
            ("::ffff:17.1.2.3%1", "17.1.2.3"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            (" [ 2001:db8::1 ] :443 ", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%25eth0", "fe80::1"),
            ("[fe80::1%eth0]:8080", "fe80::1"),
            ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),
            // Without brackets the last group cannot be told from a port.
            ("2001:db8::1:443", "2001:db8::1:443"),
        ] {
            assert_eq!(parse_address(text), Some(address.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "",
            "1234",
            "host",
            "host.example",
            "17.1.2",
            "017.1.2.3",
            "17.1.2.256",
            "17.1.2.3:http",
            "17.1.2.3:65536",
            "17.1.2.3:+1",
            "17.1.2.3/24",
            "17.1.2.3 17.1.2.4",
            "17.1.2.3,17.1.2.4",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[]:443",
            "[1234]",
            "::ffff:17.1.2",
            ":",
            ".",
            "%eth0:1",
            "a:b",
        ] {
            assert_eq!(parse_address(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_address_is_read_as_by_the_standard_library(
            text in "[0-9a-f.:]{0,20}|([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|([0-9]{1,3}\\.){3}[0-9]{1,3}",
        ) {
            if let Ok(address) = text.parse::<IpAddr>() {
                prop_assert_eq!(parse_address(&text), Some(address.to_canonical()));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}|[\\[\\]%:. 0-9a-f]{0,40}") {
            let _ = parse_address(&text);
        }
    }
}
