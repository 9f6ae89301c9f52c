//! The log's JSON form: one object a line, with `timestamp`, `level` and `message` first, then the
//! event's fields in their order.
//!
//! The same lines as `tracing-subscriber` writes with `json().flatten_event(true)` and without
//! spans, for a fraction of the processor time: every request logs one, and the library's cost more
//! than the rest of a warm answer.

use std::cell::Cell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::{LogBuffer, is_urgent};

/// The layer that writes each event as a line.
#[derive(Debug)]
pub(super) struct JsonLines(pub(super) LogBuffer);

/// What a thread reuses from line to line.
#[derive(Default)]
struct LineFormatter {
    line: Vec<u8>,
    clock: Clock,
}

thread_local! {
    // Taken while a line is written: a `Debug` of a field may log, and then finds an empty one.
    static FORMATTER: Cell<LineFormatter> = Cell::default();
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut formatter = FORMATTER.take();
        formatter.format(event, SystemTime::now());
        self.0.add(&formatter.line, is_urgent(event.metadata()));
        FORMATTER.set(formatter);
    }
}

impl LineFormatter {
    fn format(&mut self, event: &Event<'_>, now: SystemTime) {
        let Self { line, clock } = self;
        line.clear();
        line.extend_from_slice(b"{\"timestamp\":\"");
        clock.write(line, now);
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(event.metadata().level().as_str().as_bytes());
        line.push(b'"');
        event.record(&mut Members(line));
        line.extend_from_slice(b"}\n");
    }
}

/// The line about lines that were dropped.
pub(super) fn drop_notice(lines: u64) -> String {
    let mut timestamp = Vec::new();
    Clock::default().write(&mut timestamp, SystemTime::now());
    let timestamp = String::from_utf8_lossy(&timestamp);
    let message = super::DROPPED;
    format!(
        "{{\"timestamp\":\"{timestamp}\",\"level\":\"WARN\",\"message\":\"{message}\",\
         \"lines\":{lines}}}\n"
    )
}

/// Writes RFC 3339 with microseconds; the part up to the second is formatted once a second.
#[derive(Default)]
struct Clock {
    /// Seconds since 1970.
    second: u64,
    /// That second, such as `2021-08-26T00:57:54`; empty at first.
    text: String,
}

impl Clock {
    fn write(&mut self, line: &mut Vec<u8>, now: SystemTime) {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since_epoch.as_secs() || self.text.is_empty() {
            self.second = since_epoch.as_secs();
            let second = i64::try_from(self.second).unwrap_or_default();
            let timestamp = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = timestamp.strftime("%FT%T").to_string();
        }
        line.extend_from_slice(self.text.as_bytes());
        // The 1 of the million keeps the leading zeros; the point takes its place.
        let point = line.len();
        let micros = 1_000_000 + since_epoch.subsec_micros();
        line.extend_from_slice(itoa::Buffer::new().format(micros).as_bytes());
        line[point] = b'.';
        line.push(b'Z');
    }
}

/// Appends each field as a member of the object.
struct Members<'a>(&'a mut Vec<u8>);

impl Members<'_> {
    fn add(&mut self, field: &Field, value: impl Serialize) {
        // Field names are identifiers, which need no escapes.
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
        let start = self.0.len();
        // Only a `Debug` that fails can make this fail.
        if serde_json::to_writer(&mut *self.0, &value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
