//! The values by which the next page is asked for.

use std::borrow::Cow;

use super::{
    BodyTemplate, JsonTemplate, RequestError, RequestTemplate, RequestTimes, Target, Template,
};
use crate::json::unescape;

/// A value in JSON without blanks between tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Cursor {
    json: String,
}

impl Cursor {
    /// The value of a valid JSON text.
    pub(super) fn new(json: &str) -> Self {
        Self { json: compact(json) }
    }

    pub(super) fn number(number: u64) -> Self {
        Self { json: number.to_string() }
    }

    /// Whether there is no further page: null, false, and empty strings, objects and arrays.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&*self.json, "null" | "false" | "\"\"" | "{}" | "[]")
    }

    /// The value in a query or form: a string unescaped, anything else as in JSON. `None` if it is
    /// a string that is not Unicode text.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self.json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(string) => unescape(string),
            None => Some(Cow::Borrowed(&self.json)),
        }
    }

    /// The value as it is written at this target.
    pub(super) fn written_at(&self, target: &Target) -> Option<Cow<'_, str>> {
        match target {
            Target::Query(_) | Target::Form(_) => self.text(),
            Target::Body(_) => Some(Cow::Borrowed(&self.json)),
        }
    }
}

/// A JSON text without the blanks between its tokens.
fn compact(json: &str) -> String {
    let mut is_in_string = false;
    let mut is_escaped = false;
    let is_kept = |char: &char| {
        if is_in_string {
            is_in_string = is_escaped || *char != '"';
            is_escaped = *char == '\\' && !is_escaped;
            true
        } else {
            is_in_string = *char == '"';
            !matches!(*char, ' ' | '\t' | '\n' | '\r')
        }
    };
    json.chars().filter(is_kept).collect()
}

impl RequestTemplate {
    /// The text that the rendered request has at this target; of several query members or fields
    /// with this name, the first.
    pub(super) fn written_at(&self, target: &Target, times: &RequestTimes) -> Option<String> {
        let first = |pairs: &[(String, Template)], name: &String| {
            pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.render(times))
        };
        match (target, &self.body) {
            (Target::Query(name), _) => first(&self.query, name),
            (Target::Form(name), Some(BodyTemplate::Form(fields))) => first(fields, name),
            (Target::Body(pointer), Some(BodyTemplate::Json(json))) => {
                let mut text = String::new();
                json.get(pointer)?.render(times, &mut text);
                Some(text)
            }
            (Target::Form(_) | Target::Body(_), _) => None,
        }
    }

    /// Puts a value at this target, in the place of what is there.
    ///
    /// # Errors
    ///
    /// When the request has no such target.
    pub(super) fn set(&mut self, target: &Target, value: &Cursor) -> Result<(), RequestError> {
        let text = || match value.text() {
            Some(text) => Ok(Template::literal(&text)),
            None => Err(RequestError { detail: "the value is not Unicode text".to_owned() }),
        };
        match (target, &mut self.body) {
            (Target::Query(name), _) => {
                set_pair(&mut self.query, name, text()?);
                Ok(())
            }
            (Target::Form(name), Some(BodyTemplate::Form(fields))) => {
                set_pair(fields, name, text()?);
                Ok(())
            }
            (Target::Body(pointer), Some(BodyTemplate::Json(json))) => {
                Ok(json.set(pointer, JsonTemplate::Literal(value.json.clone()))?)
            }
            (Target::Form(name), _) => Err(RequestError {
                detail: format!("`{name}` would be a field of a form, but the request has none"),
            }),
            (Target::Body(pointer), _) => Err(RequestError {
                detail: format!(
                    "`{pointer}` would be a place in a JSON body, but the request has none; write \
                     `body`"
                ),
            }),
        }
    }
}

/// Replaces the pairs of this name by one, at the place of the first.
fn set_pair(pairs: &mut Vec<(String, Template)>, name: &str, value: Template) {
    let Some(first) = pairs.iter().position(|(other, _)| other == name) else {
        pairs.push((name.to_owned(), value));
        return;
    };
    pairs[first].1 = value;
    let mut index = 0;
    pairs.retain(|(other, _)| {
        index += 1;
        index <= first + 1 || other != name
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_between_tokens_go() {
        for (json, expected) in [
            (" [ 1.50 , \"a b\" ,\n{ \"x\" : null } ] ", "[1.50,\"a b\",{\"x\":null}]"),
            (r#"{ "a\" \\" : " " }"#, r#"{"a\" \\":" "}"#),
            ("{ }", "{}"),
        ] {
            assert_eq!(Cursor::new(json).json, expected);
        }
    }

    #[test]
    fn empty_values_are_nothing() {
        for nothing in ["null", "false", "\"\"", "{ }", "[\n]"] {
            assert!(Cursor::new(nothing).is_nothing(), "{nothing}");
        }
        for something in ["0", "true", "\"0\"", "[null]", "{\"a\":null}", "\" \""] {
            assert!(!Cursor::new(something).is_nothing(), "{something}");
        }
    }

    #[test]
    fn a_text_is_unescaped_and_anything_else_is_compact_json() {
        let text = |json| Cursor::new(json).text().map(Cow::into_owned);
        assert_eq!(text(r#""a\u002fb \"c\"""#).as_deref(), Some("a/b \"c\""));
        assert_eq!(text("1e3").as_deref(), Some("1e3"));
        assert_eq!(text("[1, \"a\"]").as_deref(), Some("[1,\"a\"]"));
        assert_eq!(text(r#""\ud800""#), None);
    }
}
