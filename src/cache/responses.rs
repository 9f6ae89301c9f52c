//! The responses that are being sent, and which of them are aborted when memory runs out.
//!
//! A client that reads slowly keeps its whole body in memory. When another body needs that memory,
//! the slowest responses are aborted until enough of it is free.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::time::Instant;

use super::rendered_body::RenderedBody;

/// The connection over which a response is sent.
pub trait Connection: Send + Sync {
    /// The bytes that have been written to the socket since the connection was opened.
    fn bytes_sent(&self) -> u64;

    /// Closes the connection at once, even in the middle of a response.
    fn abort(&self);
}

/// The interval over which the send rate of a response is measured.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// The least time between two calls of [`Responses::abort_slowest`] that have an effect: each looks
/// at all open responses.
pub(super) const RECLAIM_INTERVAL: Duration = Duration::from_millis(50);

/// The number of maps over which responses are spread. Each warm response is entered and removed,
/// so threads would often wait for the lock of a single one.
const SHARDS: usize = 16;

/// The responses that are being sent over connections.
#[derive(Default)]
pub(super) struct Responses {
    next_id: AtomicUsize,
    /// A response is in the shard of its id modulo [`SHARDS`].
    shards: [Mutex<HashMap<usize, Response>>; SHARDS],
    last_reclaim: Mutex<Option<Instant>>,
}

struct Response {
    body: Weak<RenderedBody>,
    connection: Arc<dyn Connection>,
    window_start: Instant,
    /// [`Connection::bytes_sent`] at `window_start`.
    bytes_at_start: u64,
    /// In bytes per second, over the last window; `None` before the first has passed.
    rate: Option<f64>,
    is_aborted: bool,
}

impl Response {
    fn measure(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= RATE_WINDOW {
            let sent = self.connection.bytes_sent();
            let bytes = sent.saturating_sub(self.bytes_at_start);
            self.rate = Some(bytes as f64 / elapsed.as_secs_f64());
            (self.window_start, self.bytes_at_start) = (now, sent);
        }
    }
}

/// The responses that send one body. Aborting some of them frees nothing: the body stays in memory
/// until the last of them has ended.
struct Readers {
    bytes: u64,
    /// The rate of the fastest response, in bytes per second.
    rate: f64,
    response_ids: Vec<usize>,
    /// Whether all of them have been aborted, though some may not have ended yet.
    are_aborted: bool,
}

impl Responses {
    fn shard(&self, id: usize) -> MutexGuard<'_, HashMap<usize, Response>> {
        lock(&self.shards[id % SHARDS])
    }

    /// The bytes of a body, to be sent over `connection`. The body, and with it its charge to the
    /// account, is kept until they are dropped.
    pub(super) fn track(
        self: &Arc<Self>,
        body: &Arc<RenderedBody>,
        connection: Option<Arc<dyn Connection>>,
    ) -> Bytes {
        let id = connection.map(|connection| {
            let response = Response {
                body: Arc::downgrade(body),
                window_start: Instant::now(),
                bytes_at_start: connection.bytes_sent(),
                connection,
                rate: None,
                is_aborted: false,
            };
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            self.shard(id).insert(id, response);
            id
        });
        Bytes::from_owner(TrackedBytes { body: Arc::clone(body), id, responses: Arc::clone(self) })
    }

    /// Aborts responses, the slowest first, until at least `bytes` of the account become free.
    /// Those that send at `max_rate` (in bytes per second) or faster are spared.
    ///
    /// Does nothing within [`RECLAIM_INTERVAL`] of the last call that had an effect.
    pub(super) fn abort_slowest(&self, bytes: u64, max_rate: f64, now: Instant) {
        let mut last_reclaim = lock(&self.last_reclaim);
        if last_reclaim.is_some_and(|last| now < last + RECLAIM_INTERVAL) {
            return;
        }
        *last_reclaim = Some(now);
        let mut by_body: HashMap<*const RenderedBody, Readers> = HashMap::new();
        for shard in &self.shards {
            for (id, response) in lock(shard).iter_mut() {
                response.measure(now);
                let Some(body) = response.body.upgrade() else { continue };
                if !body.charge().is_counted() {
                    continue;
                }
                let readers = by_body.entry(Arc::as_ptr(&body)).or_insert_with(|| Readers {
                    bytes: body.charge().bytes(),
                    rate: 0.0,
                    response_ids: Vec::new(),
                    are_aborted: true,
                });
                readers.rate = readers.rate.max(response.rate.unwrap_or(f64::INFINITY));
                readers.are_aborted &= response.is_aborted;
                readers.response_ids.push(*id);
            }
        }
        let mut readers: Vec<Readers> = by_body.into_values().collect();
        // An aborted connection takes a moment to close. Its memory, which is about to become free,
        // is counted first, so that no other response is aborted for it.
        readers.sort_by(|a, b| {
            b.are_aborted.cmp(&a.are_aborted).then_with(|| a.rate.total_cmp(&b.rate))
        });
        let mut freed = 0;
        for readers in readers {
            if freed >= bytes || (!readers.are_aborted && readers.rate >= max_rate) {
                break;
            }
            freed += readers.bytes;
            for id in readers.response_ids {
                if let Some(response) = self.shard(id).get_mut(&id)
                    && !std::mem::replace(&mut response.is_aborted, true)
                {
                    response.connection.abort();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No change can be interrupted half-way by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of one response's body, until its connection has sent or dropped them.
struct TrackedBytes {
    body: Arc<RenderedBody>,
    /// `None` for a response that cannot be aborted.
    id: Option<usize>,
    responses: Arc<Responses>,
}

impl AsRef<[u8]> for TrackedBytes {
    fn as_ref(&self) -> &[u8] {
        self.body.bytes()
    }
}

impl Drop for TrackedBytes {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let response = self.responses.shard(id).remove(&id);
            // Dropped after the lock is released: it may hold the last reference to the connection.
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

        fn body(&self) -> Arc<RenderedBody> {
            Arc::new(RenderedBody::new(
                vec![b'x'; 100].into(),
                self.account.try_charge(100).unwrap(),
            ))
        }

        fn send(&mut self, body: &Arc<RenderedBody>) {
            let connection = Arc::new(FakeConnection::default());
            self.connections.push(Arc::clone(&connection));
            self.bodies.push(self.responses.track(body, Some(connection)));
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
    fn the_slowest_responses_are_aborted_until_enough_memory_is_free() {
        let mut bench = Bench::new();
        for _ in 0..3 {
            let body = bench.body();
            bench.send(&body);
        }
        bench.advance(&[500, 10, 100]);
        bench.responses.abort_slowest(1, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, false]);
        bench.advance(&[500, 0, 100]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, false], "the aborted response frees enough");
        bench.advance(&[500, 0, 100]);
        bench.responses.abort_slowest(101, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, true, true]);
    }

    #[test]
    fn a_response_is_not_aborted_before_its_rate_is_known() {
        let mut bench = Bench::new();
        let body = bench.body();
        bench.send(&body);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false]);
        bench.advance(&[2000]);
        bench.responses.abort_slowest(100, 1000.0, bench.now);
        assert_eq!(bench.aborted(), [false], "it is not slower than the limit");
    }

    #[test]
    fn the_rate_of_a_body_is_that_of_its_fastest_response() {
        let mut bench = Bench::new();
        let shared = bench.body();
        bench.send(&shared);
        bench.send(&shared);
        let other = bench.body();
        bench.send(&other);
        drop((shared, other));
        bench.advance(&[0, 1000, 500]);
        bench.responses.abort_slowest(100, f64::INFINITY, bench.now);
        assert_eq!(bench.aborted(), [false, false, true]);
        bench.bodies.pop();
        assert_eq!(bench.account.used_bytes(), 100);
    }

    #[test]
    fn responses_with_documents_of_current_views_are_not_aborted() {
        let mut bench = Bench::new();
        let document =
            Arc::new(RenderedBody::new(vec![b'x'; 100].into(), bench.account.exempt(100)));
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
