//! Lines gathered in memory and written to stderr together, so that a request does not wait for a
//! system call of its own.
//!
//! Threads gather apart, so that those that answer do not wait for each other's lines; what is
//! written together is in the order of time.

use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others.
const DELAY: Duration = Duration::from_millis(20);

/// As many bytes of one shard are written without waiting for more: some thousand lines, so that
/// the thread that writes is woken by time, not by load.
const BATCH: usize = 256 << 10;

/// More than this of one shard is not kept for a reader that has stopped reading: a log must not
/// hold up the server, nor fill its memory. The lines that are dropped are counted, and the count
/// is written when the reader goes on.
const MOST: usize = 1 << 20;

/// As long as a line is at least, about.
const SHORT_LINE: usize = 100;

/// How long the last lines may take to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many threads gather without sharing a lock.
const SHARDS: usize = 8;

/// Where lines are gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathering(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    shards: [Shard; SHARDS],
    /// Whether there are lines that the thread that writes knows of.
    begun: AtomicBool,
    /// Whether it is not to wait for more.
    full: AtomicBool,
    /// The thread that writes.
    writer: OnceLock<Thread>,
    /// The lines that are being written, by shard, held so that batches keep their order; empty
    /// between them. They take turns with the shards', so that neither are allocated anew.
    batch: Mutex<[Lines; SHARDS]>,
}

/// Of its own in the processors' caches, which would else carry it from core to core for the sake
/// of its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// When each line was logged, and where it ends.
    ends: Vec<(SystemTime, usize)>,
    dropped: u64,
}

thread_local! {
    /// The calling thread's place among the shards.
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gathering {
    /// Starts the thread that writes; without one, lines are written when [`Gathering::flush`] is
    /// called.
    pub(super) fn start() -> io::Result<Self> {
        let gathering = Self::default();
        let shared = gathering.clone();
        let writer =
            thread::Builder::new().name("log".to_owned()).spawn(move || shared.keep_writing())?;
        // Until it is known here, lines wait for it to begin by itself.
        let _ = gathering.0.writer.set(writer.thread().clone());
        writer.thread().unpark();
        Ok(gathering)
    }

    fn keep_writing(&self) {
        loop {
            while !self.0.begun.load(Ordering::Relaxed) {
                thread::park();
            }
            let due = Instant::now() + DELAY;
            while !self.0.full.load(Ordering::Relaxed) {
                match due.checked_duration_since(Instant::now()) {
                    Some(rest) if !rest.is_zero() => thread::park_timeout(rest),
                    _ => break,
                }
            }
            // Before the shards are emptied: whoever adds a line after that has locked its shard
            // after that, and so sees it.
            self.0.begun.store(false, Ordering::Relaxed);
            self.0.full.store(false, Ordering::Relaxed);
            self.flush();
        }
    }

    /// Writes what has been gathered.
    pub(super) fn flush(&self) {
        let mut batch = lock(&self.0.batch);
        let mut dropped = 0;
        for (lines, shard) in batch.iter_mut().zip(&self.0.shards) {
            std::mem::swap(lines, &mut *lock(&shard.0));
            dropped += std::mem::take(&mut lines.dropped);
        }
        let mut stderr = io::stderr();
        // Where stderr is closed there is nobody to tell.
        let _ = write_all(&mut stderr, &mut in_order(&*batch));
        if dropped > 0 {
            // Text in both forms of the log; a reader of JSON lines passes over it.
            let _ = writeln!(stderr, "log: {dropped} lines were dropped, stderr was not read");
        }
        batch.iter_mut().for_each(Lines::clear);
    }

    /// The same before what may be the end, given up after [`PATIENCE`]: nobody may be reading.
    pub(super) fn flush_or_give_up(&self) {
        let (done, is_done) = mpsc::channel();
        let gathering = self.clone();
        let last = move || {
            gathering.flush();
            // Nobody listens any more when it took too long.
            let _ = done.send(());
        };
        // An error is one of time, after which there is nothing to do.
        let _ = thread::Builder::new()
            .name("flush of the log".to_owned())
            .spawn(last)
            .map(|_| is_done.recv_timeout(PATIENCE));
    }

    /// Adds a line that was logged at `time`; after one that is `urgent` no more are waited for.
    pub(super) fn add(&self, line: &[u8], time: SystemTime, urgent: bool) {
        let gathered = {
            let mut lines = lock(&self.0.shards[SHARD.with(|shard| *shard)].0);
            lines.add(line, time);
            lines.bytes.len()
        };
        // Never by the calling thread, which would have to wait for whoever reads stderr.
        let is_news = |flag: &AtomicBool| {
            !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed)
        };
        if is_news(&self.0.begun) | ((urgent || gathered >= BATCH) && is_news(&self.0.full)) {
            self.0.writer.get().into_iter().for_each(Thread::unpark);
        }
    }

    /// What has been gathered and not written.
    #[cfg(test)]
    pub(super) fn gathered(&self) -> Vec<u8> {
        self.0.shards.iter().flat_map(|shard| lock(&shard.0).bytes.clone()).collect()
    }
}

impl Lines {
    fn add(&mut self, line: &[u8], time: SystemTime) {
        if self.bytes.len() + line.len() > MOST {
            self.dropped += 1;
        } else {
            self.bytes.extend_from_slice(line);
            self.ends.push((time, self.bytes.len()));
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // What a batch usually takes stays; what a reader that had stopped let grow goes.
        self.bytes.shrink_to(2 * BATCH);
        self.ends.shrink_to(2 * BATCH / SHORT_LINE);
    }
}

/// The lines of all shards in the order of time, those of one shard in their own; neighbours in one
/// piece.
fn in_order(batch: &[Lines]) -> Vec<IoSlice<'_>> {
    let mut heads: Vec<_> =
        batch.iter().map(|lines| (lines, lines.ends.iter().peekable(), 0)).collect();
    let mut pieces = Vec::new();
    loop {
        heads.retain_mut(|(_, ends, _)| ends.peek().is_some());
        let first =
            (0..heads.len()).min_by_key(|&head| heads[head].1.peek().map(|(time, _)| *time));
        let Some(first) = first else { return pieces };
        let others = heads.iter_mut().enumerate().filter(|(head, _)| *head != first);
        let until = others.filter_map(|(_, (_, ends, _))| ends.peek().map(|(time, _)| *time)).min();
        let (lines, ends, begin) = &mut heads[first];
        let mut end = *begin;
        while let Some((_, next)) =
            ends.next_if(|(time, _)| end == *begin || until.is_none_or(|until| *time <= until))
        {
            end = *next;
        }
        pieces.push(IoSlice::new(&lines.bytes[*begin..end]));
        *begin = end;
    }
}

fn write_all(to: &mut impl Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match to.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut pieces, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
        self.gathering.add(line, SystemTime::now(), self.urgent);
        Ok(line.len())
    }

    /// The line is gathered; when it is written is not for those who log to wait for.
    fn flush(&mut self) -> io::Result<()> {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_too_much_is_counted_not_kept() {
        let gathering = Gathering::default();
        let line = vec![b'x'; MOST / 4];
        for _ in 0..6 {
            gathering.add(&line, SystemTime::now(), false);
        }
        let lines = lock(&gathering.0.shards[SHARD.with(|shard| *shard)].0);
        assert_eq!((lines.bytes.len(), lines.dropped), (MOST, 2));
    }

    /// Takes a few bytes at a time.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let bytes = &bytes[..bytes.len().min(7)];
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn lines_of_several_threads_are_written_whole_and_in_the_order_of_time(
            threads in prop::collection::vec(prop::collection::vec(0..50_u64, 0..20), 0..4)
        ) {
            let mut expected = Vec::new();
            let mut batch = Vec::new();
            for (thread, mut times) in threads.into_iter().enumerate() {
                times.sort_unstable();
                let mut lines = Lines::default();
                for (number, time) in times.into_iter().enumerate() {
                    let line = format!("{time} of {thread}: {number}\n");
                    lines.add(line.as_bytes(), SystemTime::UNIX_EPOCH + Duration::from_secs(time));
                    expected.push((time, line));
                }
                batch.push(lines);
            }
            let mut written = Slow(Vec::new());
            write_all(&mut written, &mut in_order(&batch)).unwrap();
            let written = String::from_utf8(written.0).unwrap();
            let time = |line: &str| line.split(' ').next().unwrap().parse::<u64>().unwrap();
            prop_assert!(written.lines().is_sorted_by_key(time));
            let mut lines: Vec<_> = written.split_inclusive('\n').collect();
            let mut all: Vec<_> = expected.iter().map(|(_, line)| line.as_str()).collect();
            for thread in 0..4 {
                let of = |lines: &[&str]| -> Vec<String> {
                    let of_it = lines.iter().filter(|line| line.contains(&format!("of {thread}:")));
                    of_it.map(ToString::to_string).collect()
                };
                prop_assert_eq!(of(&lines), of(&all));
            }
            lines.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(lines, all);
        }
    }
}
