//! `/` and `/employees/{employee_id}`: pages for people, whole without JavaScript.

mod asset;
mod employee;
mod links;
mod overview;
mod shown;
mod standing;
mod timeline;

use std::sync::Arc;

use askama::Template;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

pub(super) use overview::Overviews;

use self::standing::Standing;
use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::freshness::FreshnessHeaders;
use super::incidents::RequestPreferences;
use super::negotiate;
use super::problem::Problem;
use super::query::Keys;
use crate::render::Filter;
use crate::render::compress::{Coding, compress};
use crate::snapshot::Snapshot;

/// Nothing but the page's own style, script, icon and stream; no frame, no base, forms only to
/// here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The text fields of the page's form, left empty.
const LEFT_EMPTY: [&str; 3] = ["employee_id=", "since=", "until="];

/// The furthest page that can be asked for.
const LAST_PAGE: usize = 1_000_000;

/// What every page has in its frame.
struct Frame {
    title: String,
    standing: Standing,
    /// Seconds after which the page asks for itself again; for pages that wait for data.
    retry: Option<u64>,
}

impl Frame {
    fn new(title: impl Into<String>, snapshot: &Snapshot) -> Self {
        Self { title: title.into(), standing: Standing::of(snapshot, Instant::now()), retry: None }
    }

    fn css() -> String {
        asset::CSS.url()
    }

    fn js() -> String {
        asset::JS.url()
    }

    fn icon() -> String {
        asset::ICON.url()
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    problem: &'a Problem,
    request_id: &'a str,
}

/// What a page is asked for.
struct PageQuery {
    asked: RequestPreferences,
    filter: Filter,
    /// From 0.
    page: usize,
}

impl Gateway {
    /// `GET /`
    pub(super) async fn overview_page(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let PageQuery { asked, filter, page } = self.read_page(request, Keys::All)?;
            let selected = self.select_snapshot(&asked, context).await?;
            let overview = self.overviews.get(&selected.snapshot.view, &filter);
            let overview = match timeout_at(context.started + self.budget, overview).await {
                Ok(Some(overview)) => overview,
                Ok(None) => return Err(Problem::Internal),
                Err(_) => return Err(Problem::Overloaded),
            };
            let template = overview::Page::new(&selected.snapshot, &overview, &filter, page);
            Ok(html(&template, &selected.snapshot, &request.headers))
        };
        self.into_page_response(answer.await, request, context)
    }

    /// `GET /employees/{employee_id}`
    pub(super) async fn employee_page(
        &self,
        id: &str,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let answer = async {
            let PageQuery { asked, filter, page } = self.read_page(request, Keys::OfEmployee)?;
            let selected = self.select_snapshot(&asked, context).await?;
            let rank = selected.snapshot.view.joined().rank(id).ok_or(Problem::UnknownEmployee)?;
            let (snapshot, headers) = (Arc::clone(&selected.snapshot), request.headers.clone());
            // One employee may have most of the incidents, and sorting those takes its time.
            let made = tokio::task::spawn_blocking(move || {
                let template = employee::Page::new(
                    &snapshot,
                    snapshot.view.joined().employee_at(rank),
                    &filter,
                    page,
                );
                html(&template, &snapshot, &headers)
            });
            match timeout_at(context.started + self.budget, made).await {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(_)) => Err(Problem::Internal),
                Err(_) => Err(Problem::Overloaded),
            }
        };
        self.into_page_response(answer.await, request, context)
    }

    /// `GET /assets/{name}`
    pub(super) fn asset(name: &str, request: &Parts, context: &Context) -> Response<Body> {
        asset::find(name).map_or_else(
            || Problem::NotFound.response(context.id(), &[]),
            |asset| asset.response(request, context),
        )
    }

    /// The page's own key, and the rest as for `/incidents`. A form sends its text fields even when
    /// they were left empty.
    fn read_page(&self, request: &Parts, keys: Keys) -> Result<PageQuery, Problem> {
        let pairs = request.uri.query().unwrap_or_default().split('&');
        let (pages, rest): (Vec<&str>, Vec<&str>) = pairs
            .filter(|pair| !LEFT_EMPTY.contains(pair))
            .partition(|pair| pair.split('=').next() == Some("page"));
        let page = match pages[..] {
            [] => 1,
            [page] => page
                .strip_prefix("page=")
                .and_then(|page| page.parse().ok())
                .filter(|page| (1..=LAST_PAGE).contains(page))
                .ok_or_else(|| {
                    Problem::InvalidQuery(format!("`page` takes a number from 1 to {LAST_PAGE}"))
                })?,
            _ => return Err(Problem::InvalidQuery("`page` is given more than once".to_owned())),
        };
        let (query, asked) = self.read_query(Some(&rest.join("&")), &request.headers, keys)?;
        Ok(PageQuery { asked, filter: query.filter, page: page - 1 })
    }

    /// The page, or the problem: as a page too, for those who take one.
    fn into_page_response(
        &self,
        answer: Result<Response<Body>, Problem>,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let problem = match answer {
            Ok(page) => return page,
            Err(problem) => problem,
        };
        let mut response = self.into_response(Err(problem.clone()), request, context);
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"));
        if !negotiate::accepts_html(&request.headers) {
            return response;
        }
        let mut frame = Frame::new(problem.title(), &self.snapshot());
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            frame.retry = Some(2);
        }
        let page = ProblemPage { frame, problem: &problem, request_id: context.id() };
        let (mut parts, _) = response.into_parts();
        let Ok(text) = page.render() else { return Problem::Internal.response(context.id(), &[]) };
        guard(&mut parts.headers);
        Response::from_parts(parts, Body::full(text))
    }
}

/// A rendered page with all that belongs to it.
fn html(page: &impl Template, snapshot: &Snapshot, request: &HeaderMap) -> Response<Body> {
    let text = page.render().expect("writing to a string does not fail");
    let coding = negotiate::coding(request).unwrap_or(Coding::Identity);
    let mut response = Response::new(Body::full(compress(text.into(), coding)));
    let headers = response.headers_mut();
    if let Some(coding) = coding.as_str() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding, Prefer"));
    FreshnessHeaders::new(snapshot, Instant::now()).insert_state(headers);
    guard(headers);
    response
}

/// The headers by which a browser refuses what no page of ours does.
fn guard(headers: &mut HeaderMap) {
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
