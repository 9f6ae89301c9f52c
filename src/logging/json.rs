//! The log's JSON form: an object a line, `timestamp`, `level` and `message` first, then the
//! event's fields in their order.
//!
//! The same lines as `tracing-subscriber`'s flattened form without spans, written straight into a
//! buffer that the thread keeps: every request logs one, and the library's several allocations and
//! passes cost more than all else that answering a warm request takes.

use std::cell::Cell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::Gathering;

/// The layer that makes a line of every event.
#[derive(Debug)]
pub(super) struct JsonLines(pub(super) Gathering);

/// What a thread keeps from line to line.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    clock: Clock,
}

thread_local! {
    // Taken while a line is made: an event inside another (a field's `Debug` may log) finds a fresh
    // one.
    static LINE: Cell<Line> = Cell::default();
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LINE.take();
        line.bytes.clear();
        let now = SystemTime::now();
        line.write(event, now);
        self.0.add(&line.bytes, now, *event.metadata().level() <= Level::WARN);
        LINE.set(line);
    }
}

impl Line {
    fn write(&mut self, event: &Event<'_>, now: SystemTime) {
        let Self { bytes, clock } = self;
        bytes.extend_from_slice(b"{\"timestamp\":\"");
        clock.write(bytes, now);
        bytes.extend_from_slice(b"\",\"level\":\"");
        bytes.extend_from_slice(event.metadata().level().as_str().as_bytes());
        bytes.push(b'"');
        event.record(&mut Fields(bytes));
        bytes.extend_from_slice(b"}\n");
    }
}

/// RFC 3339 with microseconds; the part up to the second is made once a second.
#[derive(Default)]
struct Clock {
    second: u64,
    /// `2021-08-26T00:57:54`, once there has been a second.
    text: String,
}

impl Clock {
    fn write(&mut self, bytes: &mut Vec<u8>, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            let time = i64::try_from(self.second)
                .ok()
                .and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.text = time.unwrap_or_default().strftime("%FT%T").to_string();
        }
        bytes.extend_from_slice(self.text.as_bytes());
        // The million keeps the zeros in front, and its place is the point's.
        let start = bytes.len();
        bytes.extend_from_slice(
            itoa::Buffer::new().format(1_000_000 + since.subsec_micros()).as_bytes(),
        );
        bytes[start] = b'.';
        bytes.push(b'Z');
    }
}

/// Writes each field as a member.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn member(&mut self, field: &Field, value: impl Serialize) {
        self.name(field);
        let start = self.0.len();
        // Only a `Debug` or `Display` that fails can make it fail; what came of it goes, and the
        // line stays whole.
        if serde_json::to_writer(&mut *self.0, &value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
    }

    fn name(&mut self, field: &Field) {
        // A name in the source is plain text.
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, text: &str) {
        // Nearly all text is plain. Without a way out at the first byte that is not, many are
        // looked at at a time.
        let has_special = |bytes: &[u8]| {
            let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
            bytes.iter().fold(false, |special, &byte| special | is_special(byte))
        };
        let (windows, rest) = text.as_bytes().as_chunks::<16>();
        if !windows.iter().any(|window| has_special(window)) && !has_special(rest) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            serde_json::to_writer(&mut *self.0, text).expect("text goes into memory");
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format_args!("{value:?}"));
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
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What the layer and the library make of the same events, without their timestamps.
    fn both(events: impl FnOnce()) -> (Vec<String>, Vec<String>) {
        let (ours, library) = (Gathering::default(), Kept::default());
        let writer = library.clone();
        let library_layer =
            fmt::layer().with_writer(move || writer.clone()).with_target(false).json();
        let library_layer =
            library_layer.flatten_event(true).with_current_span(false).with_span_list(false);
        let subscriber =
            tracing_subscriber::registry().with(JsonLines(ours.clone())).with(library_layer);
        tracing::subscriber::with_default(subscriber, events);
        let library = library.0.lock().unwrap().clone();
        (without_time(&ours.gathered()), without_time(&library))
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
        fn lines_are_the_librarys(text: String, float: f64, signed: i64, unsigned: u64, some: Option<bool>) {
            let (ours, library) = both(|| {
                let error: Box<dyn std::error::Error> = text.clone().into();
                tracing::info!(text, float, signed, unsigned, some, shown = %text, debugged = ?text, "a message");
                tracing::debug!(r#type = text.as_str(), "{text}");
                tracing::info!(error = &*error, big = u128::from(unsigned), float = f64::NAN);
            });
            prop_assert_eq!(&ours, &library);
            for line in ours {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
            }
        }

        #[test]
        fn times_are_jiffs(micros in 0..4_102_444_800_000_000_u64) {
            let since = Duration::from_micros(micros);
            let mut bytes = Vec::new();
            let mut clock = Clock::default();
            clock.write(&mut bytes, UNIX_EPOCH + since);
            let expected = jiff::Timestamp::from_microsecond(i64::try_from(micros).unwrap()).unwrap();
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("{expected:.6}"));
        }
    }

    #[test]
    fn a_second_is_told_from_the_next() {
        let mut clock = Clock::default();
        let mut bytes = Vec::new();
        for millis in [0, 999, 1000, 59_999, 60_000] {
            bytes.push(b' ');
            clock.write(&mut bytes, UNIX_EPOCH + Duration::from_millis(millis));
        }
        let expected = " 1970-01-01T00:00:00.000000Z 1970-01-01T00:00:00.999000Z 1970-01-01T00:00:01.000000Z \
                        1970-01-01T00:00:59.999000Z 1970-01-01T00:01:00.000000Z";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn a_value_that_logs_itself_does_no_harm() {
        let (ours, library) = both(|| tracing::info!(value = %Logs, "outer"));
        assert_eq!(ours, library);
    }
}
