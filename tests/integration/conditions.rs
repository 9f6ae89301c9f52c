//! Conditional requests and content negotiation, as callers see them.

use http::StatusCode;

use crate::support::snapshot_gateway::SnapshotGateway;

const MISUSE: &str = r#"{"results":[{"employee_id":7,"priority":"low","timestamp":1}]}"#;

#[tokio::test]
async fn conditions_hold_on_every_route_that_has_an_entity_tag() {
    let gateway = SnapshotGateway::with(&[("misuse", MISUSE)]);
    for path in [
        "/incidents",
        "/incidents?priority=low",
        "/incidents/7",
        "/unattributed",
        "/summary",
        "/openapi.json",
        "/assets/page.css",
        "/",
        "/employees/7",
    ] {
        let answer = gateway.get(path).await;
        let etag = answer.header("etag").to_owned();
        assert!(etag.starts_with('"'), "{path}: {etag}");
        let weak = format!("W/{etag}");
        let cases: &[(&[(&str, &str)], StatusCode)] = &[
            (&[("if-match", "\"x\"")], StatusCode::PRECONDITION_FAILED),
            (&[("if-match", &weak)], StatusCode::PRECONDITION_FAILED),
            (&[("if-match", &etag)], StatusCode::OK),
            (&[("if-match", "*")], StatusCode::OK),
            (&[("if-none-match", &weak)], StatusCode::NOT_MODIFIED),
            (&[("if-none-match", "*")], StatusCode::NOT_MODIFIED),
            (&[("if-none-match", "\"x\"")], StatusCode::OK),
            (&[("if-match", &etag), ("if-none-match", &etag)], StatusCode::NOT_MODIFIED),
            (&[("if-match", "\"x\""), ("if-none-match", &etag)], StatusCode::PRECONDITION_FAILED),
            (&[("if-modified-since", "Sat, 01 Jan 2050 00:00:00 GMT")], StatusCode::OK),
        ];
        for (headers, expected) in cases {
            let answer = gateway.get_with(path, headers).await;
            assert_eq!(answer.status, *expected, "{path} {headers:?}");
            match *expected {
                StatusCode::NOT_MODIFIED => {
                    assert_eq!((answer.header("etag"), answer.body.len()), (&*etag, 0));
                }
                StatusCode::PRECONDITION_FAILED => assert_eq!(
                    answer.json()["type"],
                    "urn:incident-gateway:problem:precondition-failed"
                ),
                _ => assert_eq!(answer.header("etag"), etag),
            }
        }
    }
    // Conditions do not apply to errors.
    assert_eq!(gateway.get_with("/incidents/8", &[("if-match", "\"x\"")]).await.status, 404);
}

#[tokio::test]
async fn excluded_formats_and_codings_are_not_sent() {
    let gateway = SnapshotGateway::with(&[("misuse", MISUSE)]);
    let negotiated = async |headers: &[(&str, &str)]| {
        let answer = gateway.get_with("/incidents", headers).await;
        let content_type = answer.header("content-type").split(';').next().unwrap().to_owned();
        (answer.status.as_u16(), content_type, answer.header("content-encoding").to_owned())
    };
    let ndjson = || (200, "application/x-ndjson".to_owned(), String::new());
    assert_eq!(negotiated(&[("accept", "application/json;q=0, */*")]).await, ndjson());
    let refused = (406, "application/problem+json".to_owned(), String::new());
    assert_eq!(negotiated(&[("accept", "*/*;q=0")]).await, refused);
    assert_eq!(negotiated(&[("accept-encoding", "identity;q=0")]).await, refused);
    let (status, _, coding) = negotiated(&[("accept-encoding", "Identity;q=0, GZIP")]).await;
    assert_eq!((status, &*coding), (200, "gzip"));
}
