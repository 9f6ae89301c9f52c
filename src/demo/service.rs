//! The request handler of the demo upstream.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headers::authorization::{Authorization, Basic};
use headers::{HeaderMap, HeaderMapExt as _};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER,
    VARY, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::body::{self, Body};
use super::contention::Contention;
use super::data::Bodies;
use super::fault::{Fault, Garbage};
use super::list_query::ListQuery;
use super::{Endpoint, Options};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"demo upstream\", charset=\"UTF-8\"");

/// The state of the demo upstream.
pub(super) struct Service {
    options: Options,
    /// The time on tokio's clock at [`Options::started_at`].
    start: Instant,
    bodies: Bodies,
    /// The bodies in gzip, by [`Endpoint::index`]. `None` if [`Options::gzip`] is off or the body
    /// is not the same for every request.
    gzip: Vec<Option<Bytes>>,
    /// The body of [`Fault::Bomb`]; empty if no endpoint has that fault.
    bomb: Bytes,
    contention: Contention,
    rng: Mutex<fastrand::Rng>,
    /// By [`Endpoint::index`]: whether the next call succeeds under [`Fault::Flap`].
    succeeds_next: [AtomicBool; Endpoint::ALL.len()],
}

/// A request that is answered.
struct Call {
    endpoint: Endpoint,
    query: ListQuery,
    accepts_gzip: bool,
}

/// A body in the content coding in which it is sent.
struct Payload {
    bytes: Bytes,
    encoding: Option<HeaderValue>,
}

impl Service {
    /// Loads the data, which can take a while.
    pub(super) fn new(options: Options) -> io::Result<Self> {
        options.check()?;
        let bodies = options.data.load(options.started_at)?;
        let gzip = Endpoint::ALL.into_iter().map(|endpoint| {
            let body = bodies.fixed(endpoint).filter(|_| options.gzip);
            body.map(|bytes| body::gzip(bytes))
        });
        let gzip = gzip.collect();
        let bomb = if options.faults.values().any(|fault| *fault == Fault::Bomb) {
            body::bomb()
        } else {
            Bytes::new()
        };
        let contention = Contention::new(options.contention);
        let rng = Mutex::new(fastrand::Rng::with_seed(options.seed));
        let start = Instant::now();
        let succeeds_next = Default::default();
        Ok(Self { options, start, bodies, gzip, bomb, contention, rng, succeeds_next })
    }

    /// Handles one request. Dropping the future, as the server does when the client disconnects,
    /// ends the call.
    pub(super) async fn answer(&self, request: request::Parts) -> Response<Body> {
        let found = Endpoint::at(request.uri.path());
        let Some(endpoint) = found.filter(|endpoint| self.bodies.has(*endpoint)) else {
            return text(StatusCode::NOT_FOUND, "the demo upstream has no such path\n");
        };
        if request.method != Method::GET {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported\n");
            return with(answer, ALLOW, HeaderValue::from_static("GET"));
        }
        if !self.is_authorized(&request.headers) {
            return unauthorized();
        }
        let query = match ListQuery::parse(request.uri.query().unwrap_or_default()) {
            Ok(query) => query,
            Err(_) if endpoint.is_plain() => ListQuery::default(),
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let (latency, fails) = self.draw();
        self.contention.work(latency).await;
        let call = Call { endpoint, query, accepts_gzip: accepts_gzip(&request.headers) };
        let answer = match self.options.faults.get(&endpoint) {
            _ if fails => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "a random failure, as requested\n")
            }
            Some(fault) => self.faulty(&call, fault).await,
            None => self.ok(&call),
        };
        tracing::debug!(
            source = endpoint.name(),
            status = answer.status().as_u16(),
            "demo upstream answers"
        );
        answer
    }

    /// Completes once exactly this many calls are in flight.
    #[cfg(test)]
    pub(super) async fn wait_for_in_flight(&self, count: u32) {
        self.contention.wait_for_in_flight(count).await;
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        headers.typed_get::<Authorization<Basic>>().is_some_and(|given| {
            given.username() == self.options.username
                && given.password() == self.options.password.expose_secret()
        })
    }

    /// Draws a call's latency without contention, and whether the call fails.
    fn draw(&self) -> (Duration, bool) {
        // Nothing panics while holding the lock.
        let mut rng = self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let factor = 1.0 + self.options.jitter * (2.0 * rng.f64() - 1.0);
        (self.options.latency.mul_f64(factor), rng.f64() < self.options.fail)
    }

    fn payload(&self, call: &Call) -> Payload {
        if !self.options.gzip || !call.accepts_gzip {
            return Payload::plain(self.body(call));
        }
        let bytes = self.gzip[call.endpoint.index()]
            .as_ref()
            .map_or_else(|| body::gzip(&self.body(call)), Bytes::clone);
        Payload { bytes, encoding: Some(GZIP) }
    }

    fn body(&self, call: &Call) -> Bytes {
        self.bodies.get(call.endpoint, &call.query, self.now())
    }

    fn now(&self) -> SystemTime {
        self.options.started_at + self.start.elapsed()
    }

    fn ok(&self, call: &Call) -> Response<Body> {
        self.payload(call).answer(body::whole)
    }

    async fn faulty(&self, call: &Call, fault: &Fault) -> Response<Body> {
        match fault {
            Fault::Hang => std::future::pending().await,
            Fault::Stall => self.payload(call).answer(|bytes| body::stalled(&bytes)),
            Fault::CutOff => self.payload(call).answer(|bytes| body::cut_off(&bytes)),
            Fault::Drip(per_second) => {
                self.payload(call).answer(|bytes| body::dripping(bytes, *per_second))
            }
            Fault::Status(status) => self.status(*status),
            Fault::Garbage(garbage) => self.garbage(call, *garbage),
            Fault::Redirect(to) => {
                with(text(StatusCode::FOUND, "a redirect, as requested\n"), LOCATION, to.clone())
            }
            Fault::Empty => Payload::plain(Bytes::new()).answer(body::whole),
            Fault::Endless => with(Response::new(body::endless()), CONTENT_TYPE, JSON),
            Fault::Bomb => {
                Payload { bytes: self.bomb.clone(), encoding: Some(GZIP) }.answer(body::whole)
            }
            Fault::Flap => {
                if self.succeeds_next[call.endpoint.index()].fetch_not(Ordering::Relaxed) {
                    self.ok(call)
                } else {
                    text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "every second call fails, as requested\n",
                    )
                }
            }
        }
    }

    fn status(&self, status: StatusCode) -> Response<Body> {
        if status == StatusCode::UNAUTHORIZED {
            return unauthorized();
        }
        let answer = match status {
            // These have no body (RFC 9110, 15.3.5 and 15.4.5).
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
                let mut answer = Response::new(body::whole(Bytes::new()));
                *answer.status_mut() = status;
                answer
            }
            _ => text(status, "this status, as requested\n"),
        };
        match self.options.retry_after {
            Some(seconds)
                if matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                ) =>
            {
                with(answer, RETRY_AFTER, seconds.into())
            }
            _ => answer,
        }
    }

    fn garbage(&self, call: &Call, garbage: Garbage) -> Response<Body> {
        let bytes = match garbage {
            Garbage::Html => {
                let page = Bytes::from_static(
                    b"<!doctype html>\n<title>Sign in</title>\n<p>Please sign in to go on.\n",
                );
                return with(Response::new(body::whole(page)), CONTENT_TYPE, HTML);
            }
            Garbage::Json => {
                let plain = self.body(call);
                plain.slice(..plain.len() / 2)
            }
            Garbage::Shape => {
                Bytes::from_static(b"[\"neither a table\",\"nor a list of results\"]")
            }
            // Valid for either kind of endpoint except for the two bytes.
            Garbage::Utf8 => Bytes::from_static(b"{\"results\":[],\"note\":\"\xff\xfe\"}"),
            Garbage::Deep => {
                ["{\"results\":", &"[".repeat(10_000), &"]".repeat(10_000), "}"].concat().into()
            }
        };
        Payload::plain(bytes).answer(body::whole)
    }
}

impl Payload {
    const fn plain(bytes: Bytes) -> Self {
        Self { bytes, encoding: None }
    }

    /// A 200 response with the length of the whole payload and the body that `body` makes from it.
    fn answer(self, body: impl FnOnce(Bytes) -> Body) -> Response<Body> {
        let length = self.bytes.len();
        let mut answer = Response::new(body(self.bytes));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = self.encoding {
            headers.insert(CONTENT_ENCODING, encoding);
        }
        answer
    }
}

/// Whether gzip is among the codings with a weight other than 0 (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values =
        headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0) > 0.0
    })
}

fn unauthorized() -> Response<Body> {
    with(text(StatusCode::UNAUTHORIZED, "wrong user or password\n"), WWW_AUTHENTICATE, CHALLENGE)
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(body::whole(text.into()));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, TEXT)
}

fn with(mut answer: Response<Body>, name: HeaderName, value: HeaderValue) -> Response<Body> {
    answer.headers_mut().insert(name, value);
    answer
}

#[cfg(test)]
mod tests;
