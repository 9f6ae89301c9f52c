//! `/incidents`, `/incidents/{employee_id}` and `/unattributed`.

use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::negotiate;
use super::problem::Problem;
use super::query::AllowedKeys;
use super::rendered_response::RenderRequest;
use crate::cache::Resource;
use crate::render::{self, Document, Format};

impl Gateway {
    /// `GET /incidents`
    pub(super) async fn incidents(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (query, preferences) = self.parse_request(request, AllowedKeys::All, context)?;
            let format = negotiate::format(&request.headers).ok_or(Problem::NotAcceptable)?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            if query.filter.is_empty() {
                self.cache.record_demand(&Resource::Document(Document::Incidents(format)), coding);
            }
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let filter = query.filter_for(&view).normalized(&view);
            let resource = if filter.is_empty() {
                Resource::Document(Document::Incidents(format))
            } else {
                Resource::Filtered(format!("/incidents {format:?} {filter:?}").into())
            };
            let render_request = RenderRequest {
                resource,
                content_type: format.content_type(),
                vary: "Accept, Accept-Encoding, Prefer",
                coding,
                is_small: filter.is_small(&view),
                render: move || format.render(&view, &filter),
            };
            self.respond_rendered(render_request, selected, &preferences, request, context).await
        };
        self.response_or_problem(answer.await, request, context)
    }

    /// `GET /incidents/{employee_id}`
    pub(super) async fn employee(
        &self,
        id: &str,
        request: &Parts,
        context: &Context,
    ) -> Response<Body> {
        let answer = async {
            let (query, preferences) =
                self.parse_request(request, AllowedKeys::AllButEmployee(id), context)?;
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let rank = view.index().rank(id).ok_or(Problem::UnknownEmployee)?;
            let employee = view.index().employee_at(rank);
            let filter = query.filter_for(&view).normalized(&view);
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            let render_request = RenderRequest {
                resource: Resource::Filtered(format!("/incidents/{id:?} {filter:?}").into()),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                coding,
                is_small: render::is_small(&view, [employee].into_iter()),
                render: move || render::employee(&view, &view.index().employee_at(rank), &filter),
            };
            self.respond_rendered(render_request, selected, &preferences, request, context).await
        };
        self.response_or_problem(answer.await, request, context)
    }

    /// `GET /unattributed`
    pub(super) async fn unattributed(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (_, preferences) =
                self.parse_request(request, AllowedKeys::CompleteOnly, context)?;
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            self.cache.record_demand(&Resource::Document(Document::Unattributed), coding);
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let render_request = RenderRequest {
                resource: Resource::Document(Document::Unattributed),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                coding,
                is_small: false,
                render: move || render::unattributed(&view),
            };
            self.respond_rendered(render_request, selected, &preferences, request, context).await
        };
        self.response_or_problem(answer.await, request, context)
    }
}
