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
    let library_layer = fmt::layer().with_writer(move || writer.clone()).with_target(false).json();
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
        let mut formatter = TimestampFormatter::default();
        formatter.write(&mut bytes, UNIX_EPOCH + since);
        let micros = i64::try_from(micros).unwrap();
        let expected = jiff::Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("{expected:.6}"));
    }
}

#[test]
fn the_next_second_is_formatted_anew() {
    let mut formatter = TimestampFormatter::default();
    let mut bytes = Vec::new();
    for millis in [0, 999, 1000, 59_999, 60_000] {
        bytes.push(b' ');
        formatter.write(&mut bytes, UNIX_EPOCH + Duration::from_millis(millis));
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
