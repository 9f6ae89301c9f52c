//! The responses that are being sent, and which of them end when there is no room for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::answer::Answer;

/// The connection over which a response is sent.
pub trait Connection: Send + Sync {
    /// The bytes that have been written to the socket since the connection was opened.
    fn bytes_sent(&self) -> u64;

    /// Closes the connection, whatever is still to be sent.
    fn abort(&self);
}

/// Over how long the rate of a response is measured before it is judged.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// The least time between two looks at all responses.
pub(super) const RECLAIM_INTERVAL: Duration = Duration::from_millis(50);

/// The responses that are being sent over connections.
#[derive(Default)]
pub(super) struct Responses(Mutex<Open>);

#[derive(Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Response>,
    last_reclaim: Option<Instant>,
}

struct Response {
    answer: Weak<Answer>,
    connection: Arc<dyn Connection>,
    measured_from: Instant,
    bytes_then: u64,
    /// In bytes a second; `None` before the first window has passed.
    rate: Option<f64>,
    is_aborted: bool,
}

impl Response {
    fn measure(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.measured_from);
        if elapsed >= RATE_WINDOW {
            let sent = self.connection.bytes_sent();
            self.rate = Some(sent.saturating_sub(self.bytes_then) as f64 / elapsed.as_secs_f64());
            (self.measured_from, self.bytes_then) = (now, sent);
        }
    }
}

/// An answer with all responses that send it.
struct Readers {
    bytes: u64,
    /// That of the fastest response: the answer is held until the last of them has been sent.
    rate: f64,
    ids: Vec<u64>,
    are_aborted: bool,
}

impl Responses {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing that can panic stands between two halves of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of an answer to send over `connection`. They hold the answer, and its place in the
    /// account, until they are dropped.
    pub(super) fn send(
        self: &Arc<Self>,
        answer: &Arc<Answer>,
        connection: Option<Arc<dyn Connection>>,
    ) -> Bytes {
        let id = connection.map(|connection| {
            let bytes_then = connection.bytes_sent();
            let response = Response {
                answer: Arc::downgrade(answer),
                connection,
                measured_from: Instant::now(),
                bytes_then,
                rate: None,
                is_aborted: false,
            };
            let mut open = self.open();
            let id = open.next_id;
            open.next_id += 1;
            open.by_id.insert(id, response);
            id
        });
        Bytes::from_owner(Sending { answer: Arc::clone(answer), id, responses: Arc::clone(self) })
    }

    /// Ends responses, the slowest first, until at least `bytes` of the account become free, unless
    /// all that are slower than `below` (in bytes a second) have ended before.
    ///
    /// It looks at all open responses, at most once in [`RECLAIM_INTERVAL`].
    pub(super) fn abort_slowest(&self, bytes: u64, below: f64, now: Instant) {
        let mut open = self.open();
        if open.last_reclaim.is_some_and(|last| now < last + RECLAIM_INTERVAL) {
            return;
        }
        open.last_reclaim = Some(now);
        let mut answers: HashMap<*const Answer, Readers> = HashMap::new();
        for (id, response) in &mut open.by_id {
            response.measure(now);
            let Some(answer) = response.answer.upgrade() else { continue };
            if !answer.charge().is_counted() {
                continue;
            }
            let readers = answers.entry(Arc::as_ptr(&answer)).or_insert_with(|| Readers {
                bytes: answer.charge().bytes(),
                rate: 0.0,
                ids: Vec::new(),
                are_aborted: true,
            });
            readers.rate = readers.rate.max(response.rate.unwrap_or(f64::INFINITY));
            readers.are_aborted &= response.is_aborted;
            readers.ids.push(*id);
        }
        let mut readers: Vec<Readers> = answers.into_values().collect();
        // Connections take a moment to close: what was aborted before counts first.
        readers.sort_by(|a, b| {
            b.are_aborted.cmp(&a.are_aborted).then_with(|| a.rate.total_cmp(&b.rate))
        });
        let mut freed = 0;
        for readers in readers {
            if freed >= bytes || (!readers.are_aborted && readers.rate >= below) {
                break;
            }
            freed += readers.bytes;
            for id in readers.ids {
                if let Some(response) = open.by_id.get_mut(&id)
                    && !std::mem::replace(&mut response.is_aborted, true)
                {
                    response.connection.abort();
                }
            }
        }
    }
}

/// The owner of the bytes of one response.
struct Sending {
    answer: Arc<Answer>,
    id: Option<u64>,
    responses: Arc<Responses>,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        self.answer.bytes()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let response = self.responses.open().by_id.remove(&id);
            // After the lock is released: it may be the last that holds the connection.
            drop(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::super::account::Account;
    use super::*;

    #[derive(Default)]
    struct FakeConnection {
        sent: AtomicU64,
        is_aborted: AtomicBool,
    }

    impl Connection for FakeConnection {
        fn bytes_sent(&self) -> u64 {
            self.sent.load(Ordering::Relaxed)
        }

        fn abort(&self) {
            self.is_aborted.store(true, Ordering::Relaxed);
        }
    }

    struct Bench {
        account: Arc<Account>,
        responses: Arc<Responses>,
        now: Instant,
        connections: Vec<Arc<FakeConnection>>,
        bodies: Vec<Bytes>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                account: Account::new(1 << 20),
                responses: Arc::default(),
                now: Instant::now(),
                connections: Vec::new(),
                bodies: Vec::new(),
            }
        }

        fn answer(&self) -> Arc<Answer> {
            Arc::new(Answer::new(vec![b'x'; 100].into(), self.account.try_charge(100).unwrap()))
        }

        fn send(&mut self, answer: &Arc<Answer>) {
            let connection = Arc::new(FakeConnection::default());
            self.connections.push(Arc::clone(&connection));
            self.bodies.push(self.responses.send(answer, Some(connection)));
        }

        fn advance(&mut self, rates: &[u64]) {
            for (connection, rate) in self.connections.iter().zip(rates) {
                connection.sent.fetch_add(*rate, Ordering::Relaxed);
            }
            self.now += Duration::from_secs(1);
        }

        fn aborted(&self) -> Vec<bool> {
            let aborted =
                |connection: &Arc<FakeConnection>| connection.is_aborted.load(Ordering::Relaxed);
            self.connections.iter().map(aborted).collect()
        }
    }

    #[test]
    fn the_slowest_responses_end_until_enough_is_free() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            let answer = bench.answer();
            bench.send(&answer);
        }
        bench.advance(&[500, 10, 100]);
        bench.responses.abort_slowest(1, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, false]);
        bench.advance(&[500, 0, 100]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, false], "what is ending frees enough");
        bench.advance(&[500, 0, 100]);
        bench.responses.abort_slowest(101, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, true]);
    }

    #[test]
    fn a_response_is_measured_before_it_is_judged() {
        let mut bench = Bench::new();
        let answer = bench.answer();
        bench.send(&answer);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false]);
        bench.advance(&[2000]);
        bench.responses.abort_slowest(100, 1000.0, bench.now);
        assert_eq!(bench.aborted(), [false], "it is not slower than the bound");
    }

    #[test]
    fn an_answer_is_as_fast_as_its_fastest_reader() {
        let mut bench = Bench::new();
        let shared = bench.answer();
        bench.send(&shared);
        bench.send(&shared);
        let other = bench.answer();
        bench.send(&other);
        drop((shared, other));
        bench.advance(&[0, 1000, 500]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, false, true]);
        bench.bodies.pop();
        assert_eq!(bench.account.used_bytes(), 100);
    }

    #[test]
    fn documents_of_the_present_data_are_not_ended() {
        let mut bench = Bench::new();
        let document = Arc::new(Answer::new(vec![b'x'; 100].into(), bench.account.exempt(100)));
        bench.send(&document);
        bench.advance(&[0]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false]);
        document.charge().count();
        bench.advance(&[0]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [true]);
    }
}
