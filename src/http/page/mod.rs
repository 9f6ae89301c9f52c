//! `/` and `/employees/{employee_id}`: pages for people. They are complete without JavaScript, and
//! never wait for data: before there is any, a page says so and loads itself again.

mod asset;
mod display;
mod employee;
mod freshness_summary;
mod links;
mod overview;
mod query;
mod response;
mod timeline;

use std::sync::Arc;

use askama::Template;
use http::Response;
use http::request::Parts;
use tokio::time::Instant;

use self::freshness_summary::FreshnessSummary;
use self::links::Root;
use self::query::{PageQuery, split_employee};
use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::freshness;
use super::problem::Problem;
use super::query::Keys;
use crate::snapshot::{Completeness, Snapshot};

/// The bounds of the time after which a page without all data loads itself again. Between them it
/// is the time of the next attempt at a missing source, so that pages back off as the gateway does.
const MIN_RELOAD_SECONDS: u64 = 2;
const MAX_RELOAD_SECONDS: u64 = 30;

/// What every page has around its content.
struct Layout {
    title: String,
    root: Root,
    freshness: FreshnessSummary,
    /// After how many seconds the page loads itself again, while it lacks data.
    reload_seconds: Option<u64>,
    /// Whether there is nothing on the page yet, so that a script has nothing to update.
    is_waiting: bool,
}

impl Layout {
    fn new(title: impl Into<String>, root: Root, snapshot: &Snapshot) -> Self {
        let now = Instant::now();
        let is_partial = snapshot.completeness(now) == Completeness::Partial;
        Self {
            title: title.into(),
            root,
            freshness: FreshnessSummary::new(snapshot, now),
            reload_seconds: is_partial.then(|| reload_seconds(snapshot, now)),
            is_waiting: false,
        }
    }

    /// That of a page without content, which is replaced as soon as there is some.
    fn waiting(title: impl Into<String>, root: Root, snapshot: &Snapshot) -> Self {
        Self {
            reload_seconds: Some(reload_seconds(snapshot, Instant::now())),
            is_waiting: true,
            ..Self::new(title, root, snapshot)
        }
    }

    fn css(&self) -> String {
        asset::CSS.url(self.root)
    }

    fn js(&self) -> String {
        asset::JS.url(self.root)
    }

    fn icon(&self) -> String {
        asset::ICON.url(self.root)
    }
}

fn reload_seconds(snapshot: &Snapshot, now: Instant) -> u64 {
    let next_attempt = freshness::retry_after(snapshot, now).as_secs();
    next_attempt.clamp(MIN_RELOAD_SECONDS, MAX_RELOAD_SECONDS)
}

#[derive(Template)]
#[template(path = "waiting.html")]
struct WaitingPage {
    layout: Layout,
    /// The employee whose page it will be.
    employee: Option<String>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    layout: Layout,
    problem: &'a Problem,
    request_id: &'a str,
}

impl Gateway {
    /// `GET /`
    pub(super) async fn overview_page(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let query = request.uri.query().unwrap_or_default();
            let PageQuery { preferences, filter, page } =
                self.read_page_query(query, &request.headers, Keys::All)?;
            let snapshot = self.present_snapshot(&preferences)?.snapshot;
            let template = {
                let snapshot = Arc::clone(&snapshot);
                move || overview::Page::new(&snapshot, &filter, page)
            };
            self.render_page(template, &snapshot, request, context).await
        };
        answer.await.unwrap_or_else(|problem| {
            self.page_without_content(&problem, Root::SAME, None, request, context)
        })
    }

    /// `GET /employees/{employee_id}`, and `GET /employees/?employee_id=` for ids that cannot stand
    /// in a path.
    pub(super) async fn employee_page(
        &self,
        id: &str,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let query = request.uri.query().unwrap_or_default();
        let (id, query) = if id.is_empty() {
            match split_employee(query) {
                Ok(split) => split,
                Err(problem) => {
                    return self.page_without_content(
                        &problem,
                        Root::PARENT,
                        None,
                        request,
                        context,
                    );
                }
            }
        } else {
            (id.to_owned(), query.to_owned())
        };
        let answer = async {
            let PageQuery { preferences, filter, page } =
                self.read_page_query(&query, &request.headers, Keys::OfEmployee)?;
            let snapshot = self.present_snapshot(&preferences)?.snapshot;
            let rank = snapshot.view.index().rank(&id).ok_or(Problem::UnknownEmployee)?;
            let template = {
                let snapshot = Arc::clone(&snapshot);
                move || {
                    let employee = snapshot.view.index().employee_at(rank);
                    employee::Page::new(&snapshot, employee, &filter, page)
                }
            };
            self.render_page(template, &snapshot, request, context).await
        };
        answer.await.unwrap_or_else(|problem| {
            self.page_without_content(&problem, Root::PARENT, Some(&id), request, context)
        })
    }

    /// `GET /assets/{name}`
    pub(super) fn asset(name: &str, request: &Parts, context: &Context) -> Response<Body> {
        asset::find(name).map_or_else(
            || Problem::NotFound.response(context.id(), &[]),
            |asset| asset.response(request, context),
        )
    }
}
