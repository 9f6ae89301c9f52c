//! Paths from a JSON value to values in it, in the three notations of the configuration.

use std::fmt;

/// A path to values in a JSON value.
///
/// A text that begins with `/` is a JSON Pointer (RFC 6901), and the empty text the pointer to the
/// whole value. A text that begins with `$` is a JSONPath (RFC 9535) of names, indices and `[*]`.
/// Any other text is the name of a member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path {
    text: String,
    steps: Box<[Step]>,
}

/// One step of a [`Path`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The member of an object with this name.
    Name(String),
    /// A token of a JSON Pointer: the member of an object with this name, or the element of an
    /// array with this index.
    Token(String),
    /// The element of an array with this index; a negative one counts from the end.
    Index(i64),
    /// All elements of an array, or all members of an object (`[*]`).
    Each,
}

/// Why a text is no path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathError {
    /// What is wrong, and what to write instead.
    pub detail: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for PathError {}

impl Path {
    /// The path to the member with this name.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self { text: name.to_owned(), steps: Box::new([Step::Name(name.to_owned())]) }
    }

    /// The path to the whole value.
    #[must_use]
    pub fn whole() -> Self {
        Self::from_parts("", Vec::new())
    }

    /// The path to the member `results`.
    #[must_use]
    pub fn results() -> Self {
        Self::from_parts("/results", vec![Step::Token("results".to_owned())])
    }

    pub(super) fn from_parts(text: &str, steps: Vec<Step>) -> Self {
        Self { text: text.to_owned(), steps: steps.into() }
    }

    /// The text that the path was parsed from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps, outermost first; none for the whole value.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
