//! The task of one stream, which hyper hands to the executor, and what of its response is still to
//! be sent.

use std::future::{Pending, pending};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::Abortable;
use futures::task::AtomicWaker;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{Http2Connection, StreamBody};
use crate::http::body::Body;
use crate::http::connection::send_rate::{MinSendRate, SendRate};
use crate::http::connection::{Client, ConnectionHandle};

/// How far a response's body has been sent.
#[derive(Debug)]
pub(in crate::http) struct Sending {
    handle: ConnectionHandle,
    state: Mutex<SendingState>,
    /// The stream's task, which waits until everything is sent.
    task: AtomicWaker,
}

#[derive(Debug)]
struct SendingState {
    /// The bytes that were handed to hyper and not yet written to the connection.
    unsent_bytes: usize,
    send_rate: SendRate,
}

impl Sending {
    /// The body of this stream's response.
    pub(in crate::http) fn track_body(self: Arc<Self>, body: Body) -> StreamBody {
        StreamBody::new(body, self)
    }

    pub(super) fn hand_over(&self, bytes: usize) {
        if let Some(connection) = &self.handle.0.http2 {
            connection.earned_bytes.chunk(bytes);
        }
        let mut state = self.state();
        state.unsent_bytes += bytes;
        state.send_rate.wait();
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.handle.0.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.take_off(bytes);
    }

    /// Call when unsent bytes were dropped, because the stream has ended.
    pub(super) fn dropped(&self, bytes: usize) {
        self.take_off(bytes);
    }

    fn take_off(&self, bytes: usize) {
        let mut state = self.state();
        state.unsent_bytes -= bytes;
        state.send_rate.sent(bytes);
        if state.unsent_bytes > 0 {
            state.send_rate.wait();
        } else {
            drop(state);
            self.task.wake();
        }
    }

    /// Is ready while no byte is unsent. Call from the stream's task.
    pub(super) fn poll_all_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.state().unsent_bytes == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Is ready once the client has read too slowly.
    fn poll_too_slow(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.unsent_bytes == 0 || self.handle.is_exempt_from_min_send_rate() {
            return Poll::Pending;
        }
        state.send_rate.poll_too_slow(context)
    }

    fn state(&self) -> MutexGuard<'_, SendingState> {
        // No change can be interrupted half-way by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose request was received; its task is about to start.
pub(in crate::http) struct NewStream {
    connection: Arc<Http2Connection>,
    sending: Arc<Sending>,
    aborted: Abortable<Pending<()>>,
}

impl NewStream {
    pub(in crate::http) fn new(
        connection: Arc<Http2Connection>,
        client: Arc<Client>,
        min_send_rate: MinSendRate,
    ) -> Self {
        connection.open_one();
        let (handle, aborted) =
            ConnectionHandle::of_exchange(client, Some(Arc::clone(&connection)));
        let state = SendingState { unsent_bytes: 0, send_rate: SendRate::new(min_send_rate) };
        let sending = Sending { handle, state: Mutex::new(state), task: AtomicWaker::new() };
        let aborted = Abortable::new(pending(), aborted);
        Self { connection, sending: Arc::new(sending), aborted }
    }

    pub(in crate::http) fn handle(&self) -> &ConnectionHandle {
        &self.sending.handle
    }

    pub(in crate::http) fn sending(&self) -> &Arc<Sending> {
        &self.sending
    }

    /// Is ready once the exchange was aborted, or the client has read too slowly.
    fn poll_must_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.aborted).poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.sending.poll_too_slow(context)
    }
}

impl Drop for NewStream {
    fn drop(&mut self) {
        self.connection.close_one(self.handle().is_exempt_from_min_send_rate());
    }
}

/// How long h2 may take to drop what it holds of a stream that was reset. It does so when the
/// connection takes its next frame.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

pin_project! {
    /// Runs hyper's future of a stream until the whole response was sent, the client has read too
    /// slowly, or the exchange was aborted.
    pub(in crate::http) struct StreamTask<F> {
        // `None` once hyper has handed the whole response to h2, or the stream was reset.
        #[pin]
        exchange: Option<F>,
        stream: NewStream,
        // Once the stream was reset, when the connection is reset too.
        reset_deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> StreamTask<F> {
    pub(in crate::http) fn new(exchange: F, stream: NewStream) -> Self {
        Self { exchange: Some(exchange), stream, reset_deadline: None }
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(exchange) = this.exchange.as_mut().as_pin_mut()
            && exchange.poll(context).is_ready()
        {
            this.exchange.set(None);
        }
        if this.exchange.is_some() && this.stream.poll_must_end(context).is_ready() {
            // Dropping hyper's future resets the stream.
            this.exchange.set(None);
            *this.reset_deadline = Some(Box::pin(sleep(RESET_TIMEOUT)));
        }
        if this.exchange.is_some() {
            return Poll::Pending;
        }
        if this.stream.sending.poll_all_sent(context).is_ready() {
            return Poll::Ready(());
        }
        // The rest is inside h2, which gives no other way to end the stream.
        match this.reset_deadline {
            Some(deadline) => ready!(deadline.as_mut().poll(context)),
            None => ready!(this.stream.poll_must_end(context)),
        }
        this.stream.connection.abort();
        Poll::Ready(())
    }
}
