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
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use proptest::prelude::*;
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines of this layer and of the library for the same events, without timestamps.
    fn both(events: impl FnOnce()) -> (Vec<String>, Vec<String>) {
        let (ours, library) = (LogBuffer::default(), Captured::default());
        let writer = library.clone();
        let library_layer =
            fmt::layer().with_writer(move || writer.clone()).with_target(false).json();
        let library_layer =
            library_layer.flatten_event(true).with_current_span(false).with_span_list(false);
        let subscriber =
            tracing_subscriber::registry().with(JsonLines(ours.clone())).with(library_layer);
        tracing::subscriber::with_default(subscriber, events);
        let library = library.0.lock().unwrap().clone();
        (without_time(&ours.pending()), without_time(&library))
    }

    fn without_time(lines: &[u8]) -> Vec<String> {
        let time = "{\"timestamp\":\"".len().."{\"timestamp\":\"2021-08-26T00:57:54.123456Z".len();
        let without = |line: &str| [&line[..time.start], &line[time.end..]].concat();
        std::str::from_utf8(lines).unwrap().split_inclusive('\n').map(without).collect()
    }

    #[derive(Debug)]
    struct Logs;

    impl std::fmt::Display for Logs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("inner");
            f.write_str("outer")
        }
    }

    proptest! {
        #[test]
        fn lines_equal_those_of_the_library(
            text: String, float: f64, signed: i64, unsigned: u64, some: Option<bool>
        ) {
            let (ours, library) = both(|| {
                let error: Box<dyn std::error::Error> = text.clone().into();
                tracing::info!(
                    text, float, signed, unsigned, some,
                    shown = %text, debugged = ?text, "a message"
                );
                tracing::debug!(r#type = text.as_str(), "{text}");
                tracing::info!(error = &*error, big = u128::from(unsigned), float = f64::NAN);
            });
            prop_assert_eq!(&ours, &library);
            for line in ours {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
            }
        }

        #[test]
        fn timestamps_equal_those_of_jiff(micros in 0..4_102_444_800_000_000_u64) {
            let since = Duration::from_micros(micros);
            let mut bytes = Vec::new();
            let mut clock = Clock::default();
            clock.write(&mut bytes, UNIX_EPOCH + since);
            let micros = i64::try_from(micros).unwrap();
            let expected = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("{expected:.6}"));
        }
    }

    #[test]
    fn the_next_second_is_formatted_anew() {
        let mut clock = Clock::default();
        let mut bytes = Vec::new();
        for millis in [0, 999, 1000, 59_999, 60_000] {
            bytes.push(b' ');
            clock.write(&mut bytes, UNIX_EPOCH + Duration::from_millis(millis));
        }
        let expected = " 1970-01-01T00:00:00.000000Z 1970-01-01T00:00:00.999000Z \
                        1970-01-01T00:00:01.000000Z 1970-01-01T00:00:59.999000Z \
                        1970-01-01T00:01:00.000000Z";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn a_value_may_log_while_it_is_formatted() {
        let (ours, library) = both(|| tracing::info!(value = %Logs, "outer"));
        assert_eq!(ours, library);
    }

    #[test]
    fn the_notice_of_dropped_lines_is_a_line_of_the_log() {
        let notice = drop_notice(7);
        let object: serde_json::Value = serde_json::from_str(&notice).unwrap();
        assert_eq!((&object["level"], &object["lines"]), (&"WARN".into(), &7.into()));
        assert!(notice.ends_with("}\n"));
    }
}
