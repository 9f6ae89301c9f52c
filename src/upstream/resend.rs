//! Which failures of a request say nothing of the upstream: it did not process the request, or the
//! connection had been closed when the request was sent. Such a request is sent again at once, as a
//! part of the same call: breaker, retry budget and concurrency limit see the call alone.

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

/// So many of these may share a connection with other calls. Where each connection serves few
/// requests, sharing a new one with the others would fail again.
pub(super) const MAX_SHARED_RESENDS: usize = 2;

/// More connections than an upstream's calls have open at once; beyond it the set begins anew.
const MAX_REMEMBERED_CONNECTIONS: usize = 1024;

/// How a request may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resend {
    /// Over any connection: the upstream did not process it (RFC 9113, sections 6.8 and 8.7).
    OnAny,
    /// Over a new connection: the one it was sent over had answered before, and died before this
    /// answer began. Other pooled ones may be as dead.
    OnNew,
}

/// The connections that have carried an answer, by their local address. Those that have ended are
/// not taken out: where a new connection has the address of an old one, a request is sent once more
/// than need be.
#[derive(Debug, Default)]
pub(super) struct AnsweredConnections(Mutex<HashSet<SocketAddr>>);

impl AnsweredConnections {
    /// An answer came.
    pub(super) fn note(&self, response: &Response) {
        if let Some(info) = response.extensions().get::<HttpInfo>() {
            let mut connections = lock(&self.0);
            if connections.len() >= MAX_REMEMBERED_CONNECTIONS {
                connections.clear();
            }
            connections.insert(info.local_addr());
        }
    }

    /// Whether the request that failed so, before an answer began, may be sent again. It must be
    /// idempotent.
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

/// The local address of the connection that a request failed on.
fn connection(error: &reqwest::Error) -> Option<SocketAddr> {
    let error = classify::chain(error).find_map(|cause| cause.downcast_ref::<legacy::Error>())?;
    let mut extensions = Extensions::new();
    error.connect_info()?.get_extras(&mut extensions);
    extensions.get::<HttpInfo>().map(HttpInfo::local_addr)
}

/// Whether the upstream said that it did not process the request. A stream fails by the `GOAWAY` of
/// the other side only if its id is above the last one that was processed.
fn is_unprocessed(error: &reqwest::Error) -> bool {
    classify::chain(error).filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        error.is_remote()
            && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether the connection ended, rather than that something was wrong with what came over it.
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
