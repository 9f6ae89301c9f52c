//! The members of a JSON object.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

/// The members of a JSON object. An object with two members of one name is refused (RFC 7515,
/// section 4; RFC 7519, section 4), so that two readers cannot take different ones of them.
#[derive(Debug)]
pub(super) struct Members(HashMap<String, Value>);

impl Members {
    /// The value of a member; null counts as one.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Whether there is a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
        let mut members = HashMap::new();
        while let Some((name, value)) = object.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("two members of one name"));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_two_members_of_one_name_is_refused() {
        let members: Members = serde_json::from_str(r#"{"a":1,"b":{"a":2},"c":null}"#).unwrap();
        assert_eq!(members.get("a"), Some(&1.into()));
        assert!(members.has("c") && !members.has("d"));
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":1} {}"#,
            "[]",
            "null",
            r#""a""#,
            "",
            &format!("{}{}", r#"{"a":"#.repeat(1000), "}".repeat(1000)),
        ] {
            assert!(serde_json::from_str::<Members>(text).is_err(), "{text}");
        }
    }
}
