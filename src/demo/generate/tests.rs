use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::value::RawValue;

use super::*;

#[derive(serde::Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

fn records(body: &[u8]) -> Vec<&str> {
    let Results { results } = serde_json::from_slice(body).unwrap();
    results.into_iter().map(RawValue::get).collect()
}

/// How many records were added at the end, while as many were dropped at the start.
fn added(before: &[&str], after: &[&str]) -> usize {
    (0..=before.len()).find(|added| after.starts_with(&before[*added..])).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_plan_gives_exactly_its_records_and_the_same_bytes_each_time() {
    for incidents in [0, 1, 6, 7, 10, 5003] {
        let plan = Plan { incidents, employees: 60, seed: 3 };
        let mut total = 0;
        for endpoint in &Endpoint::PLAIN[1..] {
            let body = plan.body(*endpoint);
            total += records(&body).len() as u64;
            assert_eq!(body, plan.body(*endpoint));
        }
        assert_eq!(total, incidents);
    }
    let plan = Plan { incidents: 700, employees: 60, seed: 3 };
    let other = Plan { seed: 4, ..plan };
    assert_ne!(plan.body(Endpoint::Denial), other.body(Endpoint::Denial));
}

#[test]
fn identities_list_two_machines_for_each_employee() {
    let body = Plan { incidents: 0, employees: 100, seed: 3 }.body(Endpoint::Identities);
    let table: HashMap<String, u64> = serde_json::from_slice(&body).unwrap();
    assert_eq!(table.len(), 200);
    let owners: HashSet<u64> = table.into_values().collect();
    assert_eq!(owners.len(), 100);
}

#[test]
fn employees_grow_with_the_records_within_limits() {
    assert_eq!(Plan::usual_employees(0), 60);
    assert_eq!(Plan::usual_employees(100_000), 4000);
    assert_eq!(Plan::usual_employees(1_000_000_000), 100_000);
}

#[test]
fn live_data_ends_now_and_its_window_moves() {
    const MIDNIGHT: u64 = 1_792_368_000;
    for endpoint in &Endpoint::PLAIN[1..] {
        let (mut arrived, mut size) = (0, 0);
        // Across midnight, where the numbering of a day begins anew.
        for minute in 0..10 {
            let now = MIDNIGHT - 300 + minute * 60;
            let (before, after) =
                (live_body(*endpoint, 0, at(now)), live_body(*endpoint, 0, at(now + 60)));
            let (before, after) = (records(&before), records(&after));
            assert_eq!(before.len(), after.len());
            // What was there stays in its order, but for as many of the oldest as were added.
            let added = added(&before, &after);
            for record in &after {
                let value: serde_json::Value = serde_json::from_str(record).unwrap();
                let timestamp = value["timestamp"].as_f64().unwrap();
                assert!(timestamp <= (now + 60) as f64, "{endpoint}: {record}");
                assert!(timestamp > now as f64 - 2.0 * 86_400.0, "{endpoint}: {record}");
            }
            (arrived, size) = (arrived + added, after.len());
        }
        assert!(size >= 300 && arrived < size / 10, "{endpoint}: {arrived} of {size}");
    }
}

#[test]
fn live_data_has_a_new_incident_every_few_seconds_at_any_hour() {
    for hour in (0..24).step_by(3) {
        let now = 1_792_368_000 + hour * 3_600;
        let mut arrived = 0;
        for endpoint in &Endpoint::PLAIN[1..] {
            let (before, after) =
                (live_body(*endpoint, 0, at(now)), live_body(*endpoint, 0, at(now + 600)));
            arrived += added(&records(&before), &records(&after));
        }
        assert!((50..=200).contains(&arrived), "{arrived} in 10 minutes at {hour} h");
    }
}

#[test]
fn pages_of_sign_ins_overlap_by_one_and_have_every_record_of_the_window() {
    let plan = Plan { incidents: 7 * 2_345, employees: 400, seed: 3 };
    let now = at(1_792_368_000);
    let (mut cursor, mut ids, mut pages) = (None, Vec::new(), 0);
    loop {
        let query = ListQuery { cursor, ..ListQuery::default() };
        let page = plan.page_at(Endpoint::Signin, now, &query);
        let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
        let events = page["events"].as_array().unwrap();
        let mut new: Vec<String> =
            events.iter().map(|event| event["uuid"].as_str().unwrap().to_owned()).collect();
        if pages > 0 {
            assert_eq!(ids.pop(), new.first().cloned());
        }
        ids.append(&mut new);
        pages += 1;
        let Some(next) = page["page"]["next"].as_str() else { break };
        cursor = Some(next.parse().unwrap());
    }
    assert_eq!((ids.len(), pages), (2_345, 3));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 2_345);
}

#[test]
fn lists_are_limited_to_the_times_of_the_query() {
    let now = 1_792_368_000;
    let published = |query: &ListQuery| -> Vec<jiff::Timestamp> {
        let page = live_page(Endpoint::Signin, 0, at(now), query);
        let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
        let events = page["events"].as_array().unwrap();
        events.iter().map(|event| event["published"].as_str().unwrap().parse().unwrap()).collect()
    };
    let (since, until) = (ticks(at(now - 7_200)), ticks(at(now - 3_600)));
    let all = published(&ListQuery::default()).len();
    let hour =
        published(&ListQuery { since: Some(since), until: Some(until), ..ListQuery::default() });
    assert!((20..all / 2).contains(&hour.len()), "{} of {all}", hour.len());
    // A record that comes late has an earlier time than when it arrived.
    let until = jiff::Timestamp::from_second(i64::try_from(now - 3_600).unwrap()).unwrap();
    assert!(hour.iter().all(|time| *time <= until));
}

#[test]
fn people_have_what_the_mapped_records_name_them_by() {
    let plan = Plan { incidents: 7_000, employees: 300, seed: 3 };
    let parsed =
        |endpoint| -> serde_json::Value { serde_json::from_slice(&plan.body(endpoint)).unwrap() };
    let people = parsed(Endpoint::People);
    let column = |name: &str| -> HashSet<String> {
        let rows = people["results"].as_array().unwrap().iter();
        rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let (emails, hosts) = (column("email"), column("hostname"));
    assert_eq!((emails.len(), hosts.len()), (300, 300));
    let known = |list: &[serde_json::Value], names: &dyn Fn(&serde_json::Value) -> bool| {
        list.iter().filter(|record| names(record)).count()
    };
    let lower = |value: &serde_json::Value| value.as_str().map(str::to_lowercase);
    let signin = parsed(Endpoint::Signin);
    let signin = signin["events"].as_array().unwrap();
    let by_email = |event: &serde_json::Value| {
        lower(&event["actor"]["alternateId"]).is_some_and(|mail| emails.contains(&mail))
    };
    let count = known(signin, &by_email);
    assert!((930..970).contains(&count), "{count} of {}", signin.len());
    let mail = parsed(Endpoint::Mail);
    let mail = mail["value"]["alerts"].as_array().unwrap();
    let recipient = |alert: &serde_json::Value, name: &str| lower(&alert["recipient"][name]);
    let by_email = |alert: &serde_json::Value| {
        recipient(alert, "mail").is_some_and(|mail| emails.contains(&mail))
    };
    let by_host = |alert: &serde_json::Value| {
        recipient(alert, "device")
            .is_some_and(|host| hosts.contains(host.strip_suffix(".corp.example").unwrap()))
    };
    let counts = (known(mail, &by_email), known(mail, &by_host));
    assert!((860..930).contains(&counts.0) && (60..110).contains(&counts.1), "{counts:?}");
}
