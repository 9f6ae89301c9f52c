//! The events of the stream in their wire format (WHATWG HTML, section 9.2).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::recipients::Recipients;
use crate::decode::Priority;
use crate::join::{IncidentRef, Unattributed};
use crate::outcome::Outcome;
use crate::render;
use crate::snapshot::{Completeness, Freshness, View};

/// Whom an event concerns.
#[derive(Clone, Debug)]
pub(super) enum Audience {
    /// Whoever reads a stream: it tells of no record.
    Everybody,
    /// Those who may see this employee.
    Employee(Arc<str>),
    /// Those who may see one of these employees.
    AnyOf(Recipients),
    /// Those who may see everything.
    WholeData,
}

/// An event, without its id.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) audience: Audience,
    pub(super) content: Bytes,
}

impl Event {
    /// What it counts in the ring's bound of bytes.
    pub(super) fn bytes(&self) -> usize {
        let audience = match &self.audience {
            Audience::AnyOf(recipients) => recipients.bytes(),
            Audience::Everybody | Audience::Employee(_) | Audience::WholeData => 0,
        };
        self.content.len() + audience
    }
}

/// Why a client must reload the documents: the reason of a `reset` event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reset {
    /// Events after the client's `Last-Event-ID` have been dropped from the ring.
    Gone,
    /// The client's `Last-Event-ID` is from another process, or is not an event id.
    Unknown,
    /// One refresh added too many records, or too large ones, to send them as events.
    TooMany,
    /// The gateway failed to make the events of a refresh.
    Lost,
    /// Events that the client had not read yet were dropped from the ring. The stream ends.
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

    /// The event, which does not say whose events were lost.
    pub(super) fn event(self) -> Event {
        self.event_for(Audience::Everybody)
    }

    /// The event for this audience alone.
    pub(super) fn event_for(self, audience: Audience) -> Event {
        let data = format!("{{\"reason\":\"{}\"}}", self.as_str());
        Event { audience, content: named("reset", data.into_bytes()) }
    }
}

/// A comment that keeps idle connections alive and shows both ends that they are.
pub(super) const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// The reconnection time of clients.
const RETRY_MILLIS: u32 = 3000;

/// The first event of every stream: the reconnection time, and an id from which a client resumes
/// that loses its connection before any other event. It has data, because some clients ignore the
/// id of an event without.
pub(super) fn opening(id: &str) -> String {
    format!("retry: {RETRY_MILLIS}\nid: {id}\nevent: connected\ndata: {{}}\n\n")
}

/// An event with its id.
pub(super) fn with_id(id: &str, event: &[u8]) -> Bytes {
    let mut out = format!("id: {id}\n").into_bytes();
    out.extend_from_slice(event);
    out.into()
}

/// An event without the id that [`with_id`] gave it.
pub(super) fn without_id(event: &[u8]) -> &[u8] {
    let id_line = event.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    &event[id_line..]
}

/// An event without its id. `data` must not contain line breaks.
fn named(name: &str, data: Vec<u8>) -> Bytes {
    let mut out = format!("event: {name}\ndata: ").into_bytes();
    out.extend(data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The event for a source's new state.
pub(super) fn source(
    name: &str,
    state: Freshness,
    error: Option<Outcome>,
    completeness: Completeness,
) -> Event {
    #[derive(Serialize)]
    struct Data<'a> {
        name: &'a str,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
        completeness: &'static str,
    }
    let error = error.filter(|_| state != Freshness::Fresh).map(Outcome::as_str);
    let data = Data { name, state: state.as_str(), error, completeness: completeness.as_str() };
    let data = serde_json::to_vec(&data).expect("the data has no keys that JSON lacks");
    Event { audience: Audience::Everybody, content: named("sources", data) }
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
    fn event(&self, audience: Audience, record: impl FnOnce(&mut Vec<u8>)) -> Event {
        let mut data = serde_json::to_vec(self).expect("the data has no keys that JSON lacks");
        data.pop();
        data.extend_from_slice(b",\"incident\":");
        record(&mut data);
        data.push(b'}');
        Event { audience, content: named("incidents", data) }
    }
}

/// The event for a new record of an employee.
pub(super) fn incident(
    view: &View,
    employee: &Arc<str>,
    priority: Priority,
    incident: &IncidentRef,
) -> Event {
    let name = &view.names()[incident.source()];
    let head = Head {
        r#type: name,
        employee_id: Some(employee),
        priority: Some(priority.as_str()),
        reason: None,
    };
    head.event(Audience::Employee(Arc::clone(employee)), |out| {
        render::record_line(out, name, incident.has_type(), view.members(incident));
    })
}

/// The event for a new record without an employee.
pub(super) fn unattributed(view: &View, item: Unattributed) -> Event {
    let name = &view.names()[item.source()];
    let (record, bytes) = view.unattributed(&item);
    let priority = record.priority().map(Priority::as_str);
    let head =
        Head { r#type: name, employee_id: None, priority, reason: Some(item.reason.as_str()) };
    head.event(Audience::WholeData, |out| match bytes.split_first() {
        Some((b'{', members)) => render::record_line(out, name, record.has_type(), members),
        _ => out.extend(bytes.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'))),
    })
}
