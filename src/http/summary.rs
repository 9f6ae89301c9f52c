//! `/summary`: how many incidents there are, of what kind, when, and whose.

use std::sync::Arc;

use http::Response;
use http::request::Parts;

use super::Gateway;
use super::body::Body;
use super::context::Context;
use super::incidents::RenderRequest;
use super::query::Keys;
use crate::cache::{Format, Question};
use crate::render;

impl Gateway {
    /// `GET /summary`
    pub(super) async fn summary(&self, request: &Parts, context: &Context) -> Response<Body> {
        let answer = async {
            let (query, preferences) = self.read(request, Keys::All)?;
            let selected = self.select_snapshot(&preferences, context).await?;
            let view = Arc::clone(&selected.snapshot.view);
            let render_request = RenderRequest {
                question: Question::Filtered(format!("/summary {:?}", query.filter).into()),
                content_type: Format::Json.content_type(),
                vary: "Accept-Encoding, Prefer",
                is_small: query.filter.is_small(&view),
                render: move || render::summary(&view, &query.filter),
            };
            self.reply(render_request, selected, &preferences, request, context).await
        };
        self.into_response(answer.await, request, context)
    }
}
