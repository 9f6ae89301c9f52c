use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// Long enough for a thread to be scheduled on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A stderr each of whose writes waits until the test takes its bytes.
struct Pipe(SyncSender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A buffer, and the reader of what its thread writes.
fn piped() -> (LogBuffer, Receiver<Vec<u8>>) {
    let (sender, reader) = sync_channel(0);
    let buffer = LogBuffer::default();
    let writer = buffer.clone();
    thread::spawn(move || {
        writer.keep_writing(&mut Pipe(sender), |dropped| format!("dropped {dropped}\n"));
    });
    (buffer, reader)
}

#[test]
fn lines_are_written_in_their_order() {
    let (buffer, reader) = piped();
    let mut expected = String::new();
    for number in 0..100 {
        let line = format!("line {number}\n");
        buffer.add(line.as_bytes(), false);
        expected.push_str(&line);
    }
    let mut written = Vec::new();
    while written.len() < expected.len() {
        written.extend(reader.recv_timeout(LIMIT).unwrap());
    }
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[test]
fn lines_that_nobody_reads_are_dropped_and_counted() {
    let (buffer, reader) = piped();
    buffer.add(b"first\n", true);
    // From here on the thread waits for its reader.
    while !buffer.state().is_writing {
        thread::yield_now();
    }
    let line = vec![b'x'; MAX_PENDING_BYTES / 4];
    for _ in 0..6 {
        buffer.add(&line, false);
    }
    assert_eq!(reader.recv_timeout(LIMIT).unwrap(), b"first\n");
    let batch = reader.recv_timeout(LIMIT).unwrap();
    assert_eq!(&batch[MAX_PENDING_BYTES..], b"dropped 2\n");
    buffer.add(b"last\n", true);
    assert_eq!(reader.recv_timeout(LIMIT).unwrap(), b"last\n");
}

#[test]
fn a_flush_waits_for_the_writer_but_not_for_ever() {
    let (buffer, reader) = piped();
    buffer.add(b"line\n", false);
    let limit = Duration::from_millis(10);
    let started = Instant::now();
    buffer.flush_within(limit);
    assert!(started.elapsed() >= limit && buffer.is_stuck());
    let line = thread::spawn(move || reader.recv_timeout(LIMIT).unwrap());
    buffer.flush_within(LIMIT);
    assert!(!buffer.state().has_pending() && !buffer.is_stuck());
    assert_eq!(line.join().unwrap(), b"line\n");
}

#[test]
fn a_non_blocking_stderr_gets_everything() {
    /// Takes three bytes at every second call.
    struct NonBlocking(Vec<u8>, bool);

    impl Write for NonBlocking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.extend_from_slice(&bytes[..bytes.len().min(3)]);
            Ok(bytes.len().min(3))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut stderr = NonBlocking(Vec::new(), false);
    write_all(&mut stderr, b"a line\n").unwrap();
    assert_eq!(stderr.0, b"a line\n");
}
