//! Serves an HTTP/2 connection.
//!
//! h2 bounds by itself what a client can make it keep: streams that were reset before they were
//! accepted (20, "rapid reset"), resets that malformed frames cause (1024), frames of a header
//! block and the size of what they decode to (by the size of the header list), empty `DATA` frames
//! (100), and the tables of HPACK (4 KiB each). It reads on only once the answers to `SETTINGS` and
//! `PING` fit into its write buffer. It does not bound how many control frames a client sends;
//! [`Http2Io`] does.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::Abortable;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::end::{CLOSE_DELAY, EndSignals};
use super::{MAX_HEADER_BYTES, idle_timeout, min_send_rate};
use crate::config::Limits;
use crate::http::body::Body;
use crate::http::connection::http2::{Http2Connection, Http2Io, NewStream, StreamTask};
use crate::http::connection::{Client, Transport};
use crate::http::service::HttpService;

/// The most open streams of a connection.
const MAX_STREAMS: u32 = 100;

/// The flow-control windows for requests' bodies, which no route reads: the least that the protocol
/// allows for a connection.
const RECEIVE_WINDOW_BYTES: u32 = 65_535;

/// Serves the requests of one connection until it ends, or must.
pub(super) async fn serve<T: Transport>(
    stream: T,
    client: Client,
    limits: Limits,
    end: EndSignals,
    service: impl HttpService<Incoming>,
) {
    let idle_timeout = idle_timeout(&client, &limits);
    let is_beyond_limit = client.is_beyond_limit;
    let client = Arc::new(client);
    let min_send_rate = min_send_rate(&limits);
    let (state, aborted) = Http2Connection::new();
    let (peer, header_timeout) = (client.address, limits.header_timeout);
    let io = Http2Io::new(stream, Arc::clone(&state), peer, header_timeout, min_send_rate);
    let executor = StreamExecutor::default();
    let next_stream = executor.clone();
    let (state_of_service, client_of_service) = (Arc::clone(&state), Arc::clone(&client));
    // hyper calls a service by `&self`, but never concurrently for one connection.
    let service = RefCell::new(service);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (state, client) = (Arc::clone(&state_of_service), Arc::clone(&client_of_service));
        let stream = NewStream::new(state, client, min_send_rate);
        request.extensions_mut().insert(stream.handle().clone());
        let sending = Arc::clone(stream.sending());
        next_stream.set(stream);
        let is_head = request.method() == Method::HEAD;
        // `poll_ready` is not needed: the service is always ready, and refuses excess requests with
        // a response.
        let response = service.borrow_mut().call(request);
        async move {
            let Ok(response) = response.await;
            let response = if is_head { without_body(response) } else { response };
            Ok::<_, Infallible>(response.map(|body| sending.track_body(body)))
        }
    });
    let connection = http2::Builder::new(executor)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).expect("64 KiB"))
        .initial_stream_window_size(RECEIVE_WINDOW_BYTES)
        .initial_connection_window_size(RECEIVE_WINDOW_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let serving = async {
        let mut connection = pin!(connection);
        let must_go_away = async {
            // A client that is told before its first request would come back, and be told again.
            state.first_request().await;
            if !is_beyond_limit {
                end.draining().await;
            }
        };
        // Errors are ignored: resets, timeouts and malformed frames are the client's doing.
        tokio::select! {
            biased;
            _ = end.authority_replaced(&client) => {}
            _ = connection.as_mut() => return,
            () = must_go_away => {}
            () = end.closed() => {}
            () = state.idle_for(idle_timeout) => {}
        }
        // `GOAWAY`: requests that are already on their way are still answered.
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = connection.as_mut() => {}
            () = state.idle_for(CLOSE_DELAY) => {}
        }
    };
    let _ = Abortable::new(serving, aborted).await;
}

/// The response to `HEAD`: the length of the body that `GET` would give, and none. Over HTTP/1
/// hyper does this.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().length().filter(|length| *length > 0);
    if let (Some(length), header::Entry::Vacant(field)) =
        (length, response.headers_mut().entry(header::CONTENT_LENGTH))
    {
        field.insert(HeaderValue::from(length));
    }
    response.map(|_| Body::empty())
}

/// Spawns the streams' tasks. hyper calls the service for a request and then at once this, with a
/// future that does not tell of which request it is: the service leaves the stream here.
#[derive(Clone, Default)]
struct StreamExecutor {
    next: Arc<Mutex<Option<NewStream>>>,
}

impl StreamExecutor {
    fn set(&self, stream: NewStream) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match next {
            Some(stream) => tokio::spawn(StreamTask::new(future, stream)),
            None => tokio::spawn(future),
        };
    }
}

#[cfg(test)]
mod tests;
