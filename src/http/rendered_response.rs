//! Builds the response of a resource from a selected snapshot: the body, rendered or from the
//! cache, and its headers.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use tokio::time::Instant;

use super::Gateway;
use super::body::Body;
use super::conditions;
use super::connection::ConnectionHandle;
use super::context::Context;
use super::freshness::{self, CacheResult};
use super::problem::Problem;
use super::query::AllowedKeys;
use super::snapshot_selection::{
    RequestPreferences, SEND_MARGIN, SelectedSnapshot, is_worth_waiting,
};
use crate::cache::{Connection, Resource};
use crate::render::compress::Coding;

/// The capacity of a response's header map, so that it need not grow.
const HEADER_CAPACITY: usize = 24;

pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A resource to be rendered from a view.
pub(super) struct RenderRequest<R> {
    pub(super) resource: Resource,
    pub(super) content_type: &'static str,
    pub(super) vary: &'static str,
    pub(super) coding: Coding,
    /// Whether rendering takes less time than handing it to another thread.
    pub(super) is_small: bool,
    pub(super) render: R,
}

impl Gateway {
    /// The complete response: body and all headers, or 304 or 412 if the request's conditions say
    /// so.
    pub(super) async fn respond_rendered(
        &self,
        render_request: RenderRequest<impl FnOnce() -> Vec<u8> + Send + 'static>,
        selected: SelectedSnapshot,
        preferences: &RequestPreferences,
        request: &Parts,
        context: &Context,
    ) -> Result<Response<Body>, Problem> {
        let (mut response, now) = self.render(render_request, &selected, request, context).await?;
        let headers = response.headers_mut();
        preferences.prefer.insert_applied(headers);
        let since_start = |at: Instant| at.saturating_duration_since(context.started);
        headers.insert(SERVER_TIMING, server_timing(since_start(selected.at), since_start(now)));
        Ok(conditions::apply(response, request, context))
    }

    /// The response without the headers that differ between requests, and the time at which the
    /// body was ready. A whole document is for callers who may see everything.
    async fn render(
        &self,
        render_request: RenderRequest<impl FnOnce() -> Vec<u8> + Send + 'static>,
        selected: &SelectedSnapshot,
        request: &Parts,
        context: &Context,
    ) -> Result<(Response<Body>, Instant), Problem> {
        let RenderRequest { resource, content_type, vary, coding, is_small, render } =
            render_request;
        let visibility = context.visibility()?;
        if matches!(resource, Resource::Document(_)) {
            visibility.require_everything()?;
        }
        let view = &selected.snapshot.view;
        let deadline = context.started + self.budget.saturating_sub(SEND_MARGIN);
        let answer = if is_small {
            self.cache
                .get_or_render_inline(view, resource.clone(), coding, deadline, render)
                .await?
        } else {
            self.cache.get_or_render(view, resource.clone(), coding, deadline, render).await?
        };
        let now = Instant::now();
        let mut headers = HeaderMap::with_capacity(HEADER_CAPACITY);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(coding) = coding.as_str() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.insert(header::ETAG, answer.etag().clone());
        headers.insert(header::VARY, HeaderValue::from_static(vary));
        self.freshness_headers
            .get_or_compute(&selected.snapshot, now, &visibility)
            .insert_all(&mut headers, selected.result);
        // Only if later requests, which would get this response, would not wait for data.
        if matches!(selected.result, CacheResult::Hit | CacheResult::Stale)
            && !is_worth_waiting(&selected.snapshot, false)
        {
            self.response_cache.insert(&resource, coding, selected, now, &answer, &headers);
        }
        let bytes = self.cache.response_bytes(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        *response.headers_mut() = headers;
        Ok((response, now))
    }

    /// The response, or that of the problem. A problem caused by missing data lists the sources
    /// that are not fresh.
    pub(super) fn response_or_problem(
        &self,
        result: Result<Response<Body>, Problem>,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        result.unwrap_or_else(|problem| {
            let (snapshot, now) = (self.snapshot(), Instant::now());
            let is_about_data = matches!(
                problem,
                Problem::NoData { .. } | Problem::Incomplete { .. } | Problem::UnknownEmployee
            );
            let Some(visibility) = context.visibility().ok().filter(|_| is_about_data) else {
                return problem.response(context.id(), &[]);
            };
            let mut response =
                problem.response(context.id(), &freshness::problem_sources(&snapshot, now));
            let headers = response.headers_mut();
            self.freshness_headers
                .get_or_compute(&snapshot, now, &visibility)
                .insert_state(headers);
            headers
                .insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"));
            if let Ok((_, preferences)) = self.parse_request(request, AllowedKeys::All, context) {
                preferences.prefer.insert_applied(headers);
            }
            response
        })
    }
}

/// The value of `Server-Timing`: milliseconds with three decimals, written as integers because
/// formatting floats is slower.
pub(super) fn server_timing(waited: Duration, total: Duration) -> HeaderValue {
    let mut text = String::with_capacity(64);
    let rendered = total.saturating_sub(waited);
    for (name, duration) in
        [("wait;dur=", waited), (", render;dur=", rendered), (", total;dur=", total)]
    {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        text.push_str(name);
        text.push_str(itoa::Buffer::new().format(micros / 1000));
        text.push('.');
        // Adding 1000 and dropping the first digit keeps leading zeros.
        text.push_str(&itoa::Buffer::new().format(1000 + micros % 1000)[1..]);
    }
    HeaderValue::try_from(text).expect("words and numbers make a header value")
}

/// The connection of a request; `None` in tests that call the service directly.
pub(super) fn connection(request: &Parts) -> Option<Arc<dyn Connection>> {
    request.extensions.get::<ConnectionHandle>().cloned().map(Into::into)
}
