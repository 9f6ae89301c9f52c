//! `/history` and `/history/summary`: the records that the store remembers.
//!
//! Only these routes wait for the store, and never longer than the response budget.

mod cursor;
mod query;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use self::cursor::Cursors;
pub(super) use self::query::HistoryKeys;
#[cfg(test)]
pub(super) use self::query::{DEFAULT_LIMIT, MAX_LIMIT};
use self::query::{Query, next_link};
use super::Gateway;
use super::body::Body;
use super::conditions;
use super::context::Context;
use super::negotiate;
use super::problem::Problem;
use super::rendered_response::{SERVER_TIMING, connection, server_timing};
use super::snapshot_selection::SEND_MARGIN;
use crate::render::compress::{Coding, compress};
use crate::render::{self, Format};
use crate::store::{HistoryQuery, Store, StoreFuture, StoreHandle};

/// How many queries run at once, each until its answer is rendered. It bounds the memory of their
/// records to this times [`MAX_PAGE_BYTES`]; a larger record stands alone.
pub(super) const MAX_QUERIES: usize = 4;

/// A page ends early where its records reach this many bytes.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// The part of the budget that is left for rendering and sending when the store has answered; at
/// most half of it.
const MAX_RENDER_MARGIN: Duration = SEND_MARGIN.saturating_mul(2);

/// An answer may change at any time, and is the caller's alone.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");

/// What an answer to a query of the store is rendered to.
struct Rendered {
    content_type: &'static str,
    coding: Coding,
    vary: &'static str,
    link: Option<String>,
}

impl Gateway {
    /// `GET /history`
    pub(super) async fn history(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let store = self.history_store()?;
            let query = Query::parse(request.uri.query(), HistoryKeys::Page, context.scope())?;
            let format = negotiate::format(&request.headers).ok_or(Problem::NotAcceptable)?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            let deadline = self.store_deadline(context);
            let cursors = self.cursors(store, deadline, context).await?;
            let query = HistoryQuery {
                after: query.after(&cursors)?,
                filter: query.filter,
                limit: query.limit,
                max_bytes: MAX_PAGE_BYTES,
            };
            let (page, permit) =
                self.query_store(store, deadline, |store| store.history(query)).await?;
            let rendered = Rendered {
                content_type: format.content_type(),
                coding,
                vary: "Accept, Accept-Encoding",
                link: page
                    .next
                    .map(|position| next_link(request.uri.query(), &cursors.encode(position))),
            };
            let render = move || {
                let bytes = render::history(format, &page.rows);
                drop((page, permit));
                bytes
            };
            self.respond_from_store(rendered, render, request, context).await
        };
        answer.await.unwrap_or_else(|problem| problem.response(context.id(), &[]))
    }

    /// `GET /history/summary`
    pub(super) async fn history_summary(
        &self,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let answer = async {
            let store = self.history_store()?;
            let query = Query::parse(request.uri.query(), HistoryKeys::Summary, context.scope())?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            // Unattributed records may be of anybody.
            let counts_unattributed = context.visibility()?.is_everything();
            let deadline = self.store_deadline(context);
            let (summary, permit) =
                self.query_store(store, deadline, |store| store.summary(query.filter)).await?;
            let view = Arc::clone(&self.snapshot().view);
            let rendered = Rendered {
                content_type: Format::Json.content_type(),
                coding,
                vary: "Accept-Encoding",
                link: None,
            };
            let render = move || {
                let person_name = |id: &str| view.person_name(id);
                let bytes = render::history_summary(
                    &summary,
                    view.names(),
                    person_name,
                    counts_unattributed,
                );
                drop(permit);
                bytes
            };
            self.respond_from_store(rendered, render, request, context).await
        };
        answer.await.unwrap_or_else(|problem| problem.response(context.id(), &[]))
    }

    fn history_store(&self) -> Result<&Arc<dyn Store>, Problem> {
        self.store.as_ref().map(StoreHandle::store).ok_or(Problem::NoStore)
    }

    /// The cursors of the caller.
    async fn cursors(
        &self,
        store: &Arc<dyn Store>,
        deadline: Instant,
        context: &Context,
    ) -> Result<Cursors, Problem> {
        let visibility = context.visibility()?;
        let Some(employee) = visibility.only_employee() else { return Ok(Cursors::Open) };
        let (key, _) = self.query_store(store, deadline, |store| store.key()).await?;
        Ok(Cursors::sealed(Arc::clone(employee), &key))
    }

    /// Until when a request waits for the store.
    fn store_deadline(&self, context: &Context) -> Instant {
        context.started + self.budget - MAX_RENDER_MARGIN.min(self.budget / 2)
    }

    /// The answer of the store to a query, and the permit to keep until it is rendered. Dropping
    /// the future ends the query.
    pub(super) async fn query_store<'s, T>(
        &self,
        store: &'s Arc<dyn Store>,
        deadline: Instant,
        query: impl FnOnce(&'s dyn Store) -> StoreFuture<'s, T>,
    ) -> Result<(T, OwnedSemaphorePermit), Problem> {
        let permit = Arc::clone(&self.history_permits).acquire_owned();
        let permit = timeout_at(deadline, permit).await.map_err(|_| {
            // The queries before it may all wait for a store that does not answer.
            let is_up = self.store.as_ref().is_some_and(|store| store.state().is_up());
            if is_up { Problem::Overloaded } else { Problem::StoreUnavailable }
        })?;
        let permit = permit.expect("the semaphore is never closed");
        match timeout_at(deadline, query(&**store)).await {
            Ok(Ok(answer)) => Ok((answer, permit)),
            Ok(Err(error)) => {
                tracing::debug!(store = store.kind(), %error, "the history could not be read");
                Err(error.into())
            }
            Err(_) => Err(Problem::StoreUnavailable),
        }
    }

    /// Renders an answer of the store. Its bytes count towards the memory bound like those of all
    /// answers.
    async fn respond_from_store(
        &self,
        rendered: Rendered,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
        request: &Parts,
        context: &Context,
    ) -> Result<Response<Body>, Problem> {
        let answered = Instant::now();
        let coding = rendered.coding;
        let deadline = context.started + self.budget.saturating_sub(SEND_MARGIN);
        let render = move || compress(Bytes::from(render()), coding);
        let answer = self.cache.render_uncached(deadline, render).await?;
        let bytes = self.cache.response_bytes(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(rendered.content_type));
        if let Some(coding) = coding.as_str() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.insert(header::ETAG, answer.etag().clone());
        headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
        headers.insert(header::VARY, HeaderValue::from_static(rendered.vary));
        if let Some(link) = rendered.link {
            let link = HeaderValue::try_from(link).expect("a URI makes a header value");
            headers.insert(header::LINK, link);
        }
        let since_start = |at: Instant| at.saturating_duration_since(context.started);
        headers.insert(
            SERVER_TIMING,
            server_timing(since_start(answered), since_start(Instant::now())),
        );
        Ok(conditions::apply(response, request, context))
    }
}
