//! The requests that a simulated API expects, and their answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

use super::expected_time::{ExpectedTimes, is_expected_number, is_expected_text};

/// An API, as `api.json` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// How long before now `{since}` is.
    #[serde(with = "humantime_text")]
    pub window: Duration,
    /// The content of each secret's file, by the name of the file.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Headers that each request must have, except for those of a public exchange.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The JSON Pointer to the records of a page.
    #[serde(default)]
    pub records: String,
    pub exchanges: Vec<Exchange>,
}

/// A request that is expected, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    /// The whole query, decoded.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The body as JSON.
    pub body: Option<Value>,
    /// The body as a form, decoded.
    pub form: Option<BTreeMap<String, String>>,
    /// Whether the API's headers may be missing, as at a token endpoint.
    #[serde(default)]
    pub public: bool,
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub response_headers: Vec<(String, String)>,
    /// The name of the file with the answer, or the answer itself. `{base}` stands for the API's
    /// address.
    response: Value,
    /// The text of the answer.
    #[serde(skip)]
    pub answer: String,
}

fn ok() -> u16 {
    200
}

impl Api {
    pub fn load(directory: &Path) -> Self {
        let text = std::fs::read_to_string(directory.join("api.json")).unwrap();
        let mut api: Self = serde_json::from_str(&text).unwrap();
        for exchange in &mut api.exchanges {
            exchange.answer = match &exchange.response {
                Value::String(file) => std::fs::read_to_string(directory.join(file)).unwrap(),
                answer => answer.to_string(),
            };
        }
        api
    }
}

/// A request as it came.
#[derive(Debug)]
pub struct Asked {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    pub fn new(head: &Parts, body: &[u8]) -> Self {
        let headers = head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Self {
            method: head.method.to_string(),
            path: decode(head.uri.path()),
            query: fields(head.uri.query().unwrap_or_default()),
            headers: headers.collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }
}

impl Exchange {
    /// Whether a request is the one that is expected.
    pub fn is_for(&self, asked: &Asked, api: &Api) -> bool {
        let times = ExpectedTimes::new(api.window);
        let is_authenticated =
            api.headers.iter().all(|(name, value)| asked.header(name) == Some(value.as_str()));
        let content_type = match (&self.body, &self.form) {
            (Some(_), _) => Some("application/json"),
            (_, Some(_)) => Some("application/x-www-form-urlencoded"),
            _ => None,
        };
        self.method == asked.method
            && self.path == asked.path
            && (self.public || is_authenticated)
            && asked.header("content-type") == content_type
            && are_fields(&self.query, &asked.query, &times)
            && match (&self.body, &self.form) {
                (Some(body), _) => serde_json::from_str(&asked.body)
                    .is_ok_and(|asked| is_expected_json(body, &asked, &times)),
                (_, Some(form)) => are_fields(form, &fields(&asked.body), &times),
                _ => asked.body.is_empty(),
            }
    }
}

fn are_fields(
    expected: &BTreeMap<String, String>,
    asked: &BTreeMap<String, String>,
    times: &ExpectedTimes,
) -> bool {
    expected.len() == asked.len()
        && expected.iter().zip(asked).all(|((name, expected), (asked_name, asked))| {
            name == asked_name && is_expected_text(expected, asked, times)
        })
}

fn is_expected_json(expected: &Value, asked: &Value, times: &ExpectedTimes) -> bool {
    match (expected, asked) {
        (Value::String(expected), Value::String(asked)) => is_expected_text(expected, asked, times),
        (Value::String(expected), Value::Number(asked)) => {
            is_expected_number(expected, asked, times)
        }
        (Value::Array(expected), Value::Array(asked)) => {
            expected.len() == asked.len()
                && expected.iter().zip(asked).all(|(a, b)| is_expected_json(a, b, times))
        }
        (Value::Object(expected), Value::Object(asked)) => {
            expected.len() == asked.len()
                && expected.iter().all(|(name, value)| {
                    asked.get(name).is_some_and(|asked| is_expected_json(value, asked, times))
                })
        }
        _ => expected == asked,
    }
}

/// The fields of a query or a form, decoded. A repeated name gets the values joined by commas.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    for field in text.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let value = decode(&value.replace('+', " "));
        fields
            .entry(decode(&name.replace('+', " ")))
            .and_modify(|known| {
                known.push(',');
                known.push_str(&value);
            })
            .or_insert(value);
    }
    fields
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(de::Error::custom)
    }
}
