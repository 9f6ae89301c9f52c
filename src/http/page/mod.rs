//! `/` and `/employees/{employee_id}`: the web pages. They work without JavaScript, and never wait
//! for data: before there is any, a page says so and reloads itself.

mod asset;
mod display;
mod employee;
mod envelope;
mod freshness_summary;
mod history;
mod layout;
mod links;
mod overview;
mod query;
mod response;
mod timeline;

use std::sync::Arc;

use askama::Template;
use http::Response;
use http::request::Parts;

use self::history::EmployeeHistory;
use self::layout::Layout;
use self::links::Root;
use self::query::{PageQuery, split_employee};
use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::problem::Problem;
use super::query::AllowedKeys;
use crate::join::Employee;

#[derive(Template)]
#[template(path = "waiting.html")]
struct WaitingPage {
    layout: Layout,
    /// The employee, on an employee's page.
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
            let PageQuery { preferences, query, page } =
                self.parse_page_query(query, &request.headers, AllowedKeys::All, context)?;
            let visibility = context.visibility()?;
            let snapshot = self.current_snapshot(&preferences)?.snapshot;
            let filter = query.filter_for(&snapshot.view).into_owned();
            let template = {
                let snapshot = Arc::clone(&snapshot);
                move || overview::Page::new(&snapshot, &filter, page, &visibility)
            };
            self.render_page(template, &snapshot, request, context).await
        };
        answer.await.unwrap_or_else(|problem| {
            self.page_without_content(&problem, Root::SAME, None, request, context)
        })
    }

    /// `GET /employees/{employee_id}`, and `GET /employees/?employee_id=` for ids that cannot be a
    /// path segment.
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
            let keys = AllowedKeys::AllButEmployee(&id);
            let PageQuery { preferences, query, page } =
                self.parse_page_query(&query, &request.headers, keys, context)?;
            let visibility = context.visibility()?;
            let snapshot = self.current_snapshot(&preferences)?.snapshot;
            let filter = query.filter_for(&snapshot.view).into_owned();
            let history = self.employee_history(&id, &query, &snapshot.view, context).await;
            let rank = snapshot.view.index().rank(&id);
            if rank.is_none() && !history.as_ref().is_some_and(EmployeeHistory::has_employee) {
                return Err(Problem::UnknownEmployee);
            }
            let template = {
                let (snapshot, id) = (Arc::clone(&snapshot), id.clone());
                move || {
                    let employee = match rank {
                        Some(rank) => snapshot.view.index().employee_at(rank),
                        None => Employee { id: &id, groups: [&[]; 4] },
                    };
                    let shown = employee::Shown { employee, filter: &filter, page, history };
                    employee::Page::new(&snapshot, shown, &visibility)
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
