//! The bound on control frames: all but `HEADERS`, `CONTINUATION` and `DATA`, with unknown ones.
//!
//! They cost the server time and give nothing to count: no request, no stream, no credentials. h2
//! takes any number of them. So a connection has an allowance for their bytes, which its requests
//! and responses increase. It is a token bucket that starts with [`BASE_BYTES`].

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// What a connection may send without any request.
const BASE_BYTES: f64 = 64.0 * 1024.0;

/// What the passing of time adds, up to [`BASE_BYTES`]: a connection that is open for days may send
/// a `PING` every few seconds.
const REFILL_BYTES_PER_SECOND: f64 = 1024.0;

/// The most that requests and responses can increase the allowance to. A client whose
/// `WINDOW_UPDATE`s lag behind as many chunks as the sockets' buffers hold needs less.
const MAX_BYTES: f64 = 1024.0 * 1024.0;

/// What a request adds, for its `RST_STREAM`, `PRIORITY` and `WINDOW_UPDATE`.
const BYTES_PER_REQUEST: u64 = 1024;

/// What each chunk of a response's body adds, for events: a client may answer each of them with a
/// `WINDOW_UPDATE` for the stream and one for the connection (26 bytes). A chunk earns this once,
/// however small the windows are in which it is sent.
const BYTES_PER_CHUNK: u64 = 256;

/// A chunk adds its length divided by this. Go's client, which updates more often than others,
/// sends 26 bytes for 4 KiB, a tenth of what these earn.
const BODY_BYTES_PER_BYTE: u64 = 16;

/// What a connection's requests and responses have added to its allowance and is not yet counted
/// there. The tasks of its streams add to it.
#[derive(Debug, Default)]
pub(super) struct EarnedBytes(AtomicU64);

impl EarnedBytes {
    pub(super) fn request(&self) {
        self.add(BYTES_PER_REQUEST);
    }

    /// Call when a chunk of a response's body was handed to hyper.
    pub(super) fn chunk(&self, bytes: usize) {
        self.add(BYTES_PER_CHUNK + bytes as u64 / BODY_BYTES_PER_BYTE);
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// How many more bytes of control frames a client may send.
#[derive(Debug)]
pub(super) struct ControlFrameAllowance {
    bytes: f64,
    refilled_at: Instant,
}

impl ControlFrameAllowance {
    pub(super) fn new() -> Self {
        Self { bytes: BASE_BYTES, refilled_at: Instant::now() }
    }

    /// Takes off what has been received. Returns whether the allowance was enough.
    #[must_use]
    pub(super) fn spend(&mut self, received_bytes: u64, earned: &EarnedBytes) -> bool {
        let now = Instant::now();
        let refill = (now - self.refilled_at).as_secs_f64() * REFILL_BYTES_PER_SECOND;
        self.refilled_at = now;
        if self.bytes < BASE_BYTES {
            self.bytes = (self.bytes + refill).min(BASE_BYTES);
        }
        self.bytes = (self.bytes + earned.take() as f64).min(MAX_BYTES) - received_bytes as f64;
        self.bytes >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const PING_BYTES: u64 = 17;
    const WINDOW_UPDATES_BYTES: u64 = 26;

    /// How many frames are allowed at once.
    fn burst(allowance: &mut ControlFrameAllowance, earned: &EarnedBytes) -> u64 {
        (0..1 << 20).take_while(|_| allowance.spend(PING_BYTES, earned)).count() as u64
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_spends_the_base_and_time_gives_it_back() {
        let (mut allowance, earned) = (ControlFrameAllowance::new(), EarnedBytes::default());
        assert_eq!(burst(&mut allowance, &earned), (64 << 10) / PING_BYTES);
        advance(Duration::from_hours(1)).await;
        assert_eq!(burst(&mut allowance, &earned), (64 << 10) / PING_BYTES);
        advance(Duration::from_secs(1)).await;
        assert!((59..=61).contains(&burst(&mut allowance, &earned)));
    }

    #[tokio::test(start_paused = true)]
    async fn small_steps_of_time_add_up() {
        let (mut allowance, earned) = (ControlFrameAllowance::new(), EarnedBytes::default());
        assert!(allowance.spend(64 << 10, &earned));
        for _ in 0..100_000 {
            advance(Duration::from_micros(100)).await;
            assert!(allowance.spend(0, &earned));
        }
        assert!(allowance.spend(10_000, &earned));
        assert!(!allowance.spend(1_000, &earned));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_chunks_earn_more_up_to_the_most() {
        let (mut allowance, earned) = (ControlFrameAllowance::new(), EarnedBytes::default());
        for _ in 0..100_000 {
            earned.request();
            assert!(allowance.spend(1024, &earned));
        }
        // Events, each answered.
        for _ in 0..16_384 {
            earned.chunk(100);
            assert!(allowance.spend(WINDOW_UPDATES_BYTES, &earned));
        }
        for _ in 0..1_000_000 {
            earned.chunk(64 << 10);
        }
        assert_eq!(burst(&mut allowance, &earned), (1 << 20) / PING_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn updates_for_every_four_kib_need_a_tenth_of_what_is_earned() {
        let (mut allowance, earned) = (ControlFrameAllowance::new(), EarnedBytes::default());
        for _ in 0..1000 {
            earned.chunk(64 << 10);
            assert!(allowance.spend(10 * 16 * WINDOW_UPDATES_BYTES, &earned));
        }
        assert!(allowance.spend(64 << 10, &earned));
    }
}
