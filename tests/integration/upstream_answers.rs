//! Requests of any method, and what is kept of their answers, over real sockets.

use http::{HeaderMap, HeaderValue, Method, header};
use incident_gateway::config;
use incident_gateway::outcome::Outcome;
use incident_gateway::request::Request;
use incident_gateway::upstream::CallContext;

use crate::support::one_source::{GOOD, OneSource, PATH, get, one_source, settings};
use crate::support::scripted_upstream::{Reply, Script, ScriptedUpstream};

fn with_header(request: Request, name: header::HeaderName, value: &'static str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_static(value));
    Request { headers, ..request }
}

#[tokio::test]
async fn a_post_is_sent_with_its_headers_and_its_body() {
    let (server, source) = one_source().await;
    let path = "/incidents/denial/?limit=5&tag=a%20b";
    server.script(path, Script::json(GOOD));
    let request = with_header(
        get(&source.upstream, path),
        header::CONTENT_TYPE,
        "application/x-www-form-urlencoded",
    );
    let body = Some("search=a%26b&output=json".into());
    let request = Request { method: Method::POST, body, ..request };
    let answer = source.send(request, CallContext::default()).await.unwrap();
    assert_eq!(answer.accept(), GOOD);
    let seen = server.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", path));
    assert_eq!(seen.body, "search=a%26b&output=json");
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.header("content-length"), Some("24"));
    assert_eq!(seen.header("accept"), Some("application/json"));
}

#[tokio::test]
async fn a_post_on_a_pooled_connection_that_was_closed_is_sent_again() {
    let (server, source) = one_source().await;
    server.script_each(PATH, [Script::json(GOOD), Script::Close, Script::json(GOOD)]);
    for _ in 0..2 {
        let request = get(&source.upstream, PATH);
        let request = Request { method: Method::POST, body: Some("{}".into()), ..request };
        let answer = source.send(request, CallContext::default()).await.unwrap();
        assert_eq!((answer.attempts(), answer.accept()), (1, GOOD.into()));
    }
    assert_eq!(server.calls(PATH), 3);
    assert!(server.seen().iter().all(|seen| seen.body == "{}"));
}

#[tokio::test]
async fn a_sources_own_headers_replace_the_defaults_but_not_the_credentials() {
    let (server, source) = one_source().await;
    server.script(PATH, Script::json(GOOD));
    let mut request =
        with_header(get(&source.upstream, PATH), header::ACCEPT, "application/vnd.github+json");
    request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("own"));
    let answer = source.send(request, CallContext::default()).await.unwrap();
    let _ = answer.accept();
    let seen = server.seen().remove(0);
    assert_eq!(seen.header("accept"), Some("application/vnd.github+json"));
    let authorization: Vec<_> =
        seen.headers.iter().filter(|(name, _)| name == "authorization").collect();
    assert!(authorization.len() == 1 && authorization[0].1.starts_with("Basic "));
}

#[tokio::test]
async fn an_answer_has_its_final_address_and_the_headers_of_pages_and_conditions() {
    let (server, source) = one_source().await;
    server.script(PATH, Script::Redirect("/moved/?page=1".to_owned()));
    let reply = Reply::json(GOOD)
        .header("Link", "<?page=2>; rel=\"next\"")
        .header("Link", "<?page=9>; rel=\"last\"")
        .header("ETag", "W/\"7\"")
        .header("Last-Modified", "Mon, 02 Mar 2026 11:00:00 GMT")
        .header("Set-Cookie", "session=1");
    server.script("/moved/?page=1", reply);
    let answer = source.call(CallContext::default()).await.unwrap();
    assert_eq!(answer.url().as_str(), format!("{}/moved/?page=1", server.base_url()));
    let links: Vec<_> = answer.headers().get_all(header::LINK).iter().collect();
    assert_eq!(links, ["<?page=2>; rel=\"next\"", "<?page=9>; rel=\"last\""]);
    assert_eq!(answer.headers()[header::ETAG], "W/\"7\"");
    assert_eq!(answer.headers()[header::LAST_MODIFIED], "Mon, 02 Mar 2026 11:00:00 GMT");
    assert_eq!(answer.headers().len(), 4);
    assert!(!answer.is_not_modified());
    let _ = answer.accept();
}

#[tokio::test]
async fn a_304_is_good_where_a_condition_was_sent() {
    let (server, source) = one_source().await;
    let unchanged = Reply { status: 304, body: Vec::new(), ..Reply::json("") };
    server.script(PATH, unchanged.header("Content-Encoding", "gzip").header("ETag", "\"7\""));
    let conditions = [
        (header::IF_NONE_MATCH, "\"7\""),
        (header::IF_MODIFIED_SINCE, "Mon, 02 Mar 2026 11:00:00 GMT"),
    ];
    for (name, value) in conditions {
        let request = with_header(get(&source.upstream, PATH), name, value);
        let answer = source.send(request, CallContext::default()).await.unwrap();
        assert!(answer.is_not_modified() && answer.headers().contains_key(header::ETAG));
        assert_eq!(answer.accept(), "");
    }
    let error = source.fetch().await.unwrap_err();
    assert_eq!((error.kind, error.status.unwrap().as_u16()), (Outcome::Status, 304));
}

#[tokio::test]
async fn a_redirected_post_fails_and_is_not_sent_on() {
    let (server, source) = one_source().await;
    server.script(PATH, Script::Redirect("/moved/".to_owned()));
    server.script("/moved/", Script::json(GOOD));
    let request = get(&source.upstream, PATH);
    let request = Request { method: Method::POST, body: Some("{}".into()), ..request };
    let error = source.send(request, CallContext::default()).await.unwrap_err();
    assert_eq!(error.kind, Outcome::Status);
    assert!(error.detail.contains("redirects a POST request"), "{error}");
    assert_eq!(server.calls("/moved/"), 0);
}

#[tokio::test]
async fn a_page_elsewhere_is_not_asked_for() {
    let (server, source) = one_source().await;
    let elsewhere = ScriptedUpstream::start().await;
    elsewhere.script("/next", Script::json(GOOD));
    let port = server.address().port();
    for url in [
        format!("{}/next", elsewhere.base_url()),
        format!("http://localhost:{port}/next"),
        format!("https://127.0.0.1:{port}/next"),
    ] {
        let request = Request::get(url.parse().unwrap());
        let error = source.send(request, CallContext::default()).await.unwrap_err();
        assert_eq!(error.kind, Outcome::Pages, "{url}");
        assert!(error.detail.contains("upstream.base_url"), "{error}");
    }
    assert_eq!((server.connections(), elsewhere.connections()), (0, 0));
}

#[tokio::test]
async fn a_page_may_have_what_the_pages_before_have_left() {
    let server = ScriptedUpstream::start().await;
    let max_body = 1000;
    let source =
        OneSource::of("okta", &config::Upstream { max_body, ..settings(&server.base_url()) });
    server.script(PATH, Script::json(vec![b' '; 600]));
    let left = |max_body| CallContext { max_body, ..CallContext::default() };
    let _ = source.call(left(600)).await.unwrap().accept();
    let error = source.call(left(599)).await.unwrap_err();
    let expected = "the pages are larger than upstreams.okta.max_body allows (1000 bytes)";
    assert_eq!((error.kind, error.detail.as_str()), (Outcome::TooLarge, expected));
    server.script(PATH, Script::json(vec![b' '; 1001]));
    let error = source.call(CallContext::default()).await.unwrap_err();
    let expected = "the body is larger than upstreams.okta.max_body allows (1000 bytes)";
    assert_eq!((error.kind, error.detail.as_str()), (Outcome::TooLarge, expected));
}
