//! The envelope of a mapped record: an object whose last member is the record as the source sent
//! it.

use crate::json::Scanner;

/// The last member of an envelope.
pub(super) const RECORD_MEMBER: &str = "record";

/// The record in an envelope.
pub(super) fn enveloped(envelope: &[u8]) -> Option<&[u8]> {
    let mut scanner = Scanner::new(envelope);
    scanner.expect(b'{', "expected an envelope").ok()?;
    while scanner.name().ok()? != RECORD_MEMBER {
        scanner.value(1).ok()?;
        scanner.expect(b',', "expected the record").ok()?;
    }
    envelope.get(scanner.position()..envelope.len() - 1)
}
