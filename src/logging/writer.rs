//! Log lines are buffered and written to stderr by a thread of their own, so that a request waits
//! neither for a system call nor for whoever reads the log.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The least time between two batches. A line waits for others only where the last batch is as
/// recent as that, so under load alone.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);

/// This many bytes are written without waiting for more.
const BATCH_BYTES: usize = 256 << 10;

/// The most bytes that are kept while nobody reads stderr; lines beyond it are counted and dropped.
const MAX_PENDING_BYTES: usize = 4 << 20;

/// The capacity that the buffers keep between batches.
const MAX_IDLE_CAPACITY_BYTES: usize = 2 * BATCH_BYTES;

/// How long to wait where stderr is non-blocking and takes no more.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Makes a log line of the number of lines that were dropped.
pub(super) type DropNotice = fn(u64) -> String;

/// The lines that are still to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct LogBuffer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or the writer should wait no longer for more.
    has_pending: Condvar,
    /// A batch has been written.
    has_written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Lines that were dropped since the last batch.
    dropped: u64,
    flush_now: bool,
    is_writing: bool,
    /// A flush has run out of time, and no batch has been written since.
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
            // Where stderr is closed there is nobody to tell.
            let _ = write_all(to, &batch);
            batch.clear();
            batch.shrink_to(MAX_IDLE_CAPACITY_BYTES);
            let mut state = self.state();
            (state.is_writing, state.is_stuck) = (false, false);
            drop(state);
            self.0.has_written.notify_all();
        }
    }

    /// Waits for lines until one has come and `due` has passed, moves them into `batch`, which is
    /// empty, and returns the number of those that were dropped after them.
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

    /// Adds a line; `flush_now` has it written without waiting for more. Never waits for stderr.
    pub(super) fn add(&self, line: &[u8], flush_now: bool) {
        let mut state = self.state();
        let is_first = !state.has_pending();
        if state.pending.len() + line.len() > MAX_PENDING_BYTES {
            state.dropped += 1;
        } else {
            state.pending.extend_from_slice(line);
        }
        let flush_now = flush_now || state.pending.len() >= BATCH_BYTES;
        let is_news = is_first || (flush_now && !state.flush_now);
        state.flush_now |= flush_now;
        drop(state);
        if is_news {
            self.0.has_pending.notify_one();
        }
    }

    /// Waits until everything is written, but no longer than `limit`: nobody may be reading.
    pub(super) fn flush_within(&self, limit: Duration) {
        let mut state = self.state();
        state.flush_now = true;
        self.0.has_pending.notify_one();
        let is_busy = |state: &mut State| state.has_pending() || state.is_writing;
        let waited = self.0.has_written.wait_timeout_while(state, limit, is_busy);
        let (mut state, wait) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_stuck = wait.timed_out();
    }

    /// Whether waiting for the writer again is in vain, as far as is known.
    pub(super) fn is_stuck(&self) -> bool {
        self.state().is_stuck
    }

    /// What has not been written yet.
    #[cfg(test)]
    pub(super) fn pending(&self) -> Vec<u8> {
        self.state().pending.clone()
    }
}

/// Writes everything, also where stderr is non-blocking, as a parent process may have left it.
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

/// Takes the lines that the library formats, one in each call of `write`.
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

    /// Whoever logs does not wait for the line to be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an event is written without waiting for others: it may be the last of the process.
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
