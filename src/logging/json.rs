//! The log's JSON format: one object a line, with `timestamp`, `level` and `message` first, then
//! the event's fields in their order.
//!
//! These are the lines that `tracing-subscriber` writes with `json().flatten_event(true)` and
//! without spans, for a fraction of its CPU time. Each request logs a line, and the library's took
//! longer than the rest of a cached answer.

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

/// Buffers that a thread reuses from line to line.
#[derive(Default)]
struct LineFormatter {
    line: Vec<u8>,
    timestamps: TimestampFormatter,
}

thread_local! {
    // Taken while a line is formatted, because the `Debug` of a field may itself log.
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
        let Self { line, timestamps } = self;
        line.clear();
        line.extend_from_slice(b"{\"timestamp\":\"");
        timestamps.write(line, now);
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(event.metadata().level().as_str().as_bytes());
        line.push(b'"');
        event.record(&mut Members(line));
        line.extend_from_slice(b"}\n");
    }
}

/// The log line that replaces dropped lines.
pub(super) fn drop_notice(lines: u64) -> String {
    let mut timestamp = Vec::new();
    TimestampFormatter::default().write(&mut timestamp, SystemTime::now());
    let timestamp = String::from_utf8_lossy(&timestamp);
    let message = super::DROPPED_MESSAGE;
    format!(
        "{{\"timestamp\":\"{timestamp}\",\"level\":\"WARN\",\"message\":\"{message}\",\
         \"lines\":{lines}}}\n"
    )
}

/// Formats times as RFC 3339 with microseconds. The part up to the second is formatted once a
/// second.
#[derive(Default)]
struct TimestampFormatter {
    /// Seconds since 1970.
    second: u64,
    /// That second, such as `2021-08-26T00:57:54`; empty at first.
    text: String,
}

impl TimestampFormatter {
    fn write(&mut self, line: &mut Vec<u8>, now: SystemTime) {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since_epoch.as_secs() || self.text.is_empty() {
            self.second = since_epoch.as_secs();
            let second = i64::try_from(self.second).unwrap_or_default();
            let timestamp = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = timestamp.strftime("%FT%T").to_string();
        }
        line.extend_from_slice(self.text.as_bytes());
        // Adding a million keeps the leading zeros; the decimal point then replaces the 1.
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
        // This fails only if a field's `Debug` fails.
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
