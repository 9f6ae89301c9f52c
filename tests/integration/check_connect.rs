//! The report of `check --connect`, on recipes and the APIs that are simulated for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use crate::check::{Ran, run};
use crate::recipes::{Expected, NAMES, directory, recipe_for};
use crate::support::simulated_api::{Api, SimulatedApi};

/// Runs `check --connect` on a recipe, while the simulated API serves it.
async fn connect(api: &SimulatedApi, name: &str, edit: impl FnOnce(String) -> String) -> Ran {
    let secrets = tempfile::tempdir().unwrap();
    let path = secrets.path().join("config.yaml");
    fs::write(&path, edit(recipe_for(name, api, secrets.path()))).unwrap();
    let checked = tokio::task::spawn_blocking(move || {
        let ran = run(&["check", "--config", path.to_str().unwrap(), "--connect"]);
        drop(secrets);
        ran
    });
    checked.await.unwrap()
}

fn samples(name: &str) -> PathBuf {
    Path::new(&directory()).join("samples").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_source_is_called_once() {
    let api = SimulatedApi::start(&samples("okta")).await;
    let ran = connect(&api, "okta", |text| text).await;
    ran.exits(0)
        .says("identities     ok\n")
        .says("okta           ok; look at the lines with ?\n")
        .says("/api/v1/logs?since=")
        .says("&filter=severity eq \"WARN\" or severity eq \"ERROR\"&sortOrder=ASCENDING&limit=1000\n")
        .says("3 pages, 4 records (1 duplicate dropped)")
        .says("such as `system@okta.com`")
        .hides("okta-secret");
    assert_eq!((api.calls(), api.unexpected()), (vec![0, 1, 2], Vec::new()));
    // Without `next`, the header Link shows that there is more.
    let ran = connect(&api, "okta", |text| text.replace("    next: link\n", "")).await;
    ran.exits(0).says("1 page, 2 records").says("there are more pages; set `next: link`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_without_the_secret() {
    let api = SimulatedApi::start(&samples("pagerduty")).await;
    // The answer to an unexpected request repeats its headers.
    let ran = connect(&api, "pagerduty", |text| text.replace("time_zone: UTC", "zone: UTC")).await;
    ran.exits(1)
        .says("pagerduty      FAILED (status)")
        .says("its answer    Asked {")
        .says("\"Token token=***\"")
        .hides("pd-secret");
    assert!(ran.stderr.contains("1 of 2 sources failed"), "{}", ran.stderr);
}

/// An API whose answers repeat what it was asked with.
fn that_repeats(secrets: &str) -> Api {
    let mut api = Api::load(&samples("sophos-central"));
    let answer = |text: &str| format!(r#"{{"items":[{{"severity":"{text}","id":"{text}"}}]}}"#);
    for exchange in api.exchanges.iter_mut().filter(|exchange| !exchange.public) {
        exchange.answer = answer(secrets);
    }
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_was_issued_is_masked_wherever_it_is_printed() {
    let token = format!("tok/{}", "en+".repeat(30));
    let issue = |mut api: Api| {
        for exchange in api.exchanges.iter_mut().filter(|exchange| exchange.public) {
            exchange.answer = exchange.answer.replace("access-1", &token);
        }
        api.headers.insert("authorization".to_owned(), format!("Bearer {token}"));
        api
    };
    let escaped = token.replace('/', "\\/");
    let text = format!("{token} {escaped} sophos-secret {}", token.replace('+', "%2b"));
    // In values that map to nothing, which are cut, and in the first record.
    let api = SimulatedApi::serve(issue(that_repeats(&text))).await;
    let ran = connect(&api, "sophos-central", |text| text).await;
    ran.says("\"***…  -> ").says("\"id\":\"*** *** *** ***\"").hides("tok/").hides("en+en");
    // In an answer with a bad status.
    let mut api = issue(that_repeats(&text));
    for exchange in api.exchanges.iter_mut().filter(|exchange| !exchange.public) {
        exchange.status = 405;
    }
    let api = SimulatedApi::serve(api).await;
    let ran = connect(&api, "sophos-central", |text| text).await;
    ran.exits(1)
        .says("{\"severity\":\"*** *** *** ***\",\"id\":")
        .says("it was asked by GET; `body` or `form` makes the request a POST")
        .hides("tok")
        .hides("en+en");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_ends_with_an_address_that_was_used_is_told() {
    let mut api = Api::load(&samples("okta"));
    let page = api.exchanges.iter().position(|exchange| exchange.path == "/api/v1/logs").unwrap();
    api.exchanges[page].response_headers =
        vec![("link".to_owned(), "<{base}/api/v1/logs?again>; rel=\"next\"".to_owned())];
    let mut again = api.exchanges[page].clone();
    again.query = [("again".to_owned(), String::new())].into();
    api.exchanges.push(again);
    let api = SimulatedApi::serve(api).await;
    let ran = connect(&api, "okta", |text| text).await;
    ran.exits(0)
        .says("2 pages, ")
        .says("?               the list ended because its next address or cursor was one already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_later_page_is_told_with_its_page() {
    let mut api = Api::load(&samples("sentinelone"));
    api.exchanges[1].status = 503;
    api.exchanges[1].answer = "{\"errors\":[{\"title\":\"busy\"}]}".to_owned();
    let api = SimulatedApi::serve(api).await;
    let ran = connect(&api, "sentinelone", |text| text).await;
    ran.exits(1)
        .says("sentinelone    FAILED (status)")
        .says("its answer    {\"errors\":[{\"title\":\"busy\"}]}")
        .says("on page 2, after ");
    assert_eq!(api.calls(), [0, 1], "no retries");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_an_upstream_are_called_and_reported() {
    let api = SimulatedApi::start(&samples("entra-risk-detections")).await;
    let ran = connect(&api, "entra-risk-detections", |text| text).await;
    ran.exits(1)
        .says("identities     ok\n")
        .says("2 pages, 3 records")
        .says("keys          2 employees; 2 by email")
        .says("`/employeeId`: 2 rows with a value, 1 without")
        .says("first row     {\"displayName\":")
        .says("\"unknownFutureValue\"  -> UNMAPPED  1 record")
        .hides("graph-secret");
    assert_eq!((api.calls().len(), api.unexpected()), (5, Vec::new()));
}

/// The report on each recipe counts what the gateway answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_agrees_with_the_answers() {
    let mut checks = JoinSet::new();
    for name in NAMES {
        checks.spawn(async move {
            let api = SimulatedApi::start(&samples(name)).await;
            (name, connect(&api, name, |text| text).await)
        });
    }
    while let Some(checked) = checks.join_next().await {
        let (name, ran) = checked.unwrap();
        let Expected { incidents, unattributed, .. } = Expected::of(name);
        let records = if incidents.len() == 1 { "record" } else { "records" };
        ran.says(&format!("attributed    {} {records} to ", incidents.len()));
        let mut reasons = BTreeMap::<&str, usize>::new();
        for item in &unattributed {
            *reasons.entry(&item.reason).or_default() += 1;
        }
        for (reason, records) in &reasons {
            ran.says(&format!("{records} {reason}: "));
        }
        let is_invalid = |reason: &&str| reason.starts_with("invalid_");
        ran.exits(i32::from(reasons.keys().any(is_invalid)));
        assert!(!ran.stdout.contains("FAILED"), "{name}");
    }
}
