//! Content negotiation: selects the content coding and format (RFC 9110, section 12.5).

use http::header::{self, HeaderMap, HeaderName};

use crate::render::Format;
use crate::render::compress::Coding;

/// A member of a comma-separated field.
struct Item<'a> {
    /// Without its parameters.
    value: &'a [u8],
    quality: f32,
}

/// The members of a field, from all its lines. Those with an invalid `q` are skipped.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Item<'_>> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| split_unquoted(line.as_bytes(), b',')).filter_map(|item| {
        let mut parts = split_unquoted(item, b';');
        let value = parts.next().unwrap_or_default().trim_ascii();
        let mut quality = 1.0;
        for parameter in parts {
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let key = halves.next().unwrap_or_default().trim_ascii();
            if key.eq_ignore_ascii_case(b"q") {
                quality = read_quality(halves.next().unwrap_or_default().trim_ascii())?;
                break;
            }
        }
        (!value.is_empty()).then_some(Item { value, quality })
    })
}

/// Splits at separators outside quoted strings.
fn split_unquoted(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.split(move |&byte| {
        let was_escaped = std::mem::replace(&mut is_escaped, false);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        byte == separator && !is_quoted
    })
}

/// Parses a weight from 0 to 1.
fn read_quality(bytes: &[u8]) -> Option<f32> {
    let is_decimal = bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let quality = str::from_utf8(bytes).ok().filter(|_| is_decimal)?.parse().ok()?;
    (0.0..=1.0).contains(&quality).then_some(quality)
}

/// The supported coding that the caller prefers. Among equals, zstd is chosen first, because it is
/// the smallest and cheapest, then gzip. `None` if the caller excludes all of them.
#[must_use]
pub fn coding(headers: &HeaderMap) -> Option<Coding> {
    let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
    for Item { value, quality } in items(headers, header::ACCEPT_ENCODING) {
        let slot = match value {
            _ if value.eq_ignore_ascii_case(b"zstd") => &mut zstd,
            _ if value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip") => {
                &mut gzip
            }
            _ if value.eq_ignore_ascii_case(b"identity") => &mut identity,
            b"*" => &mut any,
            _ => continue,
        };
        *slot = Some(quality);
    }
    // A coding that is neither named nor covered by `*` is not acceptable. Identity is an
    // exception: it is acceptable, but never preferred to a coding that the caller named.
    let zstd = zstd.or(any).unwrap_or(0.0);
    let gzip = gzip.or(any).unwrap_or(0.0);
    let identity_quality = identity.unwrap_or(0.0);
    if zstd > 0.0 && zstd >= gzip && zstd >= identity_quality {
        Some(Coding::Zstd)
    } else if gzip > 0.0 && gzip >= identity_quality {
        Some(Coding::Gzip)
    } else {
        (identity.or(any) != Some(0.0)).then_some(Coding::Identity)
    }
}

/// How specific a media range that matches the media type is: 0 for `*/*`, 1 for `type/*`, 2 for
/// `type/subtype`. `None` if it does not match.
fn specificity(range: &[u8], media_type: &str) -> Option<u8> {
    let essence = media_type.split(';').next().unwrap_or_default();
    let kind = essence.split('/').next().unwrap_or_default();
    if range.eq_ignore_ascii_case(essence.as_bytes()) {
        Some(2)
    } else if range.strip_suffix(b"/*").is_some_and(|r| r.eq_ignore_ascii_case(kind.as_bytes())) {
        Some(1)
    } else {
        // Old Java clients send a single `*`.
        matches!(range, b"*/*" | b"*").then_some(0)
    }
}

/// The format that the caller prefers. The most specific range that matches a format decides its
/// quality; parameters other than `q` are ignored. Among formats of equal quality, the one with the
/// most specific range is chosen, then the one whose range comes first, then JSON.
///
/// If no range matches a format with a quality above 0, the result is the first format that the
/// caller does not exclude, beginning with JSON (allowed by RFC 9110, section 12.4.1); `None` if it
/// excludes all of them.
#[must_use]
pub fn format(headers: &HeaderMap) -> Option<Format> {
    let mut best: Option<(f32, u8, std::cmp::Reverse<usize>, Format)> = None;
    let mut unnamed = None;
    for format in Format::ALL {
        let ranges = items(headers, header::ACCEPT).enumerate();
        let matching = ranges.filter_map(|(position, Item { value, quality })| {
            Some((specificity(value, format.content_type())?, quality, std::cmp::Reverse(position)))
        });
        let decisive =
            matching.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let Some((specificity, quality, position)) = decisive else {
            unnamed = unnamed.or(Some(format));
            continue;
        };
        let candidate = (quality, specificity, position, format);
        let is_better =
            best.is_none_or(|best| (quality, specificity, position) > (best.0, best.1, best.2));
        if quality > 0.0 && is_better {
            best = Some(candidate);
        }
    }
    best.map(|(.., format)| format).or(unnamed)
}

/// Whether `Accept` names HTML explicitly, as browsers do.
#[must_use]
pub fn accepts_html(headers: &HeaderMap) -> bool {
    items(headers, header::ACCEPT)
        .any(|item| item.value.eq_ignore_ascii_case(b"text/html") && item.quality > 0.0)
}

/// Whether HTML is acceptable to the caller: because the most specific matching range says so, or
/// because there is no `Accept`.
#[must_use]
pub fn allows_html(headers: &HeaderMap) -> bool {
    let matching = items(headers, header::ACCEPT)
        .filter_map(|item| Some((specificity(item.value, "text/html")?, item.quality)));
    match matching.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))) {
        Some((_, quality)) => quality > 0.0,
        None => !headers.contains_key(header::ACCEPT),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn html_is_allowed_by_the_most_specific_range_or_by_silence() {
        let cases: [(&[&'static str], bool, bool); 6] = [
            (&[], true, false),
            (&["*/*"], true, false),
            (&["text/html, */*;q=0.1"], true, true),
            (&["text/html;q=0, */*"], false, false),
            (&["TEXT/*"], true, false),
            (&["application/json"], false, false),
        ];
        for (values, allows, names) in cases {
            let headers = headers(&header::ACCEPT, values);
            assert_eq!(
                (allows_html(&headers), accepts_html(&headers)),
                (allows, names),
                "{values:?}"
            );
        }
    }

    #[test]
    fn codings_follow_quality() {
        let cases: &[(&[&'static str], Option<Coding>)] = &[
            (&[], Some(Coding::Identity)),
            (&[""], Some(Coding::Identity)),
            (&["gzip"], Some(Coding::Gzip)),
            (&["X-GZip"], Some(Coding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Coding::Zstd)),
            (&["gzip", "zstd"], Some(Coding::Zstd)),
            (&["gzip;q=1.0, ZSTD;q=0.5"], Some(Coding::Gzip)),
            (&["GZIP; Q=0.3"], Some(Coding::Gzip)),
            (&["gzip;q=0"], Some(Coding::Identity)),
            (&["gzip;q=0.000, *"], Some(Coding::Zstd)),
            (&["gzip;q=0.5, identity"], Some(Coding::Identity)),
            (&["gzip;q=2"], Some(Coding::Identity)),
            (&["gzip;q=nan"], Some(Coding::Identity)),
            (&["*"], Some(Coding::Zstd)),
            (&["*, zstd;q=0"], Some(Coding::Gzip)),
            (&["*;q=0, gzip"], Some(Coding::Gzip)),
            (&["*;q=0, Identity;q=0.1"], Some(Coding::Identity)),
            (&["br, deflate"], Some(Coding::Identity)),
            (&["identity;q=0, gzip;q=0.1"], Some(Coding::Gzip)),
            (&["identity;q=0"], None),
            (&["identity;q=0, br"], None),
            (&["*;q=0"], None),
        ];
        for (values, expected) in cases {
            let headers = headers(&header::ACCEPT_ENCODING, values);
            assert_eq!(coding(&headers), *expected, "{values:?}");
        }
    }

    #[test]
    fn the_most_specific_range_decides_the_format() {
        for (value, expected) in [
            ("application/json", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("Text/CSV; charset=utf-8", Some(Format::Csv)),
            ("TEXT/*", Some(Format::Csv)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Some(Format::Json)),
            ("text/csv;q=0.5, application/x-ndjson;q=0.6", Some(Format::Ndjson)),
            ("text/csv, */*", Some(Format::Csv)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("application/json, text/csv", Some(Format::Json)),
            ("application/json;q=0, */*", Some(Format::Ndjson)),
            ("*/*, application/json;q=0, application/x-ndjson;q=0", Some(Format::Csv)),
            ("application/*;q=0, */*;q=0.1", Some(Format::Csv)),
            ("application/*;q=0.9, application/json;q=0.1", Some(Format::Ndjson)),
            ("*/*;q=0.1, text/*;q=0.2, text/csv;q=0", Some(Format::Json)),
            (r#"text/html;title="a, text/csv;q=1", */*;q=0.1"#, Some(Format::Json)),
            ("text/csv;q=0", Some(Format::Json)),
            ("application/json;q=0", Some(Format::Ndjson)),
            ("image/png", Some(Format::Json)),
            ("*/*;q=0", None),
            ("application/*;q=0, text/*;q=0.0", None),
        ] {
            assert_eq!(format(&headers(&header::ACCEPT, &[value])), expected, "{value}");
        }
        assert_eq!(format(&HeaderMap::new()), Some(Format::Json));
    }

    #[test]
    fn html_is_accepted_only_by_name() {
        for (value, expected) in [
            ("text/html", true),
            ("application/json, Text/HTML;q=0.1", true),
            ("text/html;q=0", false),
            ("*/*", false),
        ] {
            assert_eq!(accepts_html(&headers(&header::ACCEPT, &[value])), expected, "{value}");
        }
    }
}
