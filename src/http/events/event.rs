//! Events as they are sent (WHATWG HTML, section 9.2), and their ids.

use bytes::Bytes;
use serde::Serialize;

use crate::decode::Priority;
use crate::join::{IncidentRef, Unattributed};
use crate::render;
use crate::snapshot::{Completeness, Freshness, SourceStatus, View};

/// Why a client must read the documents again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reset {
    /// The event with its `Last-Event-ID` is no longer kept.
    Gone,
    /// Its `Last-Event-ID` is that of another process, or no event id at all.
    Unknown,
    /// One refresh added more records, or larger ones, than are sent one by one.
    TooMany,
    /// Making the events of a refresh failed.
    Lost,
    /// The client has fallen behind the events that are kept; the stream ends with this.
    TooSlow,
}

impl Reset {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Unknown => "unknown_id",
            Self::TooMany => "too_many",
            Self::Lost => "lost",
            Self::TooSlow => "too_slow",
        }
    }

    /// The event, without its id.
    pub(super) fn event(self) -> Bytes {
        named("reset", format!("{{\"reason\":\"{}\"}}", self.as_str()).into_bytes())
    }
}

/// What is sent when nothing has happened, so that both ends see that the connection is alive.
pub(super) const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// How long a client shall wait before it comes back.
const RETRY_MILLIS: u32 = 3000;

/// The id of an event.
pub(super) fn id(generation: u64, number: u64) -> String {
    format!("{generation:016x}-{number}")
}

/// The generation and number in an id.
pub(super) fn read_id(id: &str) -> Option<(u64, u64)> {
    let (generation, number) = id.split_once('-')?;
    Some((u64::from_str_radix(generation, 16).ok()?, number.parse().ok()?))
}

/// The opening of every stream: the reconnection time, and the id from which a client goes on that
/// loses its connection before the first event. It is an event with data, because some clients
/// ignore the id of a block without.
pub(super) fn opening(generation: u64, number: u64) -> String {
    let id = id(generation, number);
    format!("retry: {RETRY_MILLIS}\nid: {id}\nevent: connected\ndata: {{}}\n\n")
}

/// An event with its id.
pub(super) fn with_id(generation: u64, number: u64, event: &[u8]) -> Bytes {
    let mut out = format!("id: {}\n", id(generation, number)).into_bytes();
    out.extend_from_slice(event);
    out.into()
}

/// An event without its id. `data` must have no line break.
fn named(name: &str, data: Vec<u8>) -> Bytes {
    let mut out = format!("event: {name}\ndata: ").into_bytes();
    out.extend(data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The event for a source's new state.
pub(super) fn source(source: &SourceStatus, state: Freshness, completeness: Completeness) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        name: &'a str,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
        completeness: &'static str,
    }
    let error = source
        .last_error
        .as_ref()
        .filter(|_| state != Freshness::Fresh)
        .map(|error| error.kind.as_str());
    let data = Data {
        name: &source.name,
        state: state.as_str(),
        error,
        completeness: completeness.as_str(),
    };
    named("sources", serde_json::to_vec(&data).expect("the data has no keys that JSON lacks"))
}

/// The members of an `incidents` event before the record.
#[derive(Serialize)]
struct Head<'a> {
    r#type: &'a str,
    employee_id: Option<&'a str>,
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Head<'_> {
    fn event(&self, record: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut data = serde_json::to_vec(self).expect("the data has no keys that JSON lacks");
        data.pop();
        data.extend_from_slice(b",\"incident\":");
        record(&mut data);
        data.push(b'}');
        named("incidents", data)
    }
}

/// The event for a new record of an employee.
pub(super) fn incident(
    view: &View,
    employee: &str,
    priority: Priority,
    incident: &IncidentRef,
) -> Bytes {
    let name = &view.names()[incident.source()];
    let head = Head {
        r#type: name,
        employee_id: Some(employee),
        priority: Some(priority.as_str()),
        reason: None,
    };
    head.event(|out| render::record_line(out, name, incident.has_type(), view.members(incident)))
}

/// The event for a new record without an employee.
pub(super) fn unattributed(view: &View, item: Unattributed) -> Bytes {
    let name = &view.names()[item.source()];
    let (record, bytes) = view.unattributed(&item);
    let priority = record.priority().map(Priority::as_str);
    let head =
        Head { r#type: name, employee_id: None, priority, reason: Some(item.reason.as_str()) };
    head.event(|out| {
        if record.is_object() {
            render::record_line(out, name, record.has_type(), &bytes[1..]);
        } else {
            out.extend(bytes.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        }
    })
}
