//! Captures the log of the current thread.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

thread_local! {
    /// The log that captures this thread's events, and the least grave level that it wants.
    static CURRENT: RefCell<Option<(Level, CapturedLog)>> = const { RefCell::new(None) };
}

/// The log of one test, as JSON lines.
#[derive(Clone, Default)]
pub struct CapturedLog(Arc<Mutex<Vec<u8>>>);

/// Ends the capture when it is dropped, on the thread that began it.
pub struct Capture;

impl Drop for Capture {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl CapturedLog {
    pub fn new() -> Self {
        Self::default()
    }

    /// Captures this level and graver ones on this thread, as long as the guard lives.
    ///
    /// One subscriber serves the whole process. With one for each capture, whether an event is
    /// wanted would be settled for all threads by whichever test meets it first.
    pub fn capture(&self, level: Level) -> Capture {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let is_wanted = dynamic_filter_fn(|metadata, _| {
                CURRENT.with_borrow(|current| {
                    current.as_ref().is_some_and(|(level, _)| metadata.level() <= level)
                })
            });
            let lines = fmt::layer().json().with_writer(current_log).with_filter(is_wanted);
            tracing_subscriber::registry().with(lines).init();
        });
        CURRENT.set(Some((level, self.clone())));
        Capture
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

fn current_log() -> Box<dyn Write> {
    CURRENT.with_borrow(|current| match current {
        Some((_, log)) => Box::new(log.clone()) as Box<dyn Write>,
        None => Box::new(io::sink()),
    })
}

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
