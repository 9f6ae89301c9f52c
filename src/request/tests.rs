//! Requests from templates.

use super::*;

fn times() -> RequestTimes {
    RequestTimes {
        now: "2026-03-02T11:00:00Z".parse().unwrap(),
        since: "2026-03-01T09:08:07Z".parse().unwrap(),
    }
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn base() -> Url {
    Url::parse("https://api.example.test:8443/v1/").unwrap()
}

fn request(path: &str) -> RequestTemplate {
    RequestTemplate { path: path.to_owned(), ..RequestTemplate::default() }
}

#[test]
fn a_path_stands_below_the_base_url() {
    let url = |request: &RequestTemplate| {
        request.render(&base(), &times()).unwrap().url.as_str().to_owned()
    };
    assert_eq!(url(&request("/logs")), "https://api.example.test:8443/v1/logs");
    let mut with_query = request("/logs");
    with_query.query = vec![
        ("since".to_owned(), template("{since}")),
        ("tag".to_owned(), template("a b")),
        ("tag".to_owned(), template("c")),
    ];
    assert_eq!(
        url(&with_query),
        "https://api.example.test:8443/v1/logs?since=2026-03-01T09%3A08%3A07Z&tag=a%20b&tag=c"
    );
}

#[test]
fn a_path_cannot_leave_the_upstream() {
    for path in ["logs", "", "@evil.example.test/", ".evil.example.test/"] {
        let base = Url::parse("https://api.example.test").unwrap();
        assert!(request(path).render(&base, &times()).is_err(), "{path}");
    }
}

#[test]
fn a_get_request_has_headers_and_no_body() {
    let headers = vec![
        (header::ACCEPT, template("application/json")),
        (HeaderName::from_static("x-since"), template("{since:unix}")),
    ];
    let rendered =
        RequestTemplate { headers, ..request("/logs") }.render(&base(), &times()).unwrap();
    assert_eq!((rendered.method, rendered.body), (Method::GET, None));
    assert_eq!(rendered.headers["x-since"], "1772356087");
    assert_eq!(rendered.headers.len(), 2);
    let headers = vec![(header::ACCEPT, template("a\nb"))];
    let wrong = RequestTemplate { headers, ..request("/") };
    assert!(wrong.render(&base(), &times()).unwrap_err().detail.contains("header accept"));
}

#[test]
fn a_body_makes_a_post_of_its_type() {
    let json = BodyTemplate::Json(JsonTemplate::Object(vec![(
        "from".to_owned(),
        JsonTemplate::String(template("{since:unix}")),
    )]));
    let form = BodyTemplate::Form(vec![
        ("search".to_owned(), template("index=a b")),
        ("earliest".to_owned(), template("{since:unix}")),
    ]);
    for (body, expected_type, expected) in [
        (json, "application/json", r#"{"from":1772356087}"#),
        (form, "application/x-www-form-urlencoded", "search=index%3Da%20b&earliest=1772356087"),
    ] {
        let mut posted = RequestTemplate { body: Some(body), ..request("/search") };
        assert!(posted.uses_since() && posted.uses_times());
        let rendered = posted.render(&base(), &times()).unwrap();
        assert_eq!(rendered.method, Method::POST);
        assert_eq!(rendered.headers[header::CONTENT_TYPE], expected_type);
        assert_eq!(rendered.body.unwrap(), expected);
        posted.headers.push((header::CONTENT_TYPE, template("application/vnd.api+json")));
        let rendered = posted.render(&base(), &times()).unwrap();
        assert_eq!(rendered.headers[header::CONTENT_TYPE], "application/vnd.api+json");
        assert_eq!(rendered.headers.len(), 1);
    }
}
