//! Caches the responses of whole documents, headers included, for a few milliseconds.
//!
//! Most requests are for a whole document, and under load many of them arrive within the time in
//! which the headers do not change. They share one response, to which the layers add the headers
//! that differ between requests.

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

/// The last response of each document in each content coding.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(
    [[RwLock<Option<CachedResponse>>; Coding::ALL.len()]; Document::ALL.len()],
);

#[derive(Debug)]
struct CachedResponse {
    /// Weak, like the body, so that superseded data is not kept in memory.
    snapshot: Weak<Snapshot>,
    body: Weak<RenderedBody>,
    result: CacheResult,
    created_at: Instant,
    headers: HeaderMap,
}

impl ResponseCache {
    fn slot(&self, resource: &Resource, coding: Coding) -> Option<&RwLock<Option<CachedResponse>>> {
        let Resource::Document(asked) = resource else { return None };
        let document = Document::ALL.iter().position(|document| document == asked)?;
        Some(&self.0[document][coding as usize])
    }

    /// The body, headers and cache result of a resource of a snapshot, if they were cached less
    /// than [`HEADERS_TTL`] before `now`.
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
                && now.saturating_duration_since(cached.created_at) < HEADERS_TTL
        })?;
        Some((cached.body.upgrade()?, cached.headers.clone(), cached.result))
    }

    /// Caches a body that was just rendered, with the headers that all requests share.
    pub(super) fn insert(
        &self,
        resource: &Resource,
        coding: Coding,
        selected: &SelectedSnapshot,
        now: Instant,
        body: &Arc<RenderedBody>,
        headers: &HeaderMap,
    ) {
        let Some(slot) = self.slot(resource, coding) else { return };
        let mut headers = headers.clone();
        // Requests served from here neither wait nor render.
        headers.insert(SERVER_TIMING, server_timing(Duration::ZERO, Duration::ZERO));
        // Placeholders for the headers that the layers insert, so that no copy of the map must
        // grow.
        for name in [REQUEST_ID, TRACEPARENT] {
            headers.insert(name, HeaderValue::from_static(""));
        }
        let cached = CachedResponse {
            snapshot: Arc::downgrade(&selected.snapshot),
            body: Arc::downgrade(body),
            result: selected.result,
            created_at: now,
            headers,
        };
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(cached);
    }
}

impl Gateway {
    /// The cached response to a request for a whole document without a query or preferences, if
    /// there is one and the caller may see all of it. Requests that find none wait for data and
    /// record demand.
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
        context.visibility().ok()?.require_everything().ok()?;
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
