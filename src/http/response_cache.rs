//! Responses for whole documents, kept with their headers for a few milliseconds.
//!
//! Nearly all requests ask for a whole document. A response that was just made is good for all of
//! them; the layers put on it what differs from request to request.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use tokio::time::Instant;

use super::Gateway;
use super::body::Body;
use super::conditions;
use super::context::{Context, REQUEST_ID};
use super::freshness::{CacheResult, HEADERS_TTL};
use super::negotiate;
use super::rendered_response::{SERVER_TIMING, connection, server_timing};
use super::routes::Route;
use super::snapshot_selection::SelectedSnapshot;
use crate::cache::{RenderedBody, Resource};
use crate::render::Document;
use crate::render::compress::Coding;
use crate::snapshot::Snapshot;
use crate::trace_context::TRACEPARENT;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The last answer of each document in each coding.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(
    [[RwLock<Option<CachedResponse>>; Coding::ALL.len()]; Document::ALL.len()],
);

#[derive(Debug)]
struct CachedResponse {
    /// Weak, like the answer, so that neither outlives its being served.
    snapshot: Weak<Snapshot>,
    answer: Weak<RenderedBody>,
    result: CacheResult,
    at: Instant,
    headers: HeaderMap,
}

impl ResponseCache {
    fn slot(&self, resource: &Resource, coding: Coding) -> Option<&RwLock<Option<CachedResponse>>> {
        let Resource::Document(asked) = resource else { return None };
        let document = Document::ALL.iter().position(|document| document == asked)?;
        Some(&self.0[document][coding as usize])
    }

    /// The answer to a resource about a snapshot, its headers, and how the cache met the request,
    /// if they were kept less than [`HEADERS_TTL`] before `now`.
    pub(super) fn get(
        &self,
        resource: &Resource,
        coding: Coding,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> Option<(Arc<RenderedBody>, HeaderMap, CacheResult)> {
        let slot = self.slot(resource, coding)?.read().unwrap_or_else(PoisonError::into_inner);
        let cached = slot.as_ref().filter(|cached| {
            Weak::as_ptr(&cached.snapshot) == Arc::as_ptr(snapshot)
                && now.saturating_duration_since(cached.at) < HEADERS_TTL
        })?;
        Some((cached.answer.upgrade()?, cached.headers.clone(), cached.result))
    }

    /// Keeps an answer that was just rendered with the headers that all requests share.
    pub(super) fn keep(
        &self,
        resource: &Resource,
        coding: Coding,
        selected: &SelectedSnapshot,
        now: Instant,
        answer: &Arc<RenderedBody>,
        headers: &HeaderMap,
    ) {
        let Some(slot) = self.slot(resource, coding) else { return };
        let mut headers = headers.clone();
        // Nothing will be waited for or rendered.
        headers.insert(SERVER_TIMING, server_timing(Duration::ZERO, Duration::ZERO));
        // Entries for what the layers insert: without them, the table of each copy would grow.
        for name in [REQUEST_ID, TRACEPARENT] {
            headers.insert(name, HeaderValue::from_static(""));
        }
        let (snapshot, answer) = (Arc::downgrade(&selected.snapshot), Arc::downgrade(answer));
        let cached = CachedResponse { snapshot, answer, result: selected.result, at: now, headers };
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(cached);
    }
}

impl Gateway {
    /// The response to a request for a whole document without a query or preferences, if one was
    /// made within [`HEADERS_TTL`]. Waiting for data and recording demand are left to the requests
    /// that find none.
    pub(super) fn cached_response(
        &self,
        route: &Route,
        request: &Parts,
        context: &Context,
    ) -> Option<Response<Body>> {
        let resource = match route {
            Route::Incidents => {
                let format = negotiate::format(&request.headers)?;
                Resource::Document(Document::Incidents(format))
            }
            Route::Unattributed => Resource::Document(Document::Unattributed),
            _ => return None,
        };
        if request.uri.query().is_some() || request.headers.contains_key(PREFER) {
            return None;
        }
        let coding = negotiate::coding(&request.headers)?;
        let (answer, headers, result) = self.response_cache.get(
            &resource,
            coding,
            &self.snapshots.borrow(),
            context.started,
        )?;
        let bytes = self.cache.response_bytes(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        *response.headers_mut() = headers;
        self.metrics.record_cache(result);
        Some(conditions::apply(response, request, context))
    }
}
