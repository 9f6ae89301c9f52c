//! Whole documents with the headers that all answers of one moment share, ready to be sent again.
//!
//! Nearly all requests ask for one of these, and all that is left to do is to put what differs from
//! answer to answer (ids) on a copy.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::context::REQUEST_ID;
use super::freshness::{CacheResult, HEADERS_TTL};
use super::incidents::{SERVER_TIMING, SelectedSnapshot, server_timing};
use crate::cache::{Answer, Question};
use crate::render::Document;
use crate::render::compress::Coding;
use crate::snapshot::Snapshot;
use crate::trace_context::TRACEPARENT;

/// The last answer of each document in each coding.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(
    [[RwLock<Option<CachedResponse>>; Coding::ALL.len()]; Document::ALL.len()],
);

#[derive(Debug)]
struct CachedResponse {
    /// Weak, as the answer is, so that they go when they are served no longer.
    snapshot: Weak<Snapshot>,
    answer: Weak<Answer>,
    result: CacheResult,
    at: Instant,
    headers: HeaderMap,
}

impl ResponseCache {
    fn slot(&self, question: &Question, coding: Coding) -> Option<&RwLock<Option<CachedResponse>>> {
        let Question::Document(asked) = question else { return None };
        let document = Document::ALL.iter().position(|document| document == asked)?;
        Some(&self.0[document][coding as usize])
    }

    /// The answer to a question about a snapshot, and how the cache met it, if it was made this
    /// moment.
    pub(super) fn get(
        &self,
        question: &Question,
        coding: Coding,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> Option<(Arc<Answer>, HeaderMap, CacheResult)> {
        let slot = self.slot(question, coding)?.read().unwrap_or_else(PoisonError::into_inner);
        let cached = slot.as_ref().filter(|cached| {
            Weak::as_ptr(&cached.snapshot) == Arc::as_ptr(snapshot)
                && now.saturating_duration_since(cached.at) < HEADERS_TTL
        })?;
        Some((cached.answer.upgrade()?, cached.headers.clone(), cached.result))
    }

    /// Keeps an answer that was just made, without what is its request's own.
    pub(super) fn keep(
        &self,
        question: &Question,
        coding: Coding,
        selected: &SelectedSnapshot,
        now: Instant,
        answer: &Arc<Answer>,
        headers: &HeaderMap,
    ) {
        let Some(slot) = self.slot(question, coding) else { return };
        let mut headers = headers.clone();
        // Nothing is waited for or rendered; what finding it takes, about a microsecond, is not
        // worth another clock.
        headers.insert(SERVER_TIMING, server_timing(Duration::ZERO, Duration::ZERO));
        // Places for what every answer gets: without them, each copy's table would have to grow.
        for name in [REQUEST_ID, TRACEPARENT] {
            headers.insert(name, HeaderValue::from_static(""));
        }
        let (snapshot, answer) = (Arc::downgrade(&selected.snapshot), Arc::downgrade(answer));
        let cached = CachedResponse { snapshot, answer, result: selected.result, at: now, headers };
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(cached);
    }
}
