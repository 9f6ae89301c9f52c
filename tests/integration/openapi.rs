//! Responses conform to `/openapi.json`: statuses, content types, headers.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use incident_gateway::config::Config;
use incident_gateway::forward::ForwardStatus;
use serde_json::Value;

use crate::support::history_store::{Answers, HistoryStore};
use crate::support::snapshot_gateway::{Reply, SnapshotGateway};
use crate::support::tokens;
use crate::support::views::fixture;

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().map_or(value, |reference| document.pointer(&reference[1..]).unwrap())
}

/// Asserts that the response is documented.
fn conforms(document: &Value, path: &str, reply: &Reply) {
    let status = reply.status.as_u16().to_string();
    let response = &document["paths"][path]["get"]["responses"][&status];
    assert!(response.is_object(), "{path}: {status} is not documented");
    let response = resolve(document, response);
    let given = reply.header("content-type");
    match response["content"].as_object() {
        None => assert_eq!(given, "", "{path} {status}"),
        Some(content) => {
            let known = content
                .keys()
                .any(|kind| kind == given || given.strip_suffix("; charset=utf-8") == Some(kind));
            assert!(known, "{path} {status}: {given}");
        }
    }
    for (name, header) in response["headers"].as_object().unwrap() {
        let required = resolve(document, header)["required"] == true;
        assert!(!required || reply.headers.contains_key(name), "{path} {status}: no {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn responses_are_as_documented() {
    let (store, handle) = HistoryStore::with(Vec::new());
    let gateway = SnapshotGateway::with_store(Config::default(), handle);
    gateway.publish_fixtures();
    let reply = gateway.get("/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/json"));
    let document = reply.json();
    let filtered = ["/incidents", "/incidents/{employee_id}", "/summary", "/unattributed"];
    let history = ["/history", "/history/summary"];
    let pages = ["/", "/employees/{employee_id}"];
    let fixed = ["/openapi.json", "/assets/{name}"];
    let concrete = |path: &str| path.replace("{employee_id}", "1234").replace("{name}", "page.css");
    for path in document["paths"].as_object().unwrap().keys().filter(|path| *path != "/events") {
        let reply = gateway.get(&concrete(path)).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        conforms(&document, path, &reply);
        if [&filtered[..], &history, &fixed].concat().contains(&path.as_str()) {
            let again =
                gateway.get_with(&concrete(path), &[("if-none-match", reply.header("etag"))]).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
            conforms(&document, path, &again);
        }
        if [&filtered[..], &history, &pages].concat().contains(&path.as_str()) {
            for accept in ["*/*", "text/html"] {
                let refused = gateway
                    .get_with(&format!("{}?x=1", concrete(path)), &[("accept", accept)])
                    .await;
                assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
                conforms(&document, path, &refused);
            }
        }
    }
    for path in ["/incidents/{employee_id}", "/employees/{employee_id}"] {
        let unknown = gateway.get(&path.replace("{employee_id}", "nobody")).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        conforms(&document, path, &unknown);
    }
    for accept in ["application/x-ndjson", "text/csv"] {
        for path in ["/incidents", "/history"] {
            conforms(&document, path, &gateway.get_with(path, &[("accept", accept)]).await);
        }
    }
    store.answer(Answers::Never);
    for path in history {
        let unavailable = gateway.get(path).await;
        assert_eq!(unavailable.status, StatusCode::SERVICE_UNAVAILABLE);
        conforms(&document, path, &unavailable);
    }
    let none = SnapshotGateway::new();
    for path in history {
        let missing = none.get(path).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        conforms(&document, path, &missing);
    }
    none.publish_states(|source| source.was_attempted = true);
    tokio::time::advance(Duration::from_mins(1)).await;
    for path in filtered.into_iter().chain(pages) {
        let accept = [("accept", "application/json")];
        let reply = none.get_with(&path.replace("{employee_id}", "1234"), &accept).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        conforms(&document, path, &reply);
    }
    for path in pages {
        let reply = none.get(&path.replace("{employee_id}", "1234")).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        conforms(&document, path, &reply);
    }
}

#[tokio::test(start_paused = true)]
async fn responses_under_access_control_are_as_documented() {
    let sign_in = tokens::sign_in(&[("own", "self=1234"), ("metrics", "metrics")]);
    let config = Config { sign_in, ..Config::default() };
    let elsewhere =
        Config { allowed_hosts: Some(["elsewhere".to_owned()].into()), ..config.clone() };
    let gateway = SnapshotGateway::with_store(config, HistoryStore::with(Vec::new()).1);
    gateway.forwards.send_replace(Arc::new([ForwardStatus::default()]));
    let elsewhere = SnapshotGateway::configured(elsewhere);
    let bodies: Vec<String> =
        gateway.config.sources.iter().map(|source| fixture(&source.name)).collect();
    let bodies = bodies.iter().map(|body| Some(body.as_str())).collect();
    gateway.publish(Some(&fixture("identities")), bodies);
    let [own, metrics] = ["own", "metrics"].map(tokens::bearer);
    let own = ("authorization", own.as_str());
    let document = gateway.get_with("/openapi.json", &[own]).await.json();
    let has_required = |schema: &str, object: &Value| {
        let required = document["components"]["schemas"][schema]["required"].as_array().unwrap();
        for name in required {
            assert!(object.get(name.as_str().unwrap()).is_some(), "{schema}: no {name}");
        }
    };
    for path in document["paths"].as_object().unwrap().keys() {
        let concrete = path.replace("{employee_id}", "1234").replace("{name}", "page.css");
        if path.ends_with('z') {
            conforms(&document, path, &gateway.get(&concrete).await);
            continue;
        }
        // An address may fail ten times a minute.
        tokio::time::advance(Duration::from_secs(10)).await;
        let repeated = [own, ("authorization", "Bearer x")];
        for (headers, status) in [
            (&[][..], 401),
            (&[("authorization", "Bearer wrong")], 401),
            (&[("authorization", metrics.as_str())], 403),
            (&repeated, 400),
        ] {
            let reply = gateway.get_with(&concrete, headers).await;
            assert_eq!(reply.status, status, "{path}");
            conforms(&document, path, &reply);
            assert!(status == 400 || reply.header("www-authenticate").contains("Bearer"));
        }
        let misdirected = elsewhere.get_with(&concrete, &[own]).await;
        assert_eq!(misdirected.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        conforms(&document, path, &misdirected);
        if path == "/events" {
            continue;
        }
        let reply = gateway.get_with(&concrete, &[own]).await;
        let is_forbidden = path == "/unattributed";
        assert_eq!(reply.status, if is_forbidden { 403 } else { 200 }, "{path}");
        conforms(&document, path, &reply);
        match path.as_str() {
            "/summary" | "/history/summary" => has_required("Summary", &reply.json()),
            "/history" => has_required("History", &reply.json()),
            "/sources" => {
                has_required("Sources", &reply.json());
                has_required("Store", &reply.json()["store"]);
                has_required("Forward", &reply.json()["forwards"][0]);
                for source in reply.json()["sources"].as_array().unwrap() {
                    has_required("Source", source);
                }
            }
            _ => {}
        }
    }
}
