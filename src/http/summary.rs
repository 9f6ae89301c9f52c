//! `/summary`: incident counts by priority, source and employee, and their range of times.

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
use crate::render;
use crate::render::Format;

impl Gateway {
    /// `GET /summary`
    pub(super) async fn summary(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (query, preferences) = self.parse_request(request, AllowedKeys::All, context)?;
            // Unattributed records may be of anybody.
            let counts_unattributed = context.visibility()?.is_everything();
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let filter = query.filter_for(&view).normalized(&view);
            let coding = negotiate::coding(&request.headers).ok_or(Problem::NotAcceptable)?;
            let render_request = RenderRequest {
                resource: Resource::Filtered(
                    format!("/summary {counts_unattributed} {filter:?}").into(),
                ),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                coding,
                is_small: filter.is_small(&view),
                render: move || render::summary(&view, &filter, counts_unattributed),
            };
            self.respond_rendered(render_request, selected, &preferences, request, context).await
        };
        self.response_or_problem(answer.await, request, context)
    }
}
