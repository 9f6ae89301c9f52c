//! Buffers log lines, and writes them to stderr on a thread of its own, so that requests wait
//! neither for a system call nor for a slow reader of the log.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The shortest time between two batches. A line waits for others only if the last batch is this
/// recent, which is the case only under load.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);

/// A batch of this size is written without waiting for more lines.
const BATCH_BYTES: usize = 256 << 10;

/// The most bytes that are buffered while nobody reads stderr; lines beyond it are dropped and
/// counted.
const MAX_PENDING_BYTES: usize = 4 << 20;

/// The capacity that the buffers keep between batches.
const MAX_IDLE_CAPACITY_BYTES: usize = 2 * BATCH_BYTES;

/// How long to wait when stderr is non-blocking and full.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Formats the log line that replaces dropped lines, given their number.
pub(super) type DropNotice = fn(u64) -> String;

/// The buffer of lines that are not written yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LogBuffer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals that there are lines to write, or that the writer should not wait for more.
    has_pending: Condvar,
    /// Signals that a batch was written.
    has_written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Lines that were dropped since the last batch.
    dropped: u64,
    flush_now: bool,
    is_writing: bool,
    /// Whether a flush has timed out, and no batch was written since.
    is_stuck: bool,
}

impl State {
    fn has_pending(&self) -> bool {
        !self.pending.is_empty() || self.dropped > 0
    }
}

impl LogBuffer {
    /// Starts the thread that writes to stderr.
    pub(super) fn start(drop_notice: DropNotice) -> io::Result<Self> {
        let buffer = Self::default();
        let writer = buffer.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.keep_writing(&mut io::stderr(), drop_notice))?;
        Ok(buffer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_writing(&self, to: &mut impl Write, drop_notice: DropNotice) {
        let mut batch = Vec::new();
        let mut due = Instant::now();
        loop {
            let dropped = self.take_batch(&mut batch, due);
            due = Instant::now() + BATCH_INTERVAL;
            if dropped > 0 {
                batch.extend_from_slice(drop_notice(dropped).as_bytes());
            }
            // If stderr is closed, there is no other place to report the error.
            let _ = write_all(to, &batch);
            batch.clear();
            batch.shrink_to(MAX_IDLE_CAPACITY_BYTES);
            let mut state = self.state();
            (state.is_writing, state.is_stuck) = (false, false);
            drop(state);
            self.0.has_written.notify_all();
        }
    }

    /// Waits until there are lines and `due` has passed, and moves the lines into `batch`, which
    /// must be empty. Returns the number of lines that were dropped after them.
    fn take_batch(&self, batch: &mut Vec<u8>, due: Instant) -> u64 {
        let state = self
            .0
            .has_pending
            .wait_while(self.state(), |state| !state.has_pending())
            .unwrap_or_else(PoisonError::into_inner);
        let wait = due.saturating_duration_since(Instant::now());
        let (mut state, _) = self
            .0
            .has_pending
            .wait_timeout_while(state, wait, |state| !state.flush_now)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.pending, batch);
        state.flush_now = false;
        state.is_writing = true;
        std::mem::take(&mut state.dropped)
    }

    /// Adds a line; `flush_now` makes the writer not wait for more. Never waits for stderr.
    pub(super) fn add(&self, line: &[u8], flush_now: bool) {
        let mut state = self.state();
        let is_first = !state.has_pending();
        if state.pending.len() + line.len() > MAX_PENDING_BYTES {
            state.dropped += 1;
        } else {
            state.pending.extend_from_slice(line);
        }
        let flush_now = flush_now || state.pending.len() >= BATCH_BYTES;
        let must_wake_writer = is_first || (flush_now && !state.flush_now);
        state.flush_now |= flush_now;
        drop(state);
        if must_wake_writer {
            self.0.has_pending.notify_one();
        }
    }

    /// Waits until everything is written, but no longer than `limit`, since stderr may not be read.
    pub(super) fn flush_within(&self, limit: Duration) {
        let mut state = self.state();
        state.flush_now = true;
        self.0.has_pending.notify_one();
        let is_busy = |state: &mut State| state.has_pending() || state.is_writing;
        let waited = self.0.has_written.wait_timeout_while(state, limit, is_busy);
        let (mut state, wait) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_stuck = wait.timed_out();
    }

    /// Whether the last flush timed out, so that another is likely to time out as well.
    pub(super) fn is_stuck(&self) -> bool {
        self.state().is_stuck
    }

    /// The lines that are not written yet.
    #[cfg(test)]
    pub(super) fn pending(&self) -> Vec<u8> {
        self.state().pending.clone()
    }
}

/// Writes everything, even if stderr is non-blocking, as a parent process may have left it.
fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_DELAY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives lines from `tracing-subscriber`, which writes each by one call of `write`.
#[derive(Debug)]
pub(super) struct LineWriter<'a> {
    buffer: &'a LogBuffer,
    flush_now: bool,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.buffer.add(line, self.flush_now);
        Ok(line.len())
    }

    /// Does nothing: whoever logs must not wait for stderr.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an event is written without waiting for others, because it may be the last of the
/// process.
pub(super) fn is_urgent(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { buffer: self, flush_now: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { buffer: self, flush_now: is_urgent(metadata) }
    }
}

#[cfg(test)]
mod tests;
