//! The upstream stage with one source, over real sockets.

use std::time::Duration;

use incident_gateway::config::Secret;
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::metrics::{self, Registry};
use incident_gateway::request::Request;
use incident_gateway::upstream::{
    CallContext, UnverifiedAnswer, Upstream, UpstreamError, UpstreamMetrics,
};

use super::scripted_upstream::ScriptedUpstream;

pub const PATH: &str = "/incidents/denial/";
pub const SECRET: &str = "hunter2:with:colons";
/// The user and the secret as they are sent: `reader:hunter2:with:colons` in base64.
pub const SECRET_ENCODED: &str = "cmVhZGVyOmh1bnRlcjI6d2l0aDpjb2xvbnM=";
pub const GOOD: &str = r#"{"results":[{"priority":"low","reported_by":1,"timestamp":1.5}]}"#;

pub fn settings(base_url: &str) -> config::Upstream {
    config::Upstream {
        base_url: base_url.parse().unwrap(),
        username: Some("reader".to_owned()),
        password: Some(Secret::from(SECRET)),
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        concurrency: Concurrency::Fixed(8),
        retries: 0,
        max_body: 64 << 10,
        ..Config::default().upstream
    }
}

pub struct OneSource {
    pub upstream: Upstream,
    pub registry: Registry,
}

impl OneSource {
    pub fn new(settings: &config::Upstream) -> Self {
        Self::of("default", settings)
    }

    /// The source of the upstream with this name.
    pub fn of(name: &str, settings: &config::Upstream) -> Self {
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        let upstream = Upstream::new(name, settings, &["denial".into()], &metrics, 1).unwrap();
        Self { upstream, registry }
    }

    pub async fn fetch(&self) -> Result<Vec<u8>, UpstreamError> {
        let fetched = self.call(CallContext::default()).await?;
        Ok(fetched.accept().to_vec())
    }

    /// Fetches the source, and leaves it to the test to accept the answer.
    pub async fn call(&self, context: CallContext) -> Result<UnverifiedAnswer, UpstreamError> {
        self.send(get(&self.upstream, PATH), context).await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        request: Request,
        context: CallContext,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        self.upstream.fetch(0, request, context).await
    }
}

/// A GET request for a path below the base URL.
pub fn get(upstream: &Upstream, path: &str) -> Request {
    let base = upstream.base_url().as_str().trim_end_matches('/');
    Request::get(format!("{base}{path}").parse().unwrap())
}

pub async fn one_source() -> (ScriptedUpstream, OneSource) {
    let server = ScriptedUpstream::start().await;
    let source = OneSource::new(&settings(&server.base_url()));
    (server, source)
}
