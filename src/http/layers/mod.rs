//! The concerns that all routes share, each a tower layer around [routing](super::service), from
//! the outermost to the innermost:
//!
//! | layer | purpose |
//! |---|---|
//! | [`ContextLayer`] | gives the request its id, trace, route and span |
//! | [`RequestLogLayer`] | logs and counts the response |
//! | [`CatchPanicLayer`] | answers a panic with 500 |
//! | [`HostLayer`] | refuses an invalid `Host` |
//! | [`AccessLayer`] | finds out who the caller is and what they may see, or refuses the request |
//! | [`LimitsLayer`] | refuses requests beyond the limits |
//!
//! All services here are always ready: excess requests are refused with a response instead of
//! backpressure, so that callers are told.

mod access;
mod catch_panic;
mod context;
mod host;
mod limits;
mod request_log;

pub(super) use access::AccessLayer;
pub(super) use catch_panic::CatchPanicLayer;
pub(super) use context::ContextLayer;
pub(super) use host::HostLayer;
pub(super) use limits::LimitsLayer;
pub(super) use request_log::RequestLogLayer;

#[cfg(test)]
mod testing {
    //! Requests as they reach a layer below [`ContextLayer`](super::ContextLayer).

    use std::sync::Arc;

    use http::Request;

    use crate::http::context::Context;
    use crate::http::routes::Route;

    pub(super) fn get(path: &str) -> Request<()> {
        let mut request = Request::get(path).header("host", "test").body(()).unwrap();
        set_context(&mut request);
        request
    }

    pub(super) fn set_context(request: &mut Request<()>) {
        let route = Route::public(request.uri().path());
        let context = Context::new(request.headers(), route);
        request.extensions_mut().insert(Arc::new(context));
    }
}
