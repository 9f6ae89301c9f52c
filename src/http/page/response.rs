//! Builds the responses of pages.

use std::sync::Arc;

use askama::Template;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::display::employee_id;
use super::links::Root;
use super::{Layout, ProblemPage, WaitingPage};
use crate::http::Gateway;
use crate::http::body::Body;
use crate::http::conditions;
use crate::http::context::Context;
use crate::http::freshness::FreshnessHeaders;
use crate::http::negotiate;
use crate::http::problem::Problem;
use crate::http::rendered_response::connection;
use crate::http::snapshot_selection::SEND_MARGIN;
use crate::render::compress::{Coding, compress};
use crate::snapshot::{Completeness, Snapshot};

/// A page may use its own style, script, icon and event stream, and nothing else. Nobody may frame
/// it, and its forms lead to itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, Prefer");

impl Gateway {
    /// Renders a page of a snapshot. The template is built on the rendering thread too, because
    /// that can take long: one employee may have most of the incidents.
    pub(super) async fn render_page<T: Template>(
        &self,
        template: impl FnOnce() -> T + Send + 'static,
        snapshot: &Arc<Snapshot>,
        request: &Parts,
        context: &Context,
    ) -> Result<Response<Body>, Problem> {
        let visibility = context.visibility()?;
        let coding = negotiate::coding(&request.headers).unwrap_or(Coding::Identity);
        let render = move || {
            let text = template().render().expect("writing to a string does not fail");
            compress(text.into(), coding)
        };
        let deadline = context.started + self.budget.saturating_sub(SEND_MARGIN);
        let answer = self.cache.render_uncached(deadline, render).await?;
        let bytes = self.cache.response_bytes(&answer, connection(request));
        let mut response = Response::new(Body::full(bytes));
        let headers = response.headers_mut();
        if let Some(coding) = coding.as_str() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.insert(header::ETAG, answer.etag().clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, VARY);
        FreshnessHeaders::new(snapshot, Instant::now(), &visibility).insert_state(headers);
        insert_page_headers(headers);
        Ok(conditions::apply(response, request, context))
    }

    /// The response if there is a problem.
    ///
    /// Before there is data, callers that accept HTML get a page that says so and reloads itself.
    /// Its status is 200, because proxies may replace the body of a 503 with their own; it is
    /// `no-store`, and `/readyz` is the place to ask whether there is data. Any other problem is an
    /// HTML page for browsers, and problem details for other callers.
    pub(super) fn page_without_content(
        &self,
        problem: &Problem,
        root: Root,
        employee: Option<&str>,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let mut response = self.response_or_problem(Err(problem.clone()), request, context);
        response.headers_mut().insert(header::VARY, VARY);
        // A page shows the state of the sources.
        let Ok(visibility) = context.visibility() else { return response };
        let snapshot = self.snapshot();
        let is_waiting = match problem {
            Problem::NoData { .. } => true,
            // The missing sources may have incidents of the employee.
            Problem::UnknownEmployee => {
                snapshot.completeness(Instant::now()) == Completeness::Partial
            }
            _ => false,
        };
        let wants_page = if is_waiting {
            negotiate::allows_html(&request.headers)
        } else {
            negotiate::accepts_html(&request.headers)
        };
        if !wants_page {
            return response;
        }
        let text = if is_waiting {
            let layout = Layout::waiting("Waiting for data", root, &snapshot, &visibility);
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(header::RETRY_AFTER);
            let employee = employee.map(|id| employee_id(id, 120));
            WaitingPage { layout, employee }.render()
        } else {
            let layout = if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                Layout::waiting(problem.title(), root, &snapshot, &visibility)
            } else {
                let layout = Layout::new(problem.title(), root, &snapshot, &visibility);
                Layout { reload_seconds: None, ..layout }
            };
            ProblemPage { layout, problem, request_id: context.id() }.render()
        };
        *response.body_mut() = Body::full(text.expect("writing to a string does not fail"));
        insert_page_headers(response.headers_mut());
        response
    }
}

/// Inserts the content type and the security headers.
fn insert_page_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
