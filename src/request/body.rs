//! The body of a request.

use super::Template;

/// The body of a POST request.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyTemplate {
    /// JSON (`body`).
    Json(JsonTemplate),
    /// `application/x-www-form-urlencoded` (`form`): the fields in order, unencoded.
    Form(Vec<(String, Template)>),
}

/// A JSON value whose strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// Null, a boolean or a number, as it is spelled in JSON.
    Literal(String),
    /// A string. One that is nothing but a `unix` template becomes a number.
    String(Template),
    /// An array.
    Array(Vec<JsonTemplate>),
    /// An object, with its members in the configured order.
    Object(Vec<(String, JsonTemplate)>),
}

/// A JSON Pointer (RFC 6901) to a place in a request's body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

impl JsonPointer {
    /// The text as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The unescaped reference tokens.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}
