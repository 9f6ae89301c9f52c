//! What a caller prefers: content codings and formats by quality (RFC 9110, section 12), and
//! `Prefer` (RFC 7240).

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::cache::Format;
use crate::render::compress::Coding;

/// Shows the items of a comma-separated header, over all its lines, with their `q`. Items whose `q`
/// is no quality are passed over.
fn qualities(headers: &HeaderMap, name: HeaderName, mut show: impl FnMut(&[u8], f32)) {
    for line in headers.get_all(name) {
        for item in line.as_bytes().split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let quality = parts.find_map(|parameter| {
                let equals = parameter.iter().position(|byte| *byte == b'=')?;
                let (key, value) =
                    (parameter[..equals].trim_ascii(), parameter[equals + 1..].trim_ascii());
                key.eq_ignore_ascii_case(b"q")
                    .then(|| str::from_utf8(value).ok()?.parse::<f32>().ok())
            });
            match quality.unwrap_or(Some(1.0)) {
                Some(quality) if !name.is_empty() && (0.0..=1.0).contains(&quality) => {
                    show(name, quality);
                }
                _ => {}
            }
        }
    }
}

/// The coding the caller likes best of those we have; of equals zstd, which is the smallest and
/// cheapest, then gzip. Identity when nothing else is acceptable, even if the caller excludes it:
/// an answer helps more than a 406.
#[must_use]
pub fn coding(headers: &HeaderMap) -> Coding {
    let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
    qualities(headers, header::ACCEPT_ENCODING, |name, quality| {
        let slot = match name {
            _ if name.eq_ignore_ascii_case(b"zstd") => &mut zstd,
            _ if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                &mut gzip
            }
            _ if name.eq_ignore_ascii_case(b"identity") => &mut identity,
            b"*" => &mut any,
            _ => return,
        };
        *slot = Some(quality);
    });
    let quality = |named: Option<f32>| named.or(any).unwrap_or(0.0);
    let (zstd, gzip) = (quality(zstd), quality(gzip));
    // Unless it is named, identity is acceptable but never preferred to a coding that the caller
    // named.
    let identity = identity.unwrap_or(0.0);
    if zstd > 0.0 && zstd >= gzip && zstd >= identity {
        Coding::Zstd
    } else if gzip > 0.0 && gzip >= identity {
        Coding::Gzip
    } else {
        Coding::Identity
    }
}

/// The format the caller likes best of those we have; JSON when it asks for none of them.
#[must_use]
pub fn format(headers: &HeaderMap) -> Format {
    let mut best = (Format::Json, 0.0);
    qualities(headers, header::ACCEPT, |name, quality| {
        let format = Format::ALL.into_iter().find(|format| {
            let essence = format.content_type().split(';').next().unwrap_or_default();
            name.eq_ignore_ascii_case(essence.as_bytes())
        });
        let format = format.or(match name {
            b"*/*" | b"application/*" => Some(Format::Json),
            b"text/*" => Some(Format::Csv),
            _ => None,
        });
        if let Some(format) = format
            && quality > best.1
        {
            best = (format, quality);
        }
    });
    best.0
}

/// Whether the caller names HTML among what it accepts, as browsers do.
#[must_use]
pub fn accepts_html(headers: &HeaderMap) -> bool {
    let mut accepts = false;
    qualities(headers, header::ACCEPT, |name, quality| {
        accepts |= name.eq_ignore_ascii_case(b"text/html") && quality > 0.0;
    });
    accepts
}

/// What the caller asks for by `Prefer`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Preferences {
    /// `handling`: whether it shall be all or nothing.
    pub strict: Option<bool>,
    /// `wait`: how long the caller would wait.
    pub wait: Option<Duration>,
}

impl Preferences {
    /// Reads the header's lines; what is unknown or malformed is ignored, as RFC 7240 asks, and of
    /// repeated preferences the first counts.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        let lines = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in lines.flat_map(|line| line.split(',')) {
            let Some((name, value)) =
                preference.split(';').next().unwrap_or_default().split_once('=')
            else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("handling") {
                let strict = match value {
                    "strict" => Some(true),
                    "lenient" => Some(false),
                    _ => None,
                };
                preferences.strict = preferences.strict.or(strict);
            } else if name.eq_ignore_ascii_case("wait") {
                preferences.wait = preferences.wait.or(value.parse().ok().map(Duration::from_secs));
            }
        }
        preferences
    }

    /// The value of `Preference-Applied`: all of them are honoured, since an answer within the
    /// budget comes within any longer wait too.
    #[must_use]
    pub fn applied(&self) -> Option<String> {
        let handling = self
            .strict
            .map(|strict| if strict { "handling=strict" } else { "handling=lenient" }.to_owned());
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied: Vec<String> = handling.into_iter().chain(wait).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }

    /// Puts `Preference-Applied` on an answer, where there is something to say.
    pub fn insert_applied(&self, headers: &mut HeaderMap) {
        if let Some(applied) = self.applied() {
            let applied =
                HeaderValue::try_from(applied).expect("words and numbers make a header value");
            headers.insert("preference-applied", applied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn codings_follow_quality() {
        let cases: &[(&[&'static str], Coding)] = &[
            (&[], Coding::Identity),
            (&[""], Coding::Identity),
            (&["gzip"], Coding::Gzip),
            (&["gzip, deflate, br, zstd"], Coding::Zstd),
            (&["gzip", "zstd"], Coding::Zstd),
            (&["gzip;q=1.0, zstd;q=0.5"], Coding::Gzip),
            (&["GZIP; Q=0.3"], Coding::Gzip),
            (&["gzip;q=0"], Coding::Identity),
            (&["gzip;q=0.5, identity"], Coding::Identity),
            (&["gzip;q=2"], Coding::Identity),
            (&["*"], Coding::Zstd),
            (&["*, zstd;q=0"], Coding::Gzip),
            (&["br, deflate"], Coding::Identity),
            (&["identity;q=0"], Coding::Identity),
        ];
        for (values, expected) in cases {
            assert_eq!(coding(&headers("accept-encoding", values)), *expected, "{values:?}");
        }
    }

    #[test]
    fn formats_follow_quality() {
        for (value, expected) in [
            ("application/json", Format::Json),
            ("application/x-ndjson", Format::Ndjson),
            ("Text/CSV; charset=utf-8", Format::Csv),
            ("text/*", Format::Csv),
            ("text/html, application/xhtml+xml, */*;q=0.8", Format::Json),
            ("text/csv;q=0.5, application/x-ndjson;q=0.6", Format::Ndjson),
            ("text/csv;q=0", Format::Json),
            ("image/png", Format::Json),
        ] {
            assert_eq!(format(&headers("accept", &[value])), expected, "{value}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Json);
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_says() {
        let read = |values: &[&'static str]| Preferences::from_headers(&headers("prefer", values));
        let wait = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(read(&["handling=strict"]), Preferences { strict: Some(true), wait: None });
        assert_eq!(
            read(&["wait=1, Handling=\"lenient\""]),
            Preferences { strict: Some(false), wait: wait(1) }
        );
        assert_eq!(
            read(&["respond-async", "wait = 3; x=y", "wait=9"]),
            Preferences { strict: None, wait: wait(3) }
        );
        assert_eq!(read(&["wait=-1, handling=maybe, wait"]), Preferences::default());
        assert_eq!(
            read(&["wait=2, handling=strict"]).applied().as_deref(),
            Some("handling=strict, wait=2")
        );
        assert_eq!(read(&["return=minimal"]).applied(), None);
    }
}
