use proptest::prelude::*;

use super::*;
use crate::access::ClientCertificate;

const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// A DER value.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match u8::try_from(length) {
        Ok(length @ 0..=0x7f) => vec![tag, length],
        Ok(length) => vec![tag, 0x81, length],
        Err(_) => [&[tag, 0x82], &u16::try_from(length).unwrap().to_be_bytes()[..]].concat(),
    };
    [&header, content].concat()
}

fn attribute(kind: &[u8], tag: u8, content: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[value(OBJECT_IDENTIFIER, kind), value(tag, content)].concat())
}

/// A subject of relative names with one attribute each.
fn subject(attributes: &[Vec<u8>]) -> Vec<u8> {
    attributes.iter().flat_map(|attribute| value(SET, attribute)).collect()
}

fn named(tag: u8, content: &[u8]) -> Option<String> {
    common_name(&subject(&[attribute(COMMON_NAME, tag, content)])).map(|name| name.to_string())
}

#[test]
fn each_type_of_text_is_read() {
    for (tag, content, name) in [
        (UTF8_STRING, "Zoë".as_bytes(), "Zoë"),
        (PRINTABLE_STRING, b"gateway client", "gateway client"),
        (IA5_STRING, b"alice@example.org", "alice@example.org"),
        (T61_STRING, b"alice", "alice"),
        (BMP_STRING, b"\0Z\0o\0\xeb", "Zoë"),
    ] {
        assert_eq!(named(tag, content).as_deref(), Some(name));
    }
}

#[test]
fn what_cannot_be_a_principal_is_no_name() {
    for (tag, content) in [
        (UTF8_STRING, &b""[..]),
        (UTF8_STRING, b"admin\0.evil"),
        (UTF8_STRING, b"\xff"),
        (UTF8_STRING, b"a\nb"),
        (UTF8_STRING, "a\u{85}b".as_bytes()),
        (PRINTABLE_STRING, b"Zo\xeb"),
        (T61_STRING, b"Zo\xeb"),
        (BMP_STRING, b"\0a\0"),
        (BMP_STRING, b"\0a\0\0"),
        (BMP_STRING, b"\xd8\0"),
        (0x1c, b"\0\0\0a"),
        (0x02, b"\x01"),
    ] {
        assert_eq!(named(tag, content), None, "{tag:x} {content:?}");
    }
    assert_eq!(named(UTF8_STRING, &[b'x'; 256]), Some("x".repeat(256)));
    assert_eq!(named(UTF8_STRING, &[b'x'; 257]), None);
    assert_eq!(named(UTF8_STRING, &[b'x'; 70_000 % 65_000]), None);
}

#[test]
fn the_last_common_name_counts() {
    let organization = attribute(ORGANIZATION, UTF8_STRING, b"Example");
    let first = attribute(COMMON_NAME, UTF8_STRING, b"first");
    let second = attribute(COMMON_NAME, UTF8_STRING, b"second");
    let names = |attributes: &[&Vec<u8>]| {
        let attributes: Vec<_> = attributes.iter().copied().cloned().collect();
        common_name(&subject(&attributes))
    };
    assert_eq!(names(&[&first, &organization, &second]).as_deref(), Some("second"));
    assert_eq!(names(&[&second, &first, &organization]).as_deref(), Some("first"));
    assert_eq!(names(&[&organization]), None);
    let several_in_one = value(SET, &[first.clone(), second].concat());
    assert_eq!(common_name(&several_in_one).as_deref(), Some("second"));
    let unusable = attribute(COMMON_NAME, UTF8_STRING, b"a\0b");
    assert_eq!(names(&[&first, &unusable]), None, "an earlier one is not taken instead");
    assert_eq!(common_name(b""), None);
}

#[test]
fn malformed_subjects_have_no_name() {
    let good = subject(&[attribute(COMMON_NAME, UTF8_STRING, b"alice")]);
    for length in 0..good.len() {
        assert_eq!(common_name(&good[..length]), None, "cut at {length}");
    }
    for bytes in [&b"\x31\x80\0\0"[..], b"\x31\x84\0\0\0\0", b"\x31\x85\xff\xff\xff\xff\xff"] {
        assert_eq!(common_name(bytes), None);
    }
    let mut trailing = good;
    trailing.push(0);
    assert_eq!(common_name(&trailing), None);
}

#[test]
fn a_whole_certificate_is_read() {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "x".repeat(300));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let read = ClientCertificate::from_der(certificate.der(), [7; 32]);
    assert_eq!(read.common_name.as_deref(), Some("alice"));
    assert_eq!(read.authority, [7; 32]);
    assert_eq!(ClientCertificate::from_der(&b"garbage"[..].into(), [7; 32]).common_name, None);
}

proptest! {
    #[test]
    fn names_are_read_back(name in "\\PC{1,60}") {
        prop_assert_eq!(named(UTF8_STRING, name.as_bytes()), Some(name));
    }

    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Some(name) = common_name(&bytes) {
            prop_assert!(!name.is_empty() && name.len() <= MAX_COMMON_NAME_BYTES);
        }
    }

    #[test]
    fn changed_subjects_are_survived(
        at in 0_usize..1000, byte in any::<u8>(), length in 0_usize..200,
    ) {
        let mut bytes = subject(&[
            attribute(ORGANIZATION, UTF8_STRING, &vec![b'o'; length]),
            attribute(COMMON_NAME, BMP_STRING, b"\0a\0l\0i\0c\0e"),
            attribute(COMMON_NAME, UTF8_STRING, b"alice"),
        ]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(name) = common_name(&bytes) {
            prop_assert!(!name.chars().any(char::is_control));
        }
    }
}
