//! Queries and forms: `name=value` pairs, percent-encoded and joined by `&`.

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode,
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

/// The decoded value of the first pair with this name.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').find(|pair| pair_name(pair) == name)?;
    let (_, value) = pair.split_once('=').unwrap_or_default();
    Some(decoded(value).into_owned())
}

/// The query without the pairs of this name; the other pairs keep their bytes.
pub(super) fn without(query: &str, name: &str) -> String {
    let others: Vec<_> = query.split('&').filter(|pair| pair_name(pair) != name).collect();
    others.join("&")
}

fn pair_name(pair: &str) -> Cow<'_, str> {
    decoded(pair.split_once('=').map_or(pair, |(name, _)| name))
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let blanks = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&blanks).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
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

    #[test]
    fn pairs_are_found_by_their_decoded_name() {
        let query = "a=1&%24skip=2&page%5Bno%5D=3&b+c=4&flag&a=5";
        for (name, expected) in
            [("a", "1"), ("$skip", "2"), ("page[no]", "3"), ("b c", "4"), ("flag", "")]
        {
            assert_eq!(value(query, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!((value(query, "skip"), value("", "a")), (None, None));
        assert_eq!(without(query, "a"), "%24skip=2&page%5Bno%5D=3&b+c=4&flag");
        assert_eq!(without("a=1", "a"), "");
    }
}
