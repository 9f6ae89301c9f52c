//! Lines gathered in memory and written to stderr together, so that a request does not wait for a system call of its own.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others.
const DELAY: Duration = Duration::from_millis(20);

/// As many bytes are written without waiting for more: some thousand lines, so that the thread that writes is woken by time,
/// not by load.
const BATCH: usize = 256 << 10;

/// More than this is not kept for a reader that has stopped reading: a log must not hold up the server, nor fill its
/// memory. The lines that are dropped are counted, and the count is written when the reader goes on.
const MOST: usize = 4 << 20;

/// Where lines are gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathering(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// Told of the first line of a batch, and of a full one.
    filled: Condvar,
    /// The batch that is being written, held so that batches keep their order; empty between them. It takes turns with
    /// `lines`, so that neither is allocated anew.
    batch: Mutex<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gathering {
    /// Starts the thread that writes; without one, lines are written as they come.
    pub(super) fn start() -> io::Result<Self> {
        let gathering = Self::default();
        let writer = gathering.clone();
        let run = move || {
            loop {
                let mut lines = lock(&writer.0.lines);
                while lines.bytes.is_empty() {
                    lines = writer.0.filled.wait(lines).unwrap_or_else(PoisonError::into_inner);
                }
                let full = |lines: &mut Lines| lines.bytes.len() < BATCH;
                drop(writer.0.filled.wait_timeout_while(lines, DELAY, full).unwrap_or_else(PoisonError::into_inner));
                writer.flush();
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(gathering)
    }

    /// Writes what has been gathered.
    pub(super) fn flush(&self) {
        let mut batch = lock(&self.0.batch);
        let dropped = {
            let mut lines = lock(&self.0.lines);
            std::mem::swap(&mut lines.bytes, &mut *batch);
            std::mem::take(&mut lines.dropped)
        };
        if dropped > 0 {
            // Text in both forms of the log; a reader of JSON lines passes over it.
            batch.extend_from_slice(format!("log: {dropped} lines were dropped, stderr was not read\n").as_bytes());
        }
        // Where stderr is closed there is nobody to tell.
        let _ = io::stderr().write_all(&batch);
        batch.clear();
        // What a batch usually takes stays; what a reader that had stopped let grow goes.
        batch.shrink_to(4 * BATCH);
    }

    /// Adds a line; one that is `urgent` is written at once, with those before it.
    pub(super) fn add(&self, line: &[u8], urgent: bool) {
        let mut lines = lock(&self.0.lines);
        let before = lines.bytes.len();
        if before + line.len() > MOST {
            lines.dropped += 1;
        } else {
            lines.bytes.extend_from_slice(line);
        }
        let after = lines.bytes.len();
        drop(lines);
        if urgent {
            self.flush();
        } else if before == 0 || (before < BATCH && after >= BATCH) {
            self.0.filled.notify_one();
        }
    }

    /// What has been gathered and not written.
    #[cfg(test)]
    pub(super) fn gathered(&self) -> Vec<u8> {
        lock(&self.0.lines).bytes.clone()
    }
}

/// One event's line.
#[derive(Debug)]
pub(super) struct Line {
    gathering: Gathering,
    /// Warnings and errors may be the last that is heard of a process.
    urgent: bool,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.gathering.add(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gathering.flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Gathering {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { gathering: self.clone(), urgent: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { gathering: self.clone(), urgent: *metadata.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_not_kept() {
        let gathering = Gathering::default();
        let line = vec![b'x'; MOST / 4];
        for _ in 0..6 {
            gathering.add(&line, false);
        }
        let lines = lock(&gathering.0.lines);
        assert_eq!((lines.bytes.len(), lines.dropped), (MOST / 4 * 4, 2));
    }
}
