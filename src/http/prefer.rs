//! The `Prefer` header (RFC 7240).

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};

/// The supported preferences.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Preferences {
    /// `handling`: whether to refuse an answer that is not complete.
    pub strict: Option<bool>,
    /// `wait`: how long the caller is willing to wait.
    pub wait: Option<Duration>,
}

impl Preferences {
    /// Parses the header. As RFC 7240 demands, unknown and malformed preferences are ignored, and
    /// the first of repeated ones counts.
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
                let strict = value.eq_ignore_ascii_case("strict");
                let lenient = value.eq_ignore_ascii_case("lenient");
                preferences.strict = preferences.strict.or((strict || lenient).then_some(strict));
            } else if name.eq_ignore_ascii_case("wait") {
                preferences.wait = preferences.wait.or(value.parse().ok().map(Duration::from_secs));
            }
        }
        preferences
    }

    /// The value of `Preference-Applied`. It has every preference: a response within the budget
    /// honours any longer `wait` too.
    #[must_use]
    pub fn applied(&self) -> Option<String> {
        let handling = self
            .strict
            .map(|strict| if strict { "handling=strict" } else { "handling=lenient" }.to_owned());
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied: Vec<String> = handling.into_iter().chain(wait).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }

    /// Inserts `Preference-Applied`, unless there are no preferences.
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
    use http::HeaderName;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let name = HeaderName::from_static("prefer");
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn preferences_are_parsed_as_rfc_7240_demands() {
        let read = |values: &[&'static str]| Preferences::from_headers(&headers(values));
        let wait = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(read(&["handling=strict"]), Preferences { strict: Some(true), wait: None });
        assert_eq!(
            read(&["wait=1, Handling=\"Lenient\""]),
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
