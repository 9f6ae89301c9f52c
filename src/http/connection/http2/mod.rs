//! HTTP/2 connections: how their streams are counted, sent and ended.
//!
//! | file | purpose |
//! |---|---|
//! | [`io`] | the I/O wrapper between hyper and the socket |
//! | [`frames`] | follows the frames that the client sends, for their deadlines and their bound |
//! | [`control_frames`] | bounds the frames that are neither a request's nor a body's |
//! | [`stream`] | the task of one stream, and what of its response is still to be sent |
//! | [`body`] | hands a response's body to hyper in chunks that tell when they were sent |

mod body;
mod control_frames;
mod frames;
mod io;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{AbortHandle, AbortRegistration};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep_until};

use self::control_frames::EarnedBytes;
pub(in crate::http) use body::StreamBody;
pub(in crate::http) use io::Http2Io;
pub(in crate::http) use stream::{NewStream, StreamTask};

/// The state of one connection that its task and those of its streams share.
#[derive(Debug)]
pub(in crate::http) struct Http2Connection {
    abort: AbortHandle,
    streams: Mutex<Streams>,
    first_request: SetOnce<()>,
    /// For control frames.
    earned_bytes: EarnedBytes,
}

#[derive(Debug)]
struct Streams {
    open: usize,
    /// How many of them are exempt from `limits.min_send_rate`.
    exempt: usize,
    /// When the last stream ended, or the connection began. Without meaning while streams are open.
    idle_since: Instant,
}

impl Http2Connection {
    /// The state, and the registration that makes [`Self::abort`] end the connection's task.
    pub(in crate::http) fn new() -> (Arc<Self>, AbortRegistration) {
        let (abort, registration) = AbortHandle::new_pair();
        let streams = Streams { open: 0, exempt: 0, idle_since: Instant::now() };
        let state = Self {
            abort,
            streams: Mutex::new(streams),
            first_request: SetOnce::new(),
            earned_bytes: EarnedBytes::default(),
        };
        (Arc::new(state), registration)
    }

    /// Resets the connection with all its streams.
    pub(in crate::http) fn abort(&self) {
        self.abort.abort();
    }

    fn is_aborted(&self) -> bool {
        self.abort.is_aborted()
    }

    /// Completes once the client has sent a request.
    pub(in crate::http) async fn first_request(&self) {
        self.first_request.wait().await;
    }

    /// Completes once no stream has been open for `timeout`.
    pub(in crate::http) async fn idle_for(&self, timeout: Duration) {
        loop {
            let (is_open, since) = {
                let streams = self.streams();
                (streams.open > 0, streams.idle_since)
            };
            let now = Instant::now();
            let due = if is_open { now } else { since } + timeout;
            if !is_open && due <= now {
                return;
            }
            sleep_until(due).await;
        }
    }

    fn open_one(&self) {
        self.streams().open += 1;
        self.earned_bytes.request();
        // Fails if it is set already.
        let _ = self.first_request.set(());
    }

    /// Exempts one of the open streams from the minimum send rate.
    pub(super) fn exempt_one(&self) {
        self.streams().exempt += 1;
    }

    fn close_one(&self, is_exempt: bool) {
        let mut streams = self.streams();
        streams.open -= 1;
        streams.exempt -= usize::from(is_exempt);
        if streams.open == 0 {
            streams.idle_since = Instant::now();
        }
    }

    fn has_exempt_streams(&self) -> bool {
        self.streams().exempt > 0
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // No change can be interrupted half-way by a panic.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
