//! A receiver of forwarded records. It reads every format, answers each request as a test decides,
//! and remembers which records it has accepted.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::scripted_upstream::{Reply, Script, ScriptedUpstream, Seen};

/// The formats, as the configuration names them.
pub const FORMATS: [&str; 5] =
    ["ndjson", "cloudevents", "splunk_hec", "elasticsearch", "alertmanager"];

/// A record as a request had it.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    /// The incident as the source sent it.
    pub incident: Value,
    /// All that the request says of it.
    pub entry: Value,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With this status for all records; `elasticsearch` gets 2xx as an item a record.
    Status(u16),
    /// With a status for each record, as `elasticsearch` answers.
    Items(Vec<u16>),
    /// In any other way. The gateway cannot know of records that are accepted then.
    Other(Script),
}

/// A request with its records.
#[derive(Clone, Debug)]
pub struct Request {
    pub records: Vec<Record>,
    pub answer: Answer,
}

type Behaviour = Box<dyn FnMut(&[Record]) -> Answer + Send>;

struct State {
    behaviour: Behaviour,
    requests: Vec<Request>,
}

/// The receiver; it ends with all its connections when dropped.
pub struct ForwardReceiver {
    pub upstream: ScriptedUpstream,
    format: &'static str,
    state: Arc<Mutex<State>>,
}

impl ForwardReceiver {
    /// A receiver of this format that accepts everything.
    pub async fn start(format: &'static str) -> Self {
        let upstream = ScriptedUpstream::start().await;
        let behaviour: Behaviour = Box::new(|_| Answer::Status(200));
        let state = Arc::new(Mutex::new(State { behaviour, requests: Vec::new() }));
        let shared = Arc::clone(&state);
        upstream.decide(path(format), move |seen| {
            let records = records(format, seen);
            let mut state = shared.lock().unwrap();
            let mut answer = (state.behaviour)(&records);
            if let (Answer::Status(status @ 200..300), "elasticsearch") = (&answer, format) {
                answer = Answer::Items(vec![*status; records.len()]);
            }
            let script = script(&answer, &records);
            state.requests.push(Request { records, answer });
            script
        });
        Self { upstream, format, state }
    }

    /// An entry of `forward` with this receiver and more settings.
    pub fn forward(&self, name: &str, rest: &str) -> String {
        let (url, format) = (self.upstream.base_url(), self.format);
        format!("{{ name: {name}, format: {format}, url: '{url}{}', {rest} }}", path(format))
    }

    /// Decides how requests are answered from now on.
    pub fn answer(&self, behaviour: impl FnMut(&[Record]) -> Answer + Send + 'static) {
        self.state.lock().unwrap().behaviour = Box::new(behaviour);
    }

    /// Answers requests from now on like this, one after another; the last one repeats.
    pub fn answer_each(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        self.answer(move |_| match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop().expect("an answer"),
        });
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The ids of the records that it has answered to have, in this order.
    pub fn accepted(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.requests.iter().flat_map(Request::accepted).collect()
    }
}

impl Request {
    fn accepted(&self) -> Vec<String> {
        let is_accepted = |index: usize| match &self.answer {
            Answer::Status(status) => (200..300).contains(status),
            Answer::Items(items) => matches!(items[index], 200..300 | 409),
            Answer::Other(_) => false,
        };
        let records = self.records.iter().enumerate();
        let accepted = records.filter(|(index, _)| is_accepted(*index));
        accepted.map(|(_, record)| record.id.clone()).collect()
    }
}

fn path(format: &str) -> &'static str {
    match format {
        "ndjson" | "cloudevents" => "/in",
        "splunk_hec" => "/services/collector",
        "elasticsearch" => "/incidents/_bulk",
        "alertmanager" => "/api/v2/alerts",
        _ => panic!("no format: {format}"),
    }
}

/// The records of a request, which must be as its format says.
fn records(format: &str, seen: &Seen) -> Vec<Record> {
    let body = &seen.body;
    let expected = match format {
        "ndjson" | "elasticsearch" => "application/x-ndjson",
        "cloudevents" => "application/cloudevents-batch+json",
        _ => "application/json",
    };
    assert_eq!((&*seen.method, seen.header("content-type")), ("POST", Some(expected)));
    let values = || serde_json::Deserializer::from_str(body).into_iter::<Value>();
    let mut entries: Vec<Value> = values().map(|value| value.expect("JSON")).collect();
    if let ("cloudevents" | "alertmanager", [Value::Array(list)]) = (format, &mut entries[..]) {
        entries = std::mem::take(list);
    }
    if format == "elasticsearch" {
        let pairs = entries.chunks_exact(2);
        assert!(pairs.remainder().is_empty() && body.ends_with('\n'), "{body}");
        entries = pairs.map(|pair| json!(pair)).collect();
    }
    if matches!(format, "ndjson" | "elasticsearch") {
        let lines_of_entry = if format == "ndjson" { 1 } else { 2 };
        assert_eq!(body.lines().count(), lines_of_entry * entries.len(), "{body}");
    }
    entries.into_iter().map(|entry| record(format, entry)).collect()
}

fn record(format: &str, entry: Value) -> Record {
    let (id, incident) = match format {
        "ndjson" => (&entry["id"], entry["incident"].clone()),
        "cloudevents" => (&entry["id"], entry["data"]["incident"].clone()),
        "splunk_hec" => (&entry["event"]["id"], entry["event"]["incident"].clone()),
        "elasticsearch" => (&entry[0]["create"]["_id"], entry[1]["incident"].clone()),
        _ => {
            let incident = entry["annotations"]["incident"].as_str().expect("an incident");
            (&entry["labels"]["id"], serde_json::from_str(incident).expect("JSON"))
        }
    };
    let id = id.as_str().unwrap_or_else(|| panic!("no id: {entry}")).to_owned();
    assert!(incident.is_object(), "no incident: {entry}");
    Record { id, incident, entry }
}

fn script(answer: &Answer, records: &[Record]) -> Script {
    match answer {
        Answer::Status(status) => Script::status(*status),
        Answer::Items(items) => {
            assert_eq!(items.len(), records.len());
            let item = |(status, record): (&u16, &Record)| {
                let mut item = json!({ "_id": record.id, "status": status });
                if *status >= 300 {
                    item["error"] = json!({ "type": "scripted", "reason": "as the test says" });
                }
                json!({ "create": item })
            };
            let has_errors = items.iter().any(|status| *status >= 300);
            let items: Vec<Value> = items.iter().zip(records).map(item).collect();
            let answer = json!({ "took": 1, "errors": has_errors, "items": items });
            Reply::json(answer.to_string()).into()
        }
        Answer::Other(script) => script.clone(),
    }
}
