//! The pages, as they come from the server: what they show, what they escape, how large they are.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};
use incident_gateway::outcome::Outcome;
use incident_gateway::snapshot::SourceError;
use reqwest::Url;

use crate::support::snapshot_gateway::{Reply, SnapshotGateway};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

const MAX_PAGE_BYTES: usize = 100_000;

impl SnapshotGateway {
    async fn browse(&self, path: &str) -> Reply {
        self.get_with(path, &[BROWSER]).await
    }
}

/// Asserts what holds for every page.
fn check(reply: &Reply) {
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    assert!(
        reply
            .header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'self'; script-src 'self';")
    );
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("referrer-policy"), "same-origin");
    assert!(reply.body.len() < MAX_PAGE_BYTES, "{} bytes", reply.body.len());
    let text = reply.text();
    assert!(text.starts_with("<!DOCTYPE html>") && text.ends_with("</html>"));
    // The policy allows neither, so a page that had them would be broken.
    for inline in ["<style", " style=", " onclick", "javascript:"] {
        assert!(!text.contains(inline), "{inline}");
    }
    assert_eq!(text.matches("<script").count(), 1);
    assert_eq!(text.matches("<h1").count(), 1);
}

/// Employees in the order in which the page lists them.
fn listed(reply: &Reply) -> Vec<&str> {
    let employees = reply.text().split("class=\"employees\"").nth(1).unwrap_or_default();
    employees
        .split("href=\"./employees/")
        .skip(1)
        .map(|link| link.split(['"', '?']).next().unwrap())
        .collect()
}

fn records(records: &[(&str, &str, f64)]) -> String {
    let records = records.iter().map(|(id, priority, timestamp)| {
        format!(r#"{{"employee_id":"{id}","priority":"{priority}","timestamp":{timestamp}}}"#)
    });
    format!(r#"{{"results":[{}]}}"#, records.collect::<Vec<_>>().join(","))
}

#[tokio::test(start_paused = true)]
async fn employees_are_listed_by_urgency() {
    let misuse = records(&[
        ("lo", "low", 99.0),
        ("old", "critical", 1.0),
        ("old", "low", 98.0),
        ("new", "critical", 5.0),
        ("high", "high", 97.0),
        ("mid", "medium", 96.0),
        ("high2", "high", 97.5),
    ]);
    let gateway = SnapshotGateway::with(&[("misuse", &misuse)]);
    let page = gateway.browse("/").await;
    check(&page);
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(listed(&page), ["new", "old", "high2", "high", "mid", "lo"]);
    assert!(page.text().contains("Every source is fresh."));
    assert_eq!(page.header("incident-completeness"), "complete");
    // The filter holds for the list, and links carry it on.
    let low = gateway.browse("/?priority=low&type=misuse&employee_id=&since=&until=99").await;
    check(&low);
    assert_eq!(listed(&low), ["old"]);
    assert!(low.text().contains(
        r#"href="./employees/old?type=misuse&#38;priority=low&#38;until=1970-01-01T00%3A01%3A39Z""#
    ));
    assert!(low.text().contains(r#"name="priority" value="low" checked"#));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_the_upstream_sends_becomes_markup() {
    let evil = "<script>alert(1)</script>";
    let record = |id: &str, extra: &str| {
        format!(r#"{{"employee_id":"{id}","priority":"critical","timestamp":1e9{extra}}}"#)
    };
    let id = format!("{evil}\\\"'><img src=x onerror=y>");
    let extra =
        format!(r#","{evil}":"{evil}","x":["{evil}"],"y":"\" onclick=\"z","source_ip":"&lt;b>""#);
    let body = format!(r#"{{"results":[{},"{evil}"]}}"#, record(&id, &extra));
    let gateway = SnapshotGateway::with(&[("misuse", &body)]);
    let overview = gateway.browse("/").await;
    check(&overview);
    let text = overview.text();
    let link = text.split("href=\"./employees/").nth(1).unwrap().split('"').next().unwrap();
    assert!(!link.contains(['<', '>', '\'', '&']), "{link}");
    let own = gateway.browse(&format!("/employees/{link}")).await;
    assert_eq!(own.status, StatusCode::OK);
    assert!(own.text().contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    for page in [&overview, &own] {
        assert!(
            !page.text().contains("<script>")
                && !page.text().contains("<img")
                && !page.text().contains("onclick=\"")
        );
        assert!(page.body.len() < MAX_PAGE_BYTES);
    }
    let query = gateway.browse("/?employee_id=%3Cscript%3E%22&x=%3Cscript%3E").await;
    assert_eq!(query.status, StatusCode::BAD_REQUEST);
    check(&query);
    let filled = gateway.browse("/?employee_id=%3Cscript%3E%22").await;
    check(&filled);
    assert!(filled.text().contains(r#"value="&#60;script&#62;&#34;""#));
}

#[tokio::test(start_paused = true)]
async fn pages_say_when_data_is_stale_or_missing() {
    let gateway = SnapshotGateway::new();
    // Nothing has come, and every first attempt has failed.
    gateway.publish_states(|source| {
        source.was_attempted = true;
        source.next_attempt = Some(tokio::time::Instant::now() + Duration::from_secs(5));
    });
    let none = gateway.browse("/").await;
    assert_eq!(none.status, StatusCode::OK);
    assert!(none.text().contains("content=\"5\"") && none.text().contains("next attempt in 5 s"));
    check(&none);
    let without_preference = gateway.get("/").await;
    assert_eq!(without_preference.text(), none.text());

    let empty = r#"{"results":[]}"#;
    gateway.publish(
        None,
        vec![Some(empty), None, Some(empty), Some(empty), Some(empty), Some(empty), Some(empty)],
    );
    let partial = gateway.browse("/").await;
    check(&partial);
    assert!(partial.text().contains("There is no data from identities, intrusion."));
    assert!(partial.text().contains("No incidents"));
    gateway.publish(Some("{}"), vec![Some(empty); 7]);
    gateway.publish_states(|source| {
        if &*source.name == "probing" {
            source.consecutive_failures = 2;
            source.last_error =
                Some(SourceError { kind: Outcome::Connect, detail: "scripted".to_owned() });
        }
    });
    let stale = gateway.browse("/").await;
    check(&stale);
    assert!(
        stale.text().contains("probing could not be refreshed")
            && stale.text().contains("class=\"error\">connect")
    );
}

/// Asserts that a page says what it waits for, and that the browser loads it again.
fn check_waiting(reply: &Reply, expected: &[&str]) {
    check(reply);
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("cache-control"), "no-store");
    let (_, refresh) = reply.text().split_once(r#"<meta http-equiv="refresh" content=""#).unwrap();
    let seconds: u64 = refresh.split('"').next().unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    for text in expected.iter().chain(&["data-waiting"]) {
        assert!(reply.text().contains(text), "{text}: {}", reply.text());
    }
}

#[tokio::test(start_paused = true)]
async fn before_there_is_data_a_page_says_what_it_waits_for_at_once() {
    let gateway = SnapshotGateway::new();
    let started = tokio::time::Instant::now();
    let names = ["identities", "denial", "unauthorized", "being fetched"];
    for path in ["/", "/?priority=low&page=3", "/employees/7", "/employees/?employee_id=.."] {
        check_waiting(&gateway.browse(path).await, &names);
        let other = gateway.get_with(path, &[("accept", "application/json")]).await;
        assert_eq!(other.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(other.header("content-type"), "application/problem+json");
    }
    // Of identities alone there is nothing to show either.
    gateway.publish(Some("{}"), vec![None; 7]);
    check_waiting(&gateway.browse("/").await, &["class=\"state fresh\""]);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_employee_may_be_in_the_sources_that_are_missing() {
    let gateway = SnapshotGateway::new();
    let (empty, known) = (r#"{"results":[]}"#, records(&[("7", "low", 1.0)]));
    let mut bodies = vec![Some(empty); 7];
    bodies[3] = Some(&known);
    for (identities, missing) in [(None, "identities"), (Some("{}"), "intrusion")] {
        let mut bodies = bodies.clone();
        if identities.is_some() {
            bodies[1] = None;
        }
        gateway.publish(identities, bodies);
        check_waiting(&gateway.browse("/employees/8").await, &["employee", ">8<", missing]);
        let other = gateway.get_with("/employees/8", &[("accept", "application/json")]).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
        // What there is, is shown, and comes again by itself.
        for path in ["/", "/employees/7"] {
            let partial = gateway.browse(path).await;
            check(&partial);
            assert_eq!(partial.status, StatusCode::OK);
            assert!(partial.text().contains("http-equiv=\"refresh\""));
            assert!(!partial.text().contains("data-waiting"));
        }
    }
    gateway.publish(Some("{}"), bodies);
    let unknown = gateway.browse("/employees/8").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    check(&unknown);
    for page in [unknown, gateway.browse("/").await] {
        assert!(!page.text().contains("http-equiv=\"refresh\""));
    }
}

/// The URLs of a page's links, assets and form.
fn links(reply: &Reply) -> Vec<String> {
    let text = reply.text();
    let attributes = ["href=\"", "src=\"", "action=\""];
    let values = attributes.iter().flat_map(|attribute| text.split(attribute).skip(1));
    values.map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&")).collect()
}

/// What a proxy that serves the gateway below `/gateway/` would ask it for.
fn behind_prefix(base: &Url, link: &str) -> String {
    let url = base.join(link).unwrap();
    assert_eq!(url.host_str(), Some("proxy.test"), "{link} on {base}");
    let path = url.path().strip_prefix("/gateway").unwrap_or_else(|| panic!("{link} on {base}"));
    // Many proxies resolve what is escaped in a path, and then it must still be the same path.
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
    assert_eq!(decoded.matches('/').count(), path.matches('/').count(), "{link}");
    assert!(!decoded.split('/').any(|segment| matches!(segment, "." | "..")), "{link}");
    assert!(!decoded.contains(char::is_control), "{link:?}");
    url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

#[tokio::test(start_paused = true)]
async fn every_link_stays_below_the_path_that_a_proxy_serves_the_gateway_at() {
    let mut gateway = SnapshotGateway::with_fixtures();
    let base = Url::parse("http://proxy.test/gateway/").unwrap();
    let mut pages = vec!["/".to_owned(), "/?priority=low,high&type=misuse&page=2".to_owned()];
    let mut seen: HashSet<String> = pages.iter().cloned().collect();
    let (mut crawled, mut employees) = (0, 0);
    while let Some(path) = pages.pop() {
        let page = gateway.browse(&path).await;
        if !page.header("content-type").starts_with("text/html") {
            continue;
        }
        assert_eq!(page.status, StatusCode::OK, "{path}");
        crawled += 1;
        employees += usize::from(path.starts_with("/employees/"));
        let here = base.join(&format!(".{path}")).unwrap();
        for link in links(&page).iter().filter(|link| !link.starts_with('#')) {
            let path = behind_prefix(&here, link);
            if seen.len() < 600 && seen.insert(path.clone()) {
                pages.push(path);
            }
        }
    }
    assert!(crawled > 200 && employees > 50, "{crawled} pages, {employees} employees");
    // Pages without content, one on each level.
    for path in ["/?since=x", "/employees/nobody", "/employees/", "/employees/7?since=x"] {
        let page = gateway.browse(path).await;
        check(&page);
        assert_ne!(page.status, StatusCode::OK);
        let here = base.join(&format!(".{path}")).unwrap();
        for link in links(&page).iter().filter(|link| !link.starts_with('#')) {
            assert_eq!(gateway.browse(&behind_prefix(&here, link)).await.status, StatusCode::OK);
        }
    }
    gateway = SnapshotGateway::new();
    for path in ["/", "/employees/7"] {
        let here = base.join(&format!(".{path}")).unwrap();
        let page = gateway.browse(path).await;
        assert!(links(&page).iter().all(|link| behind_prefix(&here, link).starts_with('/')));
    }
}

#[tokio::test(start_paused = true)]
async fn any_employee_id_is_linked_and_has_a_page() {
    let ids = [
        "a/b",
        "/",
        "?",
        "#",
        "%",
        "%2F",
        "a b",
        ".",
        "..",
        "...",
        "",
        "a,b",
        "a/b,c",
        "\\",
        "../x",
        "a&b=c",
        "+",
        "<\"'>",
        "é 漢 😀",
        "\n\u{0}",
        "http://x/",
        "employees",
    ];
    let all: Vec<String> = ids
        .iter()
        .map(|id| {
            let id = serde_json::to_string(id).unwrap();
            format!(r#"{{"employee_id":{id},"priority":"low","timestamp":1,"note":"of {}"}}"#, "me")
        })
        .collect();
    let gateway =
        SnapshotGateway::with(&[("misuse", &format!(r#"{{"results":[{}]}}"#, all.join(",")))]);
    let base = Url::parse("http://proxy.test/gateway/").unwrap();
    let overview = gateway.browse("/").await;
    check(&overview);
    let list = overview.text().split("class=\"employees\"").nth(1).unwrap();
    let list = list.split("</table>").next().unwrap();
    let mut found = HashSet::new();
    for link in list.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let path = behind_prefix(&base, &link.replace("&#38;", "&"));
        let page = gateway.browse(&path).await;
        check(&page);
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let title = page.text().split("<h1>Employee <span class=\"id\">").nth(1).unwrap();
        let title = title.split("</span>").next().unwrap();
        let plain = title.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"");
        let plain = plain.replace("&#39;", "'").replace("&#38;", "&");
        // The link to the same as JSON works too, where there is one.
        let here = base.join(&format!(".{path}")).unwrap();
        if let Some(json) = page.text().split("Newest first. <a href=\"").nth(1) {
            let json = behind_prefix(&here, json.split('"').next().unwrap());
            let document = gateway.get(&json).await;
            assert_eq!(document.status, StatusCode::OK, "{json}");
            assert!(document.text().contains("of me"), "{json}");
        } else {
            assert!(matches!(plain.as_str(), "(empty id)" | "a/b,c"), "{plain}");
        }
        found.insert(plain);
    }
    let expected: HashSet<String> = ids
        .iter()
        .map(|id| match *id {
            "" => "(empty id)".to_owned(),
            // Control characters would not show.
            "\n\u{0}" => "\u{fffd}\u{fffd}".to_owned(),
            id => id.to_owned(),
        })
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn pages_stay_small_with_many_employees() {
    let mut body = String::from(r#"{"results":["#);
    for employee in 0..100_000_u32 {
        let priority = ["low", "medium", "high", "critical"][employee as usize % 4];
        let comma = if employee == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"employee_id":{employee},"priority":"{priority}","timestamp":{employee}}}"#
        )
        .unwrap();
    }
    let gateway = SnapshotGateway::with(&[("misuse", &(body + "]}"))]);
    let first = gateway.browse("/").await;
    check(&first);
    let employees = listed(&first);
    assert_eq!((employees.len(), employees[0], employees[49]), (50, "99999", "99803"));
    assert!(
        first.text().contains(r#"rel="next" href="./?page=2""#)
            && !first.text().contains("rel=\"prev\"")
    );
    let last = gateway.browse("/?page=2000").await;
    check(&last);
    assert_eq!(listed(&last).last(), Some(&"0"));
    assert!(
        last.text().contains("99951–100000 of 100000 employees")
            && !last.text().contains("rel=\"next\"")
    );
    assert_eq!(listed(&gateway.browse("/?page=2001").await), Vec::<&str>::new());
    for path in [
        "/?page=0",
        "/?page=x",
        "/?page",
        "/?priority=",
        "/?page=1&page=2",
        "/?page=99999999",
        "/employees/1?page=-1",
        "/employees/1?employee_id=2",
    ] {
        assert_eq!(gateway.browse(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_filter_is_not_repeated_in_every_link() {
    let misuse: Vec<(&str, &str, f64)> =
        (0..60).map(|hour| ("7", "low", f64::from(hour) * 3_600.0)).collect();
    let gateway = SnapshotGateway::with(&[("misuse", &records(&misuse))]);
    let short = gateway.browse("/").await;
    assert!(short.text().matches("since=1970").count() > 50, "each bar has links");
    let ids: Vec<String> = (0..5_000).map(|id| format!("{}{id}", "%3C")).collect();
    let query = format!("employee_id=7,{}", ids.join(","));
    let long = gateway.browse(&format!("/?{query}")).await;
    assert_eq!(long.status, StatusCode::OK);
    assert!(listed(&long).contains(&"7"));
    assert!(long.body.len() < 32 * query.len(), "{} bytes", long.body.len());
}

#[tokio::test(start_paused = true)]
async fn an_employees_page_lists_all_incidents_newest_first() {
    let mut misuse: Vec<(&str, &str, f64)> =
        (0..120).map(|second| ("7", "low", f64::from(second))).collect();
    misuse.push(("7", "critical", 60.5));
    let long = "x".repeat(5_000);
    let extra = format!(
        r#"{{"results":[{{"identifier":7,"priority":"high","timestamp":200,"note":"{long}","more":1}}]}}"#
    );
    let gateway = SnapshotGateway::with(&[("misuse", &records(&misuse)), ("other", &extra)]);
    let first = gateway.browse("/employees/7").await;
    check(&first);
    let times = |reply: &Reply| -> Vec<String> {
        let parts = reply.text().split("class=\"when\" role=\"cell\"><time datetime=\"").skip(1);
        parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let second = gateway.browse("/employees/7?page=2").await;
    let third = gateway.browse("/employees/7?page=3").await;
    let all: Vec<String> = [&first, &second, &third].into_iter().flat_map(times).collect();
    let mut ordered = all.clone();
    ordered.sort_by(|left, right| right.cmp(left));
    assert_eq!((all.len(), &all), (122, &ordered));
    assert!(first.text().contains(&"x".repeat(250)) && !first.text().contains(&"x".repeat(350)));
    let critical = gateway.browse("/employees/7?priority=critical").await;
    assert_eq!(times(&critical), ["1970-01-01T00:01:00.500Z"]);
    let unknown = gateway.browse("/employees/nobody").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    check(&unknown);
    assert_eq!(
        gateway.get("/employees/nobody").await.header("content-type"),
        "application/problem+json"
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_stays_small_whatever_the_records_are() {
    let wide: Vec<String> =
        (0..40).map(|field| format!(r#""field{field}<>&":"{}""#, "<&\\\">".repeat(200))).collect();
    let record = |id: usize| {
        let id = format!("{}{id}", "<".repeat(250));
        format!(
            r#"{{"employee_id":"{id}","priority":"critical","timestamp":{},{}}}"#,
            id.len(),
            wide.join(",")
        )
    };
    let other: Vec<String> = (1..61)
        .map(|second| record(0).replace("\"timestamp\":", &format!("\"timestamp\":{second}")))
        .collect();
    let body = format!(
        r#"{{"results":[{},{}]}}"#,
        (0..60).map(record).collect::<Vec<_>>().join(","),
        other.join(",")
    );
    let gateway = SnapshotGateway::with(&[("misuse", &body)]);
    check(&gateway.browse("/").await);
    let path = format!("/employees/{}0", "%3C".repeat(250));
    let own = gateway.browse(&path).await;
    assert_eq!(own.status, StatusCode::OK);
    check(&own);
}

#[tokio::test(start_paused = true)]
async fn assets_are_cacheable_and_other_methods_refused() {
    let gateway = SnapshotGateway::with_fixtures();
    let page = gateway.browse("/").await;
    for kind in ["page.css", "page.js", "icon.svg"] {
        let url = page
            .text()
            .split(&format!("\"./assets/{kind}"))
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let asset = gateway.get(&format!("/assets/{kind}{url}")).await;
        assert_eq!(asset.status, StatusCode::OK);
        let tag = asset.header("etag").to_owned();
        let again = gateway.get_with(&format!("/assets/{kind}"), &[("if-none-match", &tag)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    }
    assert_eq!(gateway.get("/assets/other.css").await.status, StatusCode::NOT_FOUND);
    for path in ["/", "/employees/1234", "/assets/page.css", "/openapi.json", "/summary"] {
        let head = gateway.ask(Method::HEAD, path, &[BROWSER]).await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        let post = gateway.ask(Method::POST, path, &[BROWSER]).await;
        assert_eq!(
            (post.status(), post.headers()["allow"].to_str().unwrap()),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
        );
    }
    for path in ["/employees/", "/employees/a/b", "/index.html", "/assets/"] {
        assert_eq!(gateway.browse(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let other = gateway.get_with("/", &[BROWSER, ("if-match", "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::PRECONDITION_FAILED);
    let gzip = gateway.get_with("/", &[BROWSER, ("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert!(gzip.body.len() * 3 < page.body.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_noticed_in_a_sources_data_is_said() {
    let gateway = SnapshotGateway::with(&[]);
    gateway.publish_states(|status| match &*status.name {
        "misuse" => {
            let values = ["NOTICE", "<i>\u{202e}", &"x".repeat(99), "7"];
            status.unmapped = values.map(|value| (value.to_owned(), 1)).into();
        }
        "denial" => status.truncated = true,
        "identities" => status.conflicts = 1,
        _ => {}
    });
    let page = gateway.browse("/").await;
    check(&page);
    let expected = format!("no priority for NOTICE, &#60;i&#62;\u{fffd}, {}…, …", "x".repeat(30));
    for note in [&expected, "it has more records than it sends", "1 key has two employees"] {
        assert!(page.text().contains(&format!("<bdi>{note}</bdi>")), "{note}");
    }
    assert_eq!(page.text().matches("class=\"note\"").count(), 3);
}
