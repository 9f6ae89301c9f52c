//! Queries and forms: `name=value` pairs, percent-encoded and joined by `&`.

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, percent_encode,
    utf8_percent_encode,
};

/// All characters but the unreserved ones (RFC 3986, section 2.3). A blank becomes `%20`, which
/// servers read as a blank in queries and in forms; some take `+` for itself in a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name or value as it stands in a query or form.
pub(crate) fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// Appends a pair.
pub(crate) fn append(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.extend(encoded(name));
    query.push('=');
    query.extend(encoded(value));
}

/// A part of an address in which each character is percent-encoded in the same way.
pub(super) fn normalized(part: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(part).collect();
    percent_encode(&bytes, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_characters_is_encoded() {
        let mut query = "a=1".to_owned();
        append(&mut query, "$filter", "x gt '2026-03-02T11:00:00Z'&y=+å~._-");
        assert_eq!(
            query,
            "a=1&%24filter=x%20gt%20%272026-03-02T11%3A00%3A00Z%27%26y%3D%2B%C3%A5~._-"
        );
    }
}
