//! Which failed requests are sent again at once, within the same call: those that the upstream did
//! not process, and those that were sent over a pooled connection that had been closed. Such a
//! failure says nothing about the upstream, so breaker, retry budget and concurrency limit do not
//! see it.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;

use super::{classify, lock};

/// How often a request is sent again at most.
pub(super) const MAX_RESENDS: usize = 4;

/// How often a request is sent again over pooled connections at most. If connections serve only a
/// few requests, one that is shared with other calls may fail again.
pub(super) const MAX_SHARED_RESENDS: usize = 2;

/// The most remembered connections, many more than are open at once; the set is cleared beyond it.
const MAX_REMEMBERED_CONNECTIONS: usize = 1024;

/// How a request may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resend {
    /// Over any connection: the upstream did not process it (RFC 9113, sections 6.8 and 8.7).
    OnAny,
    /// Over a new connection: a reused connection ended before the answer began, and other pooled
    /// ones may have ended as well.
    OnNew,
}

/// The local addresses of connections that have carried an answer. Ended connections stay in the
/// set: if a new one gets the same address, its first request may be resent without need.
#[derive(Debug, Default)]
pub(super) struct AnsweredConnections(Mutex<HashSet<SocketAddr>>);

impl AnsweredConnections {
    /// Remembers the connection that carried an answer.
    pub(super) fn note(&self, response: &Response) {
        if let Some(info) = response.extensions().get::<HttpInfo>() {
            let mut connections = lock(&self.0);
            if connections.len() >= MAX_REMEMBERED_CONNECTIONS {
                connections.clear();
            }
            connections.insert(info.local_addr());
        }
    }

    /// How to send a request again that failed with `error` before its answer began; `None` if it
    /// must not be sent again. The request must change nothing at the upstream.
    pub(super) fn resend(&self, error: &reqwest::Error) -> Option<Resend> {
        if error.is_timeout() || error.is_connect() {
            return None;
        }
        if is_unprocessed(error) {
            return Some(Resend::OnAny);
        }
        let had_answered = lock(&self.0).contains(&connection(error)?);
        (had_answered && is_broken(error)).then_some(Resend::OnNew)
    }
}

/// The local address of the connection that the request was sent over.
fn connection(error: &reqwest::Error) -> Option<SocketAddr> {
    let error = classify::chain(error).find_map(|cause| cause.downcast_ref::<legacy::Error>())?;
    let mut extensions = Extensions::new();
    error.connect_info()?.get_extras(&mut extensions);
    extensions.get::<HttpInfo>().map(HttpInfo::local_addr)
}

/// Whether the upstream did not process the request: it said so, or the request was never sent.
fn is_unprocessed(error: &reqwest::Error) -> bool {
    classify::chain(error).any(|cause| {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            // h2 fails a stream with a remote `GOAWAY` only if its id is above the last processed
            // one.
            return error.is_remote()
                && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        // Of the errors that hyper puts down to its user, a request whose body is in memory can
        // meet only one: the connection shut down while the request waited for a stream.
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user)
    })
}

/// Whether the connection ended, as opposed to an invalid answer.
fn is_broken(error: &reqwest::Error) -> bool {
    classify::chain(error).any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        }
        let io = match cause.downcast_ref::<h2::Error>() {
            Some(error) => error.get_io().map(io::Error::kind),
            None => cause.downcast_ref::<io::Error>().map(io::Error::kind),
        };
        matches!(
            io,
            Some(
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::UnexpectedEof
            )
        )
    })
}
