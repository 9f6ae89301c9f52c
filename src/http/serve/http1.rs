//! Serves an HTTP/1 connection.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use futures::future::Abortable;
use http::Request;
use http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;

use super::end::{CLOSE_DELAY, EndSignals, Right};
use super::{MAX_HEADER_BYTES, Phase, idle_timeout, min_send_rate};
use crate::config::Limits;
use crate::http::connection::{Client, ConnectionHandle, ConnectionIo, Transport};
use crate::http::service::HttpService;

/// The most header fields of a request: as many fields of 10 bytes as fit into
/// [`MAX_HEADER_BYTES`]. hyper allocates 64 bytes for each while it parses a request. This costs
/// about 0.1 µs: it writes only as many as the request has, and the allocator reuses the memory
/// (see `memory.rs`).
pub(super) const MAX_HEADER_FIELDS: usize = MAX_HEADER_BYTES / 10;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Serves the requests of one connection until it ends, or must.
pub(super) async fn serve<T: Transport>(
    stream: T,
    client: Client,
    limits: Limits,
    end: EndSignals,
    service: impl HttpService<Incoming>,
) {
    let idle_timeout = idle_timeout(&client, &limits);
    let client = Arc::new(client);
    let (handle, aborted) = ConnectionHandle::new(Arc::clone(&client));
    let io =
        ConnectionIo::new(stream, handle.clone(), limits.header_timeout, min_send_rate(&limits));
    // One receiver for the connection: cloning one for each request would make all connections
    // contend for the channel's reference count.
    let shared_phase = Arc::new(end.phase().clone());
    let of_service = Arc::clone(&client);
    // hyper calls a service by `&self`, but never concurrently for one connection.
    let service = RefCell::new(service);
    let service = service_fn(move |mut request: Request<Incoming>| {
        handle.begin_exchange();
        request.extensions_mut().insert(handle.clone());
        let handle = handle.clone();
        // `poll_ready` is not needed: the service is always ready, and refuses excess requests with
        // a response.
        let response = service.borrow_mut().call(request);
        let (phase, client) = (Arc::clone(&shared_phase), Arc::clone(&of_service));
        async move {
            let Ok(mut response) = response.await;
            let is_last = client.is_beyond_limit
                || client.has_renewed_certificate()
                || *phase.borrow() != Phase::Serving;
            if is_last {
                response.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response.map(|body| handle.track_body(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // From the end of one response to the end of the next request's headers.
        .header_read_timeout(idle_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADER_FIELDS)
        .serve_connection(TokioIo::new(io), service);
    let serving = async {
        let mut connection = pin!(connection);
        let authority_replaced = async {
            if end.authority_replaced(&client).await == Right::Kept {
                // For a request that is already on its way.
                sleep(CLOSE_DELAY).await;
            }
        };
        // Errors are ignored: resets, timeouts and malformed requests are the client's doing.
        tokio::select! {
            biased;
            () = authority_replaced => {}
            _ = connection.as_mut() => return,
            () = end.closed() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    };
    let _ = Abortable::new(serving, aborted).await;
}
