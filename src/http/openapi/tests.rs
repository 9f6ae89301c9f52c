//! The document against the code: what one names, the other has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::decode::Priority;
use crate::forward::ForwardState;
use crate::http::history::{DEFAULT_LIMIT, HistoryKeys, MAX_LIMIT};
use crate::http::problem::Problem;
use crate::http::query::AllowedKeys;
use crate::http::routes::Route;
use crate::join::Reason;
use crate::outcome::Outcome;
use crate::render::Format;
use crate::snapshot::{Completeness, Freshness};
use crate::store::MAX_TOP_EMPLOYEES;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn schema_names<'a>(document: &'a Value, name: &str) -> Vec<&'a str> {
    strings(&document["components"]["schemas"][name]["enum"])
}

/// Follows a reference within the document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

fn every_reference<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| every_reference(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| every_reference(item, found)),
        _ => {}
    }
}

#[test]
fn it_is_of_this_version_and_its_references_lead_somewhere() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut references = Vec::new();
    every_reference(&document, &mut references);
    let components = document["components"].as_object().unwrap();
    for reference in &references {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for (kind, list) in components.iter().filter(|(kind, _)| *kind != "securitySchemes") {
        for name in list.as_object().unwrap().keys() {
            let used = references.contains(&format!("#/components/{kind}/{name}").as_str());
            // The data of events has no place in a media type; the description of the stream names
            // it. Which of a document's records are envelopes depends on the configuration.
            assert!(used || name.ends_with("Event") || name == "Envelope", "{kind}/{name}");
        }
    }
}

#[test]
fn routes_are_those_of_the_code() {
    let document = document();
    let documented: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let served: BTreeSet<&str> = Route::public_labels().into_iter().collect();
    assert_eq!(documented, served);
    for path in documented {
        let path = path.replace("{employee_id}", "7").replace("{name}", "page.css");
        assert_ne!(Route::public(&path), Route::Unknown, "{path}");
    }
}

#[test]
fn all_routes_but_probes_may_need_credentials() {
    let document = document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let schemes: BTreeSet<&str> = schemes.keys().map(String::as_str).collect();
    let requirements = document["security"].as_array().unwrap();
    assert_eq!(requirements[0], json!({}), "credentials are optional: `auth` may not be set");
    let named = requirements.iter().flat_map(|requirement| requirement.as_object().unwrap().keys());
    assert_eq!(named.map(String::as_str).collect::<BTreeSet<_>>(), schemes);
    for (path, item) in document["paths"].as_object().unwrap() {
        let operation = &item["get"];
        let is_probe = Route::public(path).is_probe();
        assert_eq!(operation["security"] == json!([]), is_probe, "{path}");
        for problem in [
            Problem::RepeatedAuthorization,
            Problem::Unauthorized,
            Problem::Forbidden,
            Problem::Misdirected,
            Problem::TooManyAttempts { retry_after: Duration::from_secs(1) },
        ] {
            let status = problem.response("", &[]).status();
            let response = resolve(&document, &operation["responses"][status.as_str()]);
            let description = response["description"].as_str().unwrap_or_default();
            let is_named = description.contains(&format!("`{}`", problem.name()));
            assert_eq!(is_named, !is_probe, "{path}: {}", problem.name());
            let challenges = &response["headers"]["WWW-Authenticate"];
            let has_challenges = matches!(status.as_u16(), 401 | 403) && !is_probe;
            assert_eq!(challenges.is_object(), has_challenges, "{path}: {status}");
        }
    }
}

#[test]
fn parameters_are_the_keys_of_queries() {
    let document = document();
    let keys = |path: &str| -> Vec<&str> {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let parameters = parameters.iter().map(|parameter| resolve(&document, parameter));
        parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|p| p["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(keys("/incidents"), AllowedKeys::All.names());
    assert_eq!(keys("/summary"), AllowedKeys::All.names());
    assert_eq!(keys("/incidents/{employee_id}"), AllowedKeys::AllButEmployee("7").names());
    assert_eq!(keys("/history"), HistoryKeys::Page.names());
    assert_eq!(keys("/history/summary"), HistoryKeys::Summary.names());
    assert_eq!(keys("/unattributed"), AllowedKeys::CompleteOnly.names());
    assert_eq!(keys("/"), [AllowedKeys::All.names(), &["page"]].concat());
    assert_eq!(
        keys("/employees/{employee_id}"),
        [AllowedKeys::AllButEmployee("7").names(), &["page"]].concat()
    );
    let types = &document["components"]["parameters"]["type"]["schema"]["items"]["enum"];
    let sources: Vec<String> =
        crate::config::Config::default().sources.into_iter().map(|source| source.name).collect();
    assert_eq!(strings(types), sources);
}

#[test]
fn words_are_those_of_the_code() {
    let document = document();
    let names = |name| schema_names(&document, name);
    assert_eq!(names("Priority"), Priority::ALL.map(Priority::as_str));
    assert_eq!(names("Reason"), Reason::ALL.map(Reason::as_str));
    let failures =
        Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Ok).map(Outcome::as_str);
    assert_eq!(names("Outcome"), failures.collect::<Vec<_>>());
    let states = [Freshness::Fresh, Freshness::Stale, Freshness::Missing];
    assert_eq!(names("State"), states.map(Freshness::as_str));
    let states = [ForwardState::Idle, ForwardState::Sending, ForwardState::Retrying];
    assert_eq!(names("ForwardState"), states.map(ForwardState::as_str));
    let all = [Completeness::Complete, Completeness::Stale, Completeness::Partial];
    assert_eq!(names("Completeness"), all.map(Completeness::as_str));
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["Summary"]["properties"]["employees"]["properties"]["top"]["maxItems"],
        MAX_TOP_EMPLOYEES
    );
    let formats: BTreeSet<&str> = Format::ALL.into_iter().map(Format::content_type).collect();
    for path in ["/incidents", "/history"] {
        let content = &document["paths"][path]["get"]["responses"]["200"]["content"];
        let content = content.as_object().unwrap();
        assert_eq!(content.keys().map(String::as_str).collect::<BTreeSet<_>>(), formats, "{path}");
    }
    let limit = &document["components"]["parameters"]["limit"]["schema"];
    assert_eq!((&limit["maximum"], &limit["default"]), (&json!(MAX_LIMIT), &json!(DEFAULT_LIMIT)));
}

#[test]
fn problems_are_those_of_the_code() {
    let document = document();
    let retry_after = Duration::from_secs(1);
    let all = [
        Problem::InvalidHost,
        Problem::RepeatedAuthorization,
        Problem::Misdirected,
        Problem::Unauthorized,
        Problem::Forbidden,
        Problem::TooManyAttempts { retry_after },
        Problem::NotFound,
        Problem::MethodNotAllowed,
        Problem::InvalidQuery(String::new()),
        Problem::NotAcceptable,
        Problem::PreconditionFailed,
        Problem::TooManyStreams,
        Problem::UnknownEmployee,
        Problem::NoData { retry_after },
        Problem::Incomplete { retry_after },
        Problem::NoStore,
        Problem::StoreUnavailable,
        Problem::Overloaded,
        Problem::NotReady,
        Problem::Draining,
        Problem::Internal,
    ];
    for problem in &all {
        // Whoever adds a problem comes by here, and adds it to the list above.
        match problem {
            Problem::InvalidHost
            | Problem::RepeatedAuthorization
            | Problem::Misdirected
            | Problem::Unauthorized
            | Problem::Forbidden
            | Problem::TooManyAttempts { .. }
            | Problem::NotFound
            | Problem::MethodNotAllowed
            | Problem::InvalidQuery(_)
            | Problem::NotAcceptable
            | Problem::PreconditionFailed
            | Problem::TooManyStreams
            | Problem::UnknownEmployee
            | Problem::NoData { .. }
            | Problem::Incomplete { .. }
            | Problem::NoStore
            | Problem::StoreUnavailable
            | Problem::Overloaded
            | Problem::NotReady
            | Problem::Draining
            | Problem::Internal => {}
        }
    }
    let types: Vec<String> = all
        .iter()
        .map(|problem| format!("urn:incident-gateway:problem:{}", problem.name()))
        .collect();
    let schema = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    assert_eq!(strings(schema), types);
    for (response, problem) in
        [("NoStore", Problem::NoStore), ("StoreUnavailable", Problem::StoreUnavailable)]
    {
        let content = &document["components"]["responses"][response]["content"];
        let example = &content["application/problem+json"]["example"];
        assert_eq!(
            (&example["title"], &example["detail"]),
            (&json!(problem.title()), &json!(problem.detail()))
        );
        assert_eq!(example["status"], problem.response("", &[]).status().as_u16());
    }
}
