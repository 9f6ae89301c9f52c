//! Texts that contain the times of a refresh, such as `{since}`.

use std::fmt;

/// A text with time templates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    text: String,
}

/// The two times of a refresh, which are the same for all of its pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestTimes {
    /// When the refresh began, in whole seconds.
    pub now: jiff::Timestamp,
    /// From when on records are asked for.
    pub since: jiff::Timestamp,
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
        Self { text: text.to_owned() }
    }

    /// The text as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
