//! Conditional requests (RFC 9110, section 13), against the entity tag that a response has.
//!
//! No resource here has a modification date, so that `If-Modified-Since` and `If-Unmodified-Since`
//! are ignored, as sections 13.1.3 and 13.1.4 demand.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Response, StatusCode};

use super::body::Body;
use super::context::Context;
use super::problem::Problem;

/// The result of evaluating a request's conditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Send,
    NotModified,
    PreconditionFailed,
}

/// Evaluates the conditions in the order of section 13.2.2.
fn evaluate(request: &HeaderMap, etag: &[u8]) -> Outcome {
    if request.contains_key(header::IF_MATCH)
        && !any_tag(request, header::IF_MATCH, |tag| is_strong_match(tag, etag))
    {
        Outcome::PreconditionFailed
    } else if request.contains_key(header::IF_NONE_MATCH)
        && any_tag(request, header::IF_NONE_MATCH, |tag| is_weak_match(tag, etag))
    {
        Outcome::NotModified
    } else {
        Outcome::Send
    }
}

/// Whether the field is `*` or contains an entity tag that matches. Malformed tags match nothing.
fn any_tag(headers: &HeaderMap, name: HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    headers.get_all(name).iter().any(|line| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || entity_tags(line).any(&matches)
    })
}

/// The entity tags of a comma-separated list. A tag may itself contain commas.
fn entity_tags(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let open = rest.iter().position(|byte| *byte == b'"')?;
            let length = rest[open + 1..].iter().position(|byte| *byte == b'"')?;
            let end = open + 1 + length + 1;
            let begin = if rest[..open].ends_with(b"W/") { open - 2 } else { open };
            let (before, tag) = (&rest[..begin], &rest[begin..end]);
            rest = &rest[end..];
            if before.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t')) {
                return Some(tag);
            }
        }
    })
}

fn is_strong_match(tag: &[u8], etag: &[u8]) -> bool {
    tag == etag && !tag.starts_with(b"W/")
}

fn is_weak_match(tag: &[u8], etag: &[u8]) -> bool {
    opaque_tag(tag) == opaque_tag(etag)
}

/// The tag without its weakness indicator.
fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Replaces the response by 304 or 412 if the request's conditions say so. They apply only to
/// successful responses with an entity tag (section 13.2.1).
pub(super) fn apply(
    mut response: Response<Body>,
    request: &Parts,
    context: &Context,
) -> Response<Body> {
    if response.status() != StatusCode::OK {
        return response;
    }
    let Some(etag) = response.headers().get(header::ETAG) else { return response };
    match evaluate(&request.headers, etag.as_bytes()) {
        Outcome::Send => response,
        Outcome::PreconditionFailed => Problem::PreconditionFailed.response(context.id(), &[]),
        Outcome::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().remove(header::CONTENT_ENCODING);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn outcome(lines: &[(&'static str, &'static str)]) -> Outcome {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        evaluate(&headers, b"\"abc\"")
    }

    #[test]
    fn if_match_compares_strongly() {
        for (value, expected) in [
            ("\"abc\"", Outcome::Send),
            ("*", Outcome::Send),
            ("\"x\", \"abc\"", Outcome::Send),
            ("\"x,\",\t\"abc\"", Outcome::Send),
            ("W/\"abc\"", Outcome::PreconditionFailed),
            ("\"ABC\"", Outcome::PreconditionFailed),
            ("\"x\"", Outcome::PreconditionFailed),
            ("abc", Outcome::PreconditionFailed),
            ("", Outcome::PreconditionFailed),
        ] {
            assert_eq!(outcome(&[("if-match", value)]), expected, "{value}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for (value, expected) in [
            ("\"abc\"", Outcome::NotModified),
            ("W/\"abc\"", Outcome::NotModified),
            ("*", Outcome::NotModified),
            (" \"x\" , W/\"y\" ,\"abc\"", Outcome::NotModified),
            ("\"a\", x\"abc\"", Outcome::Send),
            ("\"ab\"", Outcome::Send),
            ("abc", Outcome::Send),
            ("\"abc", Outcome::Send),
        ] {
            assert_eq!(outcome(&[("if-none-match", value)]), expected, "{value}");
        }
        let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")];
        assert_eq!(outcome(&lines), Outcome::NotModified);
    }

    #[test]
    fn conditions_are_evaluated_in_their_order() {
        let failed = [("if-none-match", "\"abc\""), ("if-match", "\"x\"")];
        assert_eq!(outcome(&failed), Outcome::PreconditionFailed);
        let known = [("if-none-match", "\"abc\""), ("if-match", "\"abc\"")];
        assert_eq!(outcome(&known), Outcome::NotModified);
    }

    #[test]
    fn dates_are_ignored() {
        let date = "Sat, 01 Jan 2000 00:00:00 GMT";
        assert_eq!(outcome(&[("if-unmodified-since", date)]), Outcome::Send);
        assert_eq!(
            outcome(&[("if-modified-since", "Sat, 01 Jan 2050 00:00:00 GMT")]),
            Outcome::Send
        );
        let lines = [("if-none-match", "\"x\""), ("if-modified-since", date)];
        assert_eq!(outcome(&lines), Outcome::Send);
    }
}
