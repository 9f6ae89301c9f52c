//! How lists of every kind are followed, and pages that mislead.

mod lists;

use http::HeaderValue;
use http::header::LINK;

use super::*;
use crate::request::{BodyTemplate, JsonPointer, JsonTemplate, Template};

const BASE: &str = "https://api.example.test/v1";

fn times() -> RequestTimes {
    RequestTimes {
        now: "2026-03-02T11:00:00Z".parse().unwrap(),
        since: "2026-03-01T09:08:07Z".parse().unwrap(),
    }
}

fn query(name: &str) -> Target {
    Target::Query(name.to_owned())
}

fn body(pointer: &str) -> Target {
    Target::Body(JsonPointer::parse(pointer).unwrap())
}

/// A request for this address below the base URL.
fn get(address: &str) -> RequestTemplate {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), Template::literal(value))).collect();
    RequestTemplate { path: path.to_owned(), query, ..RequestTemplate::default() }
}

fn post_json(members: &[(&str, &str)]) -> RequestTemplate {
    let member = |(name, json): &(&str, &str)| {
        ((*name).to_owned(), JsonTemplate::Literal((*json).to_owned()))
    };
    let json = JsonTemplate::Object(members.iter().map(member).collect());
    RequestTemplate { body: Some(BodyTemplate::Json(json)), ..get("/search") }
}

fn post_form(fields: &[(&str, &str)]) -> RequestTemplate {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), Template::literal(value));
    let form = BodyTemplate::Form(fields.iter().map(field).collect());
    RequestTemplate { body: Some(form), ..get("/search") }
}

fn pager(template: &RequestTemplate, next: &NextPage, max_pages: usize) -> Pager {
    Pager::new(template, Some(next), &Url::parse(BASE).unwrap(), times(), max_pages).unwrap()
}

/// What a simulated page holds.
#[derive(Clone, Default)]
struct Page {
    records: usize,
    next: Option<String>,
    more: Option<String>,
    link: Option<String>,
}

fn page(next: &str) -> Page {
    Page { records: 1, next: Some(next.to_owned()), ..Page::default() }
}

/// The request after `asked`, which was answered by this page.
fn after(pager: &mut Pager, asked: &Request, page: &Page) -> Result<Option<Request>, PagesError> {
    let mut headers = HeaderMap::new();
    if let Some(link) = &page.link {
        headers.insert(LINK, HeaderValue::from_str(link).unwrap());
    }
    let facts = PageFacts {
        url: &asked.url,
        headers: &headers,
        records: page.records,
        next: page.next.as_deref(),
        more: page.more.as_deref(),
    };
    pager.next(&facts)
}

/// Where each request goes, without the base URL, and its body; of a list with these pages.
fn asked(template: &RequestTemplate, next: &NextPage, answers: &[Page]) -> Vec<String> {
    let mut pager = pager(template, next, 100);
    let mut request = pager.first();
    let mut asked = Vec::new();
    let mut answers = answers.iter();
    loop {
        let body = request.body.as_ref().map_or("", |body| std::str::from_utf8(body).unwrap());
        let address = request.url.as_str().strip_prefix(BASE).unwrap();
        asked.push(format!("{address} {body}").trim_end().to_owned());
        let Some(page) = answers.next() else { return asked };
        match after(&mut pager, &request, page).unwrap() {
            Some(next) => request = next,
            None => {
                assert_eq!(answers.len(), 0, "the list ended early");
                return asked;
            }
        }
    }
}

#[test]
fn links_and_addresses_are_followed_to_their_end() {
    let path = Path::name("next");
    let link =
        |target: &str| Page { link: Some(format!("<{target}>; rel=\"next\"")), ..Page::default() };
    let template = get("/logs?limit=2");
    for (next, pages) in [
        (NextPage::Link, [link("?after=1"), link("/other"), Page::default()]),
        (NextPage::Url(path), [page("\"?after=1\""), page("\"\\/other\""), page("null")]),
    ] {
        let mut pager = pager(&template, &next, 9);
        let first = pager.first();
        let second = after(&mut pager, &first, &pages[0]).unwrap().unwrap();
        assert_eq!(second.url.as_str(), "https://api.example.test/v1/logs?after=1");
        let third = after(&mut pager, &second, &pages[1]).unwrap().unwrap();
        assert_eq!(third.url.as_str(), "https://api.example.test/other");
        assert_eq!(after(&mut pager, &third, &pages[2]).unwrap(), None);
        assert_eq!(pager.pages(), 3);
    }
}

#[test]
fn a_next_address_keeps_method_headers_and_body() {
    let mut template = post_json(&[("a", "1")]);
    template.headers.push((http::header::ACCEPT, Template::literal("application/json")));
    let mut pager = pager(&template, &NextPage::Url(Path::name("next")), 9);
    let first = pager.first();
    let second = after(&mut pager, &first, &page("\"/v1/search?p=2#part\"")).unwrap().unwrap();
    let url = Url::parse("https://api.example.test/v1/search?p=2").unwrap();
    assert_eq!(second, Request { url, ..first });
}

#[test]
fn an_address_that_was_seen_ends_the_list() {
    let mut pager = pager(&get("/logs"), &NextPage::Url(Path::name("next")), 9);
    let first = pager.first();
    let second = after(&mut pager, &first, &page("\"?p=2\"")).unwrap().unwrap();
    for again in ["\"\"", "\"?p=2\"", "\"/v1/logs\"", "\"logs#x\"", "\"/V1/../v1/logs\""] {
        let mut pager = pager.clone();
        assert_eq!(after(&mut pager, &second, &page(again)).unwrap(), None, "{again}");
        assert_eq!(pager.is_repeated(), again != "\"\"", "{again}");
    }
    let mut moved = second.clone();
    moved.url = Url::parse("https://api.example.test/moved").unwrap();
    let to_itself = page("\"https://api.example.test/moved\"");
    assert_eq!(after(&mut pager, &moved, &to_itself).unwrap(), None);
    assert!(pager.is_repeated());
}

#[test]
fn the_same_address_in_another_spelling_was_seen() {
    let mut template = get("/logs");
    let since = Template::parse("{since}").unwrap();
    template.query =
        vec![("since".to_owned(), since), ("filter".to_owned(), Template::literal("a b+c&d"))];
    let mut pager = pager(&template, &NextPage::Url(Path::name("next")), 9);
    let first = pager.first();
    assert_eq!(first.url.query(), Some("since=2026-03-01T09%3A08%3A07Z&filter=a%20b%2Bc%26d"));
    let itself = "\"/v1/%6Cogs?since=2026-03-01T09:08:07Z&filter=a+b%2bc%26d\"";
    assert_eq!(after(&mut pager.clone(), &first, &page(itself)).unwrap(), None);
    for other in ["filter=a+b+c%26d", "filter=a+b%2bc&d", "filter=%FE", "filter=%FF"] {
        let other = format!("\"/v1/logs?since=2026-03-01T09:08:07Z&{other}\"");
        assert!(after(&mut pager, &first, &page(&other)).unwrap().is_some(), "{other}");
    }
}

#[test]
fn an_address_elsewhere_fails_the_list() {
    let path = Path::name("next");
    for (next, expected) in [
        ("\"http://api.example.test/v1/logs?p=2\"", "another scheme"),
        ("\"https://api.example.test:444/\"", "another scheme"),
        ("\"https://evil.example/\"", "another scheme"),
        ("\"//evil.example/\"", "another scheme"),
        ("\"\\\\\\\\evil.example/\"", "another scheme"),
        ("\"https://api.example.test@evil.example/\"", "another scheme"),
        ("\"ftp://api.example.test/\"", "another scheme"),
        ("\"data:text/plain,x\"", "another scheme"),
        ("\"https://user@api.example.test/p2\"", "user information"),
        ("\"https://:x@api.example.test/p2\"", "user information"),
        ("\"https://[\"", "no URL"),
        ("7", "`next` is no address"),
        ("true", "`next` is no address"),
        ("{\"href\":\"/p2\"}", "`next` is no address"),
        ("\"\\ud800\"", "`next` is no address"),
        (&format!("\"{}\"", "a".repeat(9000)), "8192 bytes"),
    ] {
        let mut pager = pager(&get("/logs"), &NextPage::Url(path.clone()), 9);
        let first = pager.first();
        let error = after(&mut pager, &first, &page(next)).unwrap_err();
        assert!(error.detail.contains(expected), "{next}: {error}");
        assert!(!error.detail.contains("evil"), "nothing of the answer is quoted");
    }
    for end in ["null", "false", "\"\""] {
        let mut pager = pager(&get("/logs"), &NextPage::Url(path.clone()), 9);
        let first = pager.first();
        assert_eq!(after(&mut pager, &first, &page(end)).unwrap(), None, "{end}");
    }
}

#[test]
fn a_cursor_of_any_kind_goes_where_it_belongs() {
    let at = Path::name("cursor");
    let to = |to| NextPage::Cursor { at: at.clone(), to };
    let pages = [page("\"a\\/b=\""), page("1.50"), page("[1, \"x\"]"), page("{}")];
    let template = get("/logs?limit=2&cursor=0");
    assert_eq!(
        asked(&template, &to(query("cursor")), &pages),
        [
            "/logs?limit=2&cursor=0",
            "/logs?limit=2&cursor=a%2Fb%3D",
            "/logs?limit=2&cursor=1.50",
            "/logs?limit=2&cursor=%5B1%2C%22x%22%5D"
        ]
    );
    let form = post_form(&[("cursor", "0"), ("limit", "2"), ("cursor", "1")]);
    assert_eq!(
        asked(&form, &to(Target::Form("cursor".to_owned())), &pages),
        [
            "/search cursor=0&limit=2&cursor=1",
            "/search cursor=a%2Fb%3D&limit=2",
            "/search cursor=1.50&limit=2",
            "/search cursor=%5B1%2C%22x%22%5D&limit=2"
        ]
    );
    let json = post_json(&[("size", "2")]);
    assert_eq!(
        asked(&json, &to(body("/search_after")), &pages),
        [
            "/search {\"size\":2}",
            "/search {\"size\":2,\"search_after\":\"a\\/b=\"}",
            "/search {\"size\":2,\"search_after\":1.50}",
            "/search {\"size\":2,\"search_after\":[1,\"x\"]}"
        ]
    );
}

#[test]
fn a_cursor_that_was_seen_or_is_empty_ends_the_list() {
    let next = NextPage::Cursor { at: Path::name("cursor"), to: query("cursor") };
    let mut template = get("/logs");
    template.query.push(("cursor".to_owned(), Template::literal("*")));
    let mut pager = pager(&template, &next, 9);
    let first = pager.first();
    let second = after(&mut pager, &first, &page("\"a\"")).unwrap().unwrap();
    assert_eq!(second.url.query(), Some("cursor=a"));
    for end in ["\"*\"", "\"a\"", " \"\\u0061\"", "null", "false", "\"\"", "{ }", "[ ]"] {
        let mut pager = pager.clone();
        assert_eq!(after(&mut pager, &second, &page(end)).unwrap(), None, "{end}");
        assert_eq!(pager.is_repeated(), end.contains(['*', 'a', '\\']) && end != "false", "{end}");
    }
    let absent = Page { records: 5, ..Page::default() };
    assert_eq!(after(&mut pager.clone(), &second, &absent).unwrap(), None);
    let empty = Page { records: 0, ..page("\"b\"") };
    let third = after(&mut pager, &second, &empty).unwrap().unwrap();
    assert_eq!(third.url.query(), Some("cursor=b"), "an empty page does not end such a list");
    for wrong in [r#""\ud800""#.to_owned(), format!("\"{}\"", "a".repeat(70_000))] {
        assert!(after(&mut pager.clone(), &third, &page(&wrong)).is_err());
    }
    let long = page(&format!("\"{}\"", "a".repeat(9000)));
    assert!(after(&mut pager, &third, &long).unwrap_err().detail.contains("8192 bytes"));
}

#[test]
fn offsets_advance_by_the_records_that_came() {
    let offset = |at, end, more: Option<&str>| NextPage::Offset {
        at,
        size: 3,
        end,
        more: more.map(Path::name),
    };
    let came = |records, more: Option<&str>| Page {
        records,
        more: more.map(str::to_owned),
        ..Page::default()
    };
    assert_eq!(
        asked(
            &get("/logs"),
            &offset(query("skip"), None, None),
            &[came(3, None), came(3, None), came(2, None)]
        ),
        ["/logs?skip=0", "/logs?skip=3", "/logs?skip=6"]
    );
    assert_eq!(
        asked(
            &get("/logs?skip=0"),
            &offset(query("skip"), None, Some("more")),
            &[came(2, Some("true")), came(1, None), came(3, Some("false"))]
        ),
        ["/logs?skip=0", "/logs?skip=2", "/logs?skip=3"],
        "with `more`, a short page ends nothing"
    );
    let json = post_json(&[("search_from", "0")]);
    let next = offset(body("/search_from"), Some(body("/search_to")), None);
    assert_eq!(
        asked(&json, &next, &[came(3, None), came(0, None)]),
        [
            "/search {\"search_from\":0,\"search_to\":3}",
            "/search {\"search_from\":3,\"search_to\":6}"
        ]
    );
    let strings = post_json(&[("from", "\"5\"")]);
    assert_eq!(
        asked(&strings, &offset(body("/from"), None, None), &[came(3, None), came(0, None)]),
        ["/search {\"from\":\"5\"}", "/search {\"from\":\"8\"}"]
    );
    let mut from_ten = get("/logs");
    from_ten.query.push(("skip".to_owned(), Template::literal("10")));
    assert_eq!(
        asked(&from_ten, &offset(query("skip"), None, None), &[came(3, None), came(0, None)]),
        ["/logs?skip=10", "/logs?skip=13"]
    );
}

#[test]
fn page_numbers_count_from_the_first() {
    let number = |first, size, more: Option<&str>| NextPage::Number {
        at: query("page"),
        first,
        size,
        more: more.map(Path::name),
    };
    let came = |records| Page { records, ..Page::default() };
    let more = |more: &str| Page { more: Some(more.to_owned()), ..came(1) };
    for (next, pages, expected) in [
        (number(1, None, None), &[came(5), came(1), came(0)][..], &["1", "2", "3"][..]),
        (number(0, Some(5), None), &[came(5), came(4)], &["0", "1"]),
        (number(1, Some(5), None), &[came(5), came(0)], &["1", "2"]),
        (number(1, Some(5), Some("m")), &[more("true"), more("false")], &["1", "2"]),
        (number(1, Some(5), Some("m")), &[more("true"), came(0)], &["1", "2"]),
    ] {
        let expected: Vec<_> = expected.iter().map(|page| format!("/logs?page={page}")).collect();
        assert_eq!(asked(&get("/logs"), &next, pages), expected, "{next:?}");
    }
}

#[test]
fn more_pages_than_allowed_fail_the_list() {
    let next = NextPage::Number { at: query("page"), first: 1, size: Some(1), more: None };
    let full = Page { records: 1, ..Page::default() };
    let mut few = pager(&get("/logs"), &next, 2);
    let first = few.first();
    let second = after(&mut few, &first, &full).unwrap().unwrap();
    assert_eq!(after(&mut few.clone(), &second, &Page::default()).unwrap(), None);
    let error = after(&mut few, &second, &full).unwrap_err();
    assert!(error.detail.contains("max_pages (2)"), "{error}");
}

#[test]
fn a_target_that_the_request_does_not_have_or_that_holds_no_number_is_refused() {
    let base = Url::parse(BASE).unwrap();
    let cursor = |to| NextPage::Cursor { at: Path::name("c"), to };
    let offset = |at| NextPage::Offset { at, size: 1, end: None, more: None };
    for (template, next) in [
        (get("/"), cursor(body("/c"))),
        (get("/"), cursor(Target::Form("c".to_owned()))),
        (post_form(&[]), cursor(body("/c"))),
        (post_json(&[("a", "1")]), cursor(body("/a/b"))),
        (post_json(&[("a", "1")]), offset(body("/a/b"))),
        (post_json(&[]), offset(Target::Form("c".to_owned()))),
        (get("/?skip=x"), offset(query("skip"))),
        (post_json(&[("from", "[0]")]), offset(body("/from"))),
    ] {
        assert!(Pager::new(&template, Some(&next), &base, times(), 9).is_err(), "{next:?}");
    }
}

#[test]
fn a_list_without_next_has_one_page() {
    let base = Url::parse(BASE).unwrap();
    let mut pager = Pager::new(&get("/logs"), None, &base, times(), 1).unwrap();
    let first = pager.first();
    assert_eq!(after(&mut pager, &first, &page("\"/p2\"")).unwrap(), None);
}
