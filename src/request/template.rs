//! Texts that contain the times of a refresh, such as `{since}`.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// The longest template.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;

/// The longest strftime format in a template.
const MAX_FORMAT_BYTES: usize = 256;

/// A text with time templates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Time(Which, Format),
}

/// One of the two times of a refresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Which {
    Since,
    Now,
}

/// How a time is written.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Format {
    /// RFC 3339 in UTC, to the second.
    Rfc3339,
    /// Seconds since the epoch.
    Unix,
    /// Milliseconds since the epoch.
    UnixMilliseconds,
    /// A format of strftime, in UTC.
    Strftime(String),
}

/// The two times of a refresh, which are the same for all of its pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestTimes {
    /// When the refresh began, in whole seconds.
    pub now: Timestamp,
    /// From when on records are asked for.
    pub since: Timestamp,
}

/// Why a text is no template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateError {
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// A text in which nothing is replaced.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { text: text.to_owned(), parts: vec![Part::Text(text.to_owned())] }
    }

    /// Parses a text in which `{since}` and `{now}`, each also with `:unix`, `:unix_ms` or a
    /// strftime format, stand for the times of a refresh. Any other brace stands for itself.
    ///
    /// # Errors
    ///
    /// When a time has a format that does not exist or is not closed, or when the text is too long.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            let detail = format!("longer than {MAX_TEMPLATE_BYTES} bytes; shorten it");
            return Err(TemplateError { detail });
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            literal.push_str(&rest[..brace]);
            rest = &rest[brace..];
            if let Some((which, format, after)) = time(rest)? {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Time(which, format));
                rest = after;
            } else {
                literal.push('{');
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The text as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `{since}`, in any format, is in the text.
    #[must_use]
    pub fn uses_since(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(Which::Since, _)))
    }

    /// Whether `{since}` or `{now}`, in any format, is in the text.
    #[must_use]
    pub fn uses_times(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(..)))
    }

    /// The text with the times put in.
    #[must_use]
    pub fn render(&self, times: &RequestTimes) -> String {
        let mut rendered = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Time(which, format) => rendered.push_str(&format.write(times.get(*which))),
            }
        }
        rendered
    }

    /// The number that the text stands for in JSON, if it is nothing but a `unix` or `unix_ms`
    /// template.
    #[must_use]
    pub fn render_number(&self, times: &RequestTimes) -> Option<i64> {
        let [Part::Time(which, format)] = &*self.parts else { return None };
        format.number(times.get(*which))
    }
}

impl RequestTimes {
    const fn get(&self, which: Which) -> Timestamp {
        match which {
            Which::Since => self.since,
            Which::Now => self.now,
        }
    }
}

impl Format {
    fn write(&self, time: Timestamp) -> String {
        match self {
            Self::Rfc3339 => format!("{time:.0}"),
            Self::Unix | Self::UnixMilliseconds => {
                self.number(time).map(|number| number.to_string()).unwrap_or_default()
            }
            Self::Strftime(format) => strftime(format, time).unwrap_or_default(),
        }
    }

    fn number(&self, time: Timestamp) -> Option<i64> {
        match self {
            Self::Unix => Some(time.as_second()),
            Self::UnixMilliseconds => Some(time.as_millisecond()),
            Self::Rfc3339 | Self::Strftime(_) => None,
        }
    }
}

fn strftime(format: &str, time: Timestamp) -> Result<String, jiff::Error> {
    strtime::format(format, &time.to_zoned(TimeZone::UTC))
}

/// Reads the time template at the start of a text, which begins with a brace. Returns it with the
/// text after it, or `None` if the brace stands for itself.
fn time(text: &str) -> Result<Option<(Which, Format, &str)>, TemplateError> {
    let (which, rest) = if let Some(rest) = text.strip_prefix("{since") {
        (Which::Since, rest)
    } else if let Some(rest) = text.strip_prefix("{now") {
        (Which::Now, rest)
    } else {
        return Ok(None);
    };
    if let Some(after) = rest.strip_prefix('}') {
        return Ok(Some((which, Format::Rfc3339, after)));
    }
    let Some(rest) = rest.strip_prefix(':') else { return Ok(None) };
    let name = match which {
        Which::Since => "since",
        Which::Now => "now",
    };
    let Some((format, after)) = rest.split_once('}') else {
        let detail = format!("{{{name}: has no closing brace; write it like {{{name}:unix}}");
        return Err(TemplateError { detail });
    };
    let format = match format {
        "unix" => Format::Unix,
        "unix_ms" => Format::UnixMilliseconds,
        format if format.contains('%') => {
            check_format(format).map_err(|fault| TemplateError {
                detail: format!("{{{name}:{format}}}: {fault}"),
            })?;
            Format::Strftime(format.to_owned())
        }
        format => {
            let detail = format!(
                "{{{name}:{format}}}: {format:?} is no format of a time; write unix, unix_ms, or \
                 directives of strftime such as %Y-%m-%d"
            );
            return Err(TemplateError { detail });
        }
    };
    Ok(Some((which, format, after)))
}

/// Checks a strftime format; the error names the first directive that does not exist.
fn check_format(format: &str) -> Result<(), String> {
    if format.len() > MAX_FORMAT_BYTES {
        return Err(format!("the format is longer than {MAX_FORMAT_BYTES} bytes; shorten it"));
    }
    if strftime(format, Timestamp::UNIX_EPOCH).is_ok() {
        return Ok(());
    }
    let mut directives = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        let flags = rest[start + 1..].find(|flag: char| !"-_0123456789^#:.".contains(flag));
        let end = flags.map(|flags| start + 1 + flags);
        let Some((end, last)) = end.and_then(|end| Some((end, rest[end..].chars().next()?))) else {
            directives.push(&rest[start..]);
            break;
        };
        directives.push(&rest[start..end + last.len_utf8()]);
        rest = &rest[end + last.len_utf8()..];
    }
    let unknown = directives
        .into_iter()
        .find(|directive| strftime(directive, Timestamp::UNIX_EPOCH).is_err())
        .unwrap_or(format);
    Err(format!("strftime has no directive {unknown:?}; write such as %Y, %m, %d, %H, %M, %S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> RequestTimes {
        RequestTimes {
            now: "2026-03-02T11:00:00Z".parse().unwrap(),
            since: "2026-03-01T09:08:07Z".parse().unwrap(),
        }
    }

    fn rendered(text: &str) -> String {
        Template::parse(text).unwrap().render(&times())
    }

    #[test]
    fn times_are_written_in_every_format() {
        for (text, expected) in [
            ("{since}", "2026-03-01T09:08:07Z"),
            ("{now}", "2026-03-02T11:00:00Z"),
            ("{since:unix}", "1772356087"),
            ("{now:unix_ms}", "1772449200000"),
            ("{since:%Y-%m-%d %H:%M:%S}", "2026-03-01 09:08:07"),
            ("{now:%d.%m.%y}", "02.03.26"),
            ("{since:at %s}", "at 1772356087"),
            ("{now:100%%}", "100%"),
            (
                "created:>='{since}' AND created:<'{now}'",
                "created:>='2026-03-01T09:08:07Z' AND created:<'2026-03-02T11:00:00Z'",
            ),
        ] {
            assert_eq!(rendered(text), expected, "{text}");
            assert!(Template::parse(text).unwrap().uses_times(), "{text}");
        }
    }

    #[test]
    fn any_other_brace_is_itself() {
        for text in [
            "",
            "{",
            "}",
            "{}",
            "{{",
            "{sinceå}",
            "{ since }",
            "{SINCE}",
            "{since",
            "{nowhere}",
            "query { alerts(first: 10) { id } }",
            r#"{"a":{"b":1}}"#,
            "{until}",
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.render(&times()), text);
            assert!(!template.uses_times(), "{text}");
        }
        assert_eq!(rendered("{{now:unix}}"), "{1772449200}");
        assert_eq!(rendered("{{since}"), "{2026-03-01T09:08:07Z");
    }

    #[test]
    fn a_literal_replaces_nothing() {
        assert_eq!(Template::literal("{now}").render(&times()), "{now}");
        assert!(!Template::literal("{since}").uses_since());
    }

    #[test]
    fn only_since_is_since() {
        assert!(Template::parse("a {since:unix}").unwrap().uses_since());
        assert!(!Template::parse("a {now:unix}").unwrap().uses_since());
    }

    #[test]
    fn a_lone_unix_template_is_a_number() {
        let number = |text| Template::parse(text).unwrap().render_number(&times());
        assert_eq!(number("{since:unix}"), Some(1_772_356_087));
        assert_eq!(number("{now:unix_ms}"), Some(1_772_449_200_000));
        for text in ["{since}", "{now:%s}", " {now:unix}", "{now:unix}{now:unix}", "7", ""] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn wrong_formats_are_refused_by_name() {
        for (text, expected) in [
            ("{since:%Y-%Ö}", "\"%Ö\""),
            ("{now:%Y %}", "\"%\""),
            ("{now:%E}", "\"%E\""),
            ("{now:%-5!}", "\"%-5!\""),
            ("{since:iso}", "\"iso\" is no format"),
            ("{since:}", "\"\" is no format"),
            ("{since:UNIX}", "\"UNIX\" is no format"),
            ("{since:%Y", "has no closing brace"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.detail.contains(expected), "{text}: {error}");
        }
        let long = format!("{{now:{}}}", "%Y".repeat(200));
        assert!(Template::parse(&long).unwrap_err().detail.contains("256 bytes"));
        assert!(Template::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
    }

    #[test]
    fn a_time_before_the_epoch_has_a_sign() {
        let times = RequestTimes { since: Timestamp::from_second(-1).unwrap(), ..times() };
        assert_eq!(Template::parse("{since:unix}").unwrap().render(&times), "-1");
        assert_eq!(Template::parse("{since}").unwrap().render(&times), "1969-12-31T23:59:59Z");
    }
}
