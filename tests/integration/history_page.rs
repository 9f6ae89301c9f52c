//! An employee's page with a store: what the history adds to it, and what remains without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use incident_gateway::config::Config;
use incident_gateway::decode::Priority;
use incident_gateway::store::{HistoryRow, Operation, StoreError, StoreHandle};
use tokio::time::Instant;

use crate::support::history_store::{Answers, HistoryStore, row};
use crate::support::snapshot_gateway::{Reply, SnapshotGateway};

const BROWSER: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

const MISUSE: &str = r#"{"results":[
    {"employee_id":7,"priority":"high","timestamp":1600000000,"note":"present"},
    {"employee_id":7,"priority":"low","timestamp":1600003600,"note":"present"}]}"#;

/// A gateway in which employee 7 has two incidents, with a store that has these rows.
fn gateway(rows: Vec<HistoryRow>) -> (SnapshotGateway, Arc<HistoryStore>, StoreHandle) {
    let (store, handle) = HistoryStore::with(rows);
    let gateway = SnapshotGateway::with_store(Config::default(), handle.clone());
    gateway.publish_named(&[("misuse", MISUSE)]);
    (gateway, store, handle)
}

fn left(number: i64, id: &str, priority: Priority) -> HistoryRow {
    let time = 1.5e9 + number as f64;
    let note = format!(r#"{{"note":"left-{number}","markup":"<b>&"}}"#).into_bytes();
    HistoryRow { bytes: note, ..row(number, "gone", Some((id, priority, time)), false) }
}

async fn browse(gateway: &SnapshotGateway, path: &str) -> Reply {
    gateway.get_with(path, &[BROWSER]).await
}

/// The part of a page that shows the history.
fn history(reply: &Reply) -> &str {
    reply.text().split("id=\"history-title\"").nth(1).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_what_sources_no_longer_list() {
    let mut rows: Vec<_> = (0..3).map(|number| left(number, "7", Priority::High)).collect();
    rows.push(left(3, "8", Priority::High));
    rows.push(row(4, "misuse", Some(("7", Priority::High, 1.6e9)), true));
    let (gateway, ..) = gateway(rows);
    let page = browse(&gateway, "/employees/7").await;
    assert_eq!(page.status, StatusCode::OK);
    let shown = history(&page);
    let notes: Vec<_> = (0..5).filter_map(|n| shown.find(&format!("left-{n}"))).collect();
    assert!(notes.len() == 3 && notes.is_sorted_by(|left, right| left > right), "newest first");
    assert!(shown.contains("&#60;b&#62;&#38;") && !shown.contains("<b>&"), "{shown}");
    assert!(shown.contains("first <time datetime=\"2001-09-09T01:46:42.000Z\">"), "{shown}");
    assert!(shown.contains("href=\"../history?employee_id=7\""));
    let present = page.text().split("id=\"history-title\"").next().unwrap();
    assert_eq!(present.matches("<b>note</b> present").count(), 2);
    // Both are in the timeline.
    let numbers = present.split("The timeline in numbers</summary>").nth(1).unwrap();
    assert!(numbers.contains("2017-") && numbers.contains("2020-"), "{numbers}");
    assert!(present.contains("href=\"../employees/7?since="));
    // The filter holds for the history too.
    let filtered = browse(&gateway, "/employees/7?priority=low").await;
    assert!(!history(&filtered).contains("left-") && history(&filtered).contains("none matches"));
    let filtered = browse(&gateway, "/employees/7?until=1500000001").await;
    assert!(history(&filtered).contains("left-0") && !history(&filtered).contains("left-1"));
}

#[tokio::test(start_paused = true)]
async fn an_employee_who_is_only_in_the_history_has_a_page() {
    let (gateway, ..) = gateway(vec![
        left(1, "gone by", Priority::Low),
        row(2, "misuse", Some(("current", Priority::Low, 5.0)), true),
    ]);
    let page = browse(&gateway, "/employees/gone%20by").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(history(&page).contains("left-1"));
    assert!(page.text().contains("No source lists an incident of this employee now."));
    assert!(!page.text().contains("../incidents/gone"), "that would be 404");
    // Whatever the filter; the store has them, though the view does not.
    let page = browse(&gateway, "/employees/gone%20by?priority=critical").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(history(&page).contains("none matches the filter"));
    let page = browse(&gateway, "/employees/current").await;
    assert!(history(&page).contains("misuse"));
    for id in ["nobody", "8"] {
        let page = browse(&gateway, &format!("/employees/{id}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn current_records_of_a_source_without_data_are_shown() {
    let (gateway, ..) = gateway(vec![
        row(1, "denial", Some(("7", Priority::Low, 5.0)), true),
        left(2, "7", Priority::Low),
        row(3, "probing", Some(("7", Priority::Low, 4.0)), true),
    ]);
    let all = r#"{"results":[]}"#;
    let bodies = gateway.config.sources.iter().map(|source| match source.name.as_str() {
        "denial" => None,
        "misuse" => Some(MISUSE),
        _ => Some(all),
    });
    gateway.publish(Some("{}"), bodies.collect());
    let page = browse(&gateway, "/employees/7").await;
    let shown = history(&page);
    let order = ["left-2", "denial"].map(|text| shown.find(text).unwrap());
    assert!(order.is_sorted() && !shown.contains("probing"), "{shown}");
    let page = browse(&gateway, "/employees/7?type=misuse").await;
    assert!(!history(&page).contains("denial"));
}

#[tokio::test(start_paused = true)]
async fn a_long_history_is_cut_and_says_so() {
    let rows = (0..1_200).map(|number| left(number, "7", Priority::High)).collect();
    let (gateway, ..) = gateway(rows);
    let page = browse(&gateway, "/employees/7").await;
    let shown = history(&page);
    assert_eq!(shown.matches("left-").count(), 100);
    assert!(shown.contains("left-1199") && shown.contains("There are more records than these"));
    assert!(shown.contains("the newest 1\u{202f}000 of them"), "{shown}");
    assert!(page.body.len() < 200_000, "{} bytes", page.body.len());
}

#[tokio::test(start_paused = true)]
async fn the_page_waits_a_quarter_of_a_second_and_says_what_is_missing() {
    let (gateway, store, handle) = gateway(vec![left(1, "7", Priority::Low)]);
    let unavailable = "The history is not available at present";
    let down = StoreError::Unavailable("connection refused".to_owned());
    for (answers, longest) in [
        (Answers::Never, Duration::from_millis(300)),
        (Answers::With(StoreError::Overloaded), Duration::from_millis(10)),
        (Answers::With(down.clone()), Duration::from_millis(10)),
    ] {
        store.answer(answers.clone());
        let started = Instant::now();
        let page = browse(&gateway, "/employees/7").await;
        assert!(started.elapsed() <= longest, "{answers:?}: {:?}", started.elapsed());
        assert_eq!(page.status, StatusCode::OK);
        assert!(history(&page).contains(unavailable) && !page.text().contains("refused"));
        assert_eq!(page.text().matches("<b>note</b> present").count(), 2);
        // As if there were no store.
        assert_eq!(browse(&gateway, "/employees/8").await.status, StatusCode::NOT_FOUND);
    }
    // While it is known to be down it is not asked at all.
    store.answer(Answers::Never);
    handle.note::<()>(Operation::Session, &Err(down.clone()));
    let (started, before) = (Instant::now(), store.queries.load(Ordering::Relaxed));
    let page = browse(&gateway, "/employees/7").await;
    assert!(history(&page).contains(unavailable));
    assert!(started.elapsed() < Duration::from_millis(10));
    assert_eq!(store.queries.load(Ordering::Relaxed), before);
    // On a full disk it can still be read.
    store.answer(Answers::AtOnce);
    handle.note(Operation::Session, &Ok(()));
    handle.note::<()>(Operation::Write, &Err(StoreError::Unavailable("disk full".to_owned())));
    assert!(history(&browse(&gateway, "/employees/7").await).contains("left-1"));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_the_page_has_no_history() {
    let gateway = SnapshotGateway::new();
    gateway.publish_named(&[("misuse", MISUSE)]);
    let page = browse(&gateway, "/employees/7").await;
    assert_eq!(page.status, StatusCode::OK);
    for absent in ["history", "timeline", "History"] {
        assert!(!page.text().contains(absent), "{absent}");
    }
    assert_eq!(browse(&gateway, "/employees/8").await.status, StatusCode::NOT_FOUND);
}
