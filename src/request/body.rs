//! The body of a request.

use super::{JsonPointer, PointerError, RequestTimes, Template};

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
    /// A value as it is spelled in JSON, such as null, a boolean or a number.
    Literal(String),
    /// A string. One that is nothing but a `unix` template becomes a number.
    String(Template),
    /// An array.
    Array(Vec<JsonTemplate>),
    /// An object, with its members in the configured order.
    Object(Vec<(String, JsonTemplate)>),
}

impl BodyTemplate {
    pub(super) fn uses(&self, is_used: impl Fn(&Template) -> bool) -> bool {
        match self {
            Self::Json(json) => json.uses(&is_used),
            Self::Form(fields) => fields.iter().any(|(_, value)| is_used(value)),
        }
    }
}

impl JsonTemplate {
    fn uses(&self, is_used: &impl Fn(&Template) -> bool) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::String(template) => is_used(template),
            Self::Array(elements) => elements.iter().any(|element| element.uses(is_used)),
            Self::Object(members) => members.iter().any(|(_, member)| member.uses(is_used)),
        }
    }

    /// Appends the JSON text with the times put in.
    pub(super) fn render(&self, times: &RequestTimes, json: &mut String) {
        match self {
            Self::Literal(literal) => json.push_str(literal),
            Self::String(template) => match template.render_number(times) {
                Some(number) => json.push_str(&number.to_string()),
                None => json.push_str(&quoted(&template.render(times))),
            },
            Self::Array(elements) => {
                json.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    element.render(times, json);
                }
                json.push(']');
            }
            Self::Object(members) => {
                json.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    json.push_str(&quoted(name));
                    json.push(':');
                    member.render(times, json);
                }
                json.push('}');
            }
        }
    }

    /// The value at this place.
    pub(super) fn get(&self, pointer: &JsonPointer) -> Option<&Self> {
        let mut value = self;
        for token in pointer.tokens() {
            value = match value {
                Self::Object(members) => {
                    members.iter().find(|(name, _)| name == token).map(|(_, member)| member)
                }
                Self::Array(elements) => index(token).and_then(|index| elements.get(index)),
                Self::Literal(_) | Self::String(_) => None,
            }?;
        }
        Some(value)
    }

    /// Checks that a value can be put at this place.
    ///
    /// # Errors
    ///
    /// When something on the way is neither an object nor an array with such an element.
    pub fn check_place(&self, pointer: &JsonPointer) -> Result<(), PointerError> {
        self.clone().set(pointer, Self::Literal("null".to_owned()))
    }

    /// Puts a value at this place. Objects that are missing on the way are created; an array gets
    /// a new element only at its end.
    ///
    /// # Errors
    ///
    /// When something on the way is neither an object nor an array with such an element.
    pub(super) fn set(&mut self, pointer: &JsonPointer, new: Self) -> Result<(), PointerError> {
        let mut value = self;
        for token in pointer.tokens() {
            value = match value {
                Self::Object(members) => {
                    let position = members.iter().position(|(name, _)| name == token);
                    let position = position.unwrap_or_else(|| {
                        members.push((token.clone(), Self::Object(Vec::new())));
                        members.len() - 1
                    });
                    &mut members[position].1
                }
                Self::Array(elements) => {
                    let length = elements.len();
                    let Some(index) = index(token).filter(|index| *index <= length) else {
                        let detail = format!(
                            "`{pointer}`: the body has an array of {length} elements there, and \
                             {token:?} is no index of one"
                        );
                        return Err(PointerError { detail });
                    };
                    if index == length {
                        elements.push(Self::Object(Vec::new()));
                    }
                    &mut elements[index]
                }
                Self::Literal(_) | Self::String(_) => {
                    let detail = format!(
                        "`{pointer}`: before {token:?} the body has a value that is neither an \
                         object nor an array"
                    );
                    return Err(PointerError { detail });
                }
            };
        }
        *value = new;
        Ok(())
    }
}

/// The index that a reference token is (RFC 6901, section 4).
fn index(token: &str) -> Option<usize> {
    let is_index = token.bytes().all(|byte| byte.is_ascii_digit())
        && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| is_index)
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is a JSON string")
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

    fn string(text: &str) -> JsonTemplate {
        JsonTemplate::String(Template::parse(text).unwrap())
    }

    fn member(name: &str, value: JsonTemplate) -> (String, JsonTemplate) {
        (name.to_owned(), value)
    }

    fn body() -> JsonTemplate {
        JsonTemplate::Object(vec![
            member("since", string("{since:unix_ms}")),
            member("text", string("\"{now}\"\n")),
            member(
                "list",
                JsonTemplate::Array(vec![JsonTemplate::Literal("1.50".to_owned()), string("")]),
            ),
        ])
    }

    fn rendered(json: &JsonTemplate) -> String {
        let mut text = String::new();
        json.render(&times(), &mut text);
        text
    }

    #[test]
    fn json_keeps_its_order_and_spelling() {
        assert_eq!(
            rendered(&body()),
            r#"{"since":1772356087000,"text":"\"2026-03-02T11:00:00Z\"\n","list":[1.50,""]}"#
        );
        assert!(BodyTemplate::Json(body()).uses(Template::uses_since));
    }

    #[test]
    fn a_value_is_put_where_the_pointer_says() {
        let pointer = |text| JsonPointer::parse(text).unwrap();
        let value = || JsonTemplate::Literal("7".to_owned());
        for (at, expected) in [
            ("/since", r#"{"since":7,"#),
            ("/list/0", r#""list":[7,""]}"#),
            ("/list/2", r#""list":[1.50,"",7]}"#),
            ("/page/from", r#""page":{"from":7}}"#),
            ("/list/2/deep", r#""list":[1.50,"",{"deep":7}]}"#),
        ] {
            let mut json = body();
            json.set(&pointer(at), value()).unwrap();
            assert!(rendered(&json).contains(expected), "{at}: {}", rendered(&json));
            assert!(json.get(&pointer(at)).is_some(), "{at}");
        }
        for wrong in ["/since/x", "/list/3", "/list/00", "/list/x", "/list/-", "/list/0/x"] {
            assert!(body().set(&pointer(wrong), value()).is_err(), "{wrong}");
            assert!(body().get(&pointer(wrong)).is_none(), "{wrong}");
        }
    }
}
