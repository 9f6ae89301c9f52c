//! The routes without the access layer: they refuse by themselves what a caller may not see.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::*;
use crate::access::{Grant, Scope};
use crate::cache::Cache;
use crate::clock::{FetchTime, WallClock};
use crate::config::Config;
use crate::decode::{Incidents, SourceFields};
use crate::http::Phase;
use crate::join::join;
use crate::refresh::SourceSettings;
use crate::snapshot::{Snapshot, View};
use crate::upstream::{UpstreamMetrics, Upstreams};

/// A record of each of two employees, and one of nobody.
const BODY: &str = r#"{"results":[
    {"who":7,"priority":"low","timestamp":1,"note":"own"},
    {"who":8,"priority":"low","timestamp":2,"note":"foreign"},
    {"who":null,"priority":"low","timestamp":3,"note":"foreign"}]}"#;

struct TestGateway {
    gateway: Arc<Gateway>,
    _snapshots: watch::Sender<Arc<Snapshot>>,
    _phase: watch::Sender<Phase>,
}

impl TestGateway {
    fn new() -> Self {
        let config = Config::default();
        let names: Arc<[Arc<str>]> =
            config.sources.iter().map(|source| Arc::from(&*source.name)).collect();
        let fields = SourceFields::new(&["who".to_owned()]);
        let incidents = Incidents::decode(Bytes::from_static(BODY.as_bytes()), &fields).unwrap();
        let mut batches = vec![None; names.len()];
        batches[0] = Some(Arc::new(incidents));
        let index = join(&[], &batches);
        let view = Arc::new(View::new(1, names, batches.into(), index));
        let sources = SourceSettings::all(&config).map(|_, source| {
            let mut status = source.first_status();
            status.fetched_at = Some(FetchTime::now(&WallClock::system()));
            status.was_attempted = true;
            status
        });
        let snapshot = Snapshot { view, sources: Arc::new(sources), had_data: true };
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let mut registry = metrics::registry();
        let upstream_metrics = UpstreamMetrics::register(&mut registry);
        let upstreams = Arc::new(Upstreams::new(&config, &upstream_metrics, 1).unwrap());
        let (phase, phases) = watch::channel(Phase::Serving);
        let cache = Arc::new(Cache::new(config.cache.max_bytes, 2));
        let gateway = Gateway::new(&config, receiver, cache, registry, upstreams, phases, 7);
        Self { gateway: Arc::new(gateway), _snapshots: snapshots, _phase: phase }
    }

    /// The response to a request of a caller with this scope, or of one whose scope is not decided.
    async fn ask(&self, path: &str, scope: Option<Scope>) -> Response<Body> {
        let mut request = Request::get(path).header("accept", "text/html, */*").body(()).unwrap();
        let context = Context::new(request.headers(), Route::public(request.uri().path()));
        if let Some(scope) = scope {
            let mut grant = Grant::open();
            grant.scope = scope;
            context.set_grant(Arc::new(grant));
        }
        request.extensions_mut().insert(Arc::new(context));
        let Ok(response) = Arc::clone(&self.gateway).respond(request).await;
        response
    }

    /// Asserts that a caller is refused, and told nothing about the data.
    async fn assert_refuses(&self, path: &str, scope: Option<Scope>) {
        let response = self.ask(path, scope.clone()).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {scope:?}");
        let told = response.headers().keys().any(|name| name.as_str().starts_with("incident-"));
        assert!(!told, "{path} {scope:?}: {:?}", response.headers());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], "urn:incident-gateway:problem:forbidden");
        assert_eq!(problem.get("sources"), None, "{path} {scope:?}");
    }
}

const DATA_ROUTES: [&str; 13] = [
    "/incidents",
    "/incidents?employee_id=7",
    "/incidents?complete=true",
    "/incidents/7",
    "/incidents/9",
    "/unattributed",
    "/summary",
    "/sources",
    "/events",
    "/",
    "/?page=x",
    "/employees/7",
    "/employees/9",
];

#[tokio::test]
async fn a_scope_without_incidents_gets_nothing_from_any_route_with_data() {
    let gateway = TestGateway::new();
    for path in DATA_ROUTES {
        // Everybody else's answer is cached now.
        gateway.ask(path, Some(Scope::All)).await;
        for scope in [None, Some(Scope::Nothing), Some(Scope::Metrics)] {
            gateway.assert_refuses(path, scope).await;
        }
    }
}

#[tokio::test]
async fn one_employee_gets_no_others_data_from_any_route() {
    let gateway = TestGateway::new();
    for own in [Scope::Employee("7".into()), Scope::EmployeeAndMetrics("7".into())] {
        for path in ["/incidents", "/summary", "/", "/incidents/7", "/employees/7", "/sources"] {
            let all = gateway.ask(path, Some(Scope::All)).await;
            assert_eq!(all.status(), StatusCode::OK, "{path}");
            let response = gateway.ask(path, Some(own.clone())).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(!String::from_utf8_lossy(&body).contains("foreign"), "{path}");
        }
        for path in [
            "/incidents?employee_id=8",
            "/incidents?employee_id=7,8",
            "/summary?employee_id=8",
            "/incidents/8",
            "/incidents/nobody",
            "/unattributed",
        ] {
            gateway.ask(path, Some(Scope::All)).await;
            gateway.assert_refuses(path, Some(own.clone())).await;
        }
        // Pages say so in HTML.
        for path in ["/?employee_id=8", "/employees/8", "/employees/?employee_id=8"] {
            let response = gateway.ask(path, Some(own.clone())).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
            assert!(!response.headers().contains_key("incident-unattributed"), "{path}");
        }
    }
}
