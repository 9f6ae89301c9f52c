//! Sign-in by users and tokens, over sockets: who is refused, how, and what becomes of their
//! credentials.

mod guessing;
mod hostile;
mod http2;

use tracing::Level;

use crate::support::captured_log::CapturedLog;
use crate::support::client::{Answer, Client};
use crate::support::protected_gateway::{ProtectedGateway, TOKENS, USERS, basic, bearer};

const BASIC_CHALLENGE: &str = r#"Basic realm="incident-gateway", charset="UTF-8""#;
const BEARER_CHALLENGE: &str = r#"Bearer realm="incident-gateway""#;
const INVALID_TOKEN: &str = r#"Bearer realm="incident-gateway", error="invalid_token""#;
const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="incident-gateway", error="insufficient_scope""#;

/// Paths of all routes but probes, and one of none.
const PATHS: [&str; 13] = [
    "/incidents",
    "/incidents?employee_id=100",
    "/incidents/100",
    "/unattributed",
    "/summary",
    "/history",
    "/history/summary",
    "/sources",
    "/openapi.json",
    "/",
    "/employees/100",
    "/employees/?employee_id=100",
    "/nowhere",
];

fn challenges(answer: &Answer) -> Vec<&str> {
    let fields = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
    fields.map(|(_, value)| value.as_str()).collect()
}

fn ops() -> String {
    bearer(TOKENS[0].1)
}

fn employee() -> String {
    bearer(TOKENS[1].1)
}

fn prometheus() -> String {
    bearer(TOKENS[2].1)
}

fn ann() -> String {
    basic(USERS[0].0, USERS[0].1)
}

/// How many sign-ins have failed for this reason.
async fn failures(protected: &ProtectedGateway, reason: &str) -> usize {
    let page = protected.gateway.admin("/metrics").await;
    let prefix = format!("incident_gateway_auth_failures_total{{reason=\"{reason}\"}} ");
    let count = page.text().lines().find_map(|line| line.strip_prefix(&prefix));
    count.unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_route_but_probes_needs_credentials() {
    let protected = ProtectedGateway::start("").await;
    for path in PATHS.into_iter().chain(["/events", "/assets/style.css", "/metrics", "/healthz/"]) {
        let answer = protected.gateway.get(path).await;
        assert_eq!((answer.status, answer.problem()), (401, "unauthorized".to_owned()), "{path}");
        assert_eq!(challenges(&answer), [BASIC_CHALLENGE, BEARER_CHALLENGE]);
        assert_eq!(answer.header("vary"), "Authorization");
        assert_eq!(answer.header("cache-control"), "no-store");
        for header in ["etag", "incident-completeness", "incident-sources", "age"] {
            assert_eq!(answer.header(header), "", "{path}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        for authorization in [ops(), "Bearer wrong".to_owned(), "Basic !".to_owned()] {
            assert_eq!(protected.get_as(&authorization, path).await.status, 200);
        }
        assert_eq!(protected.gateway.get(path).await.status, 200);
    }
    assert_eq!(failures(&protected, "missing").await, 17);
}

#[tokio::test]
async fn users_and_tokens_see_what_their_scopes_permit() {
    let protected = ProtectedGateway::start("").await;
    for authorization in [ops(), ann(), basic(USERS[1].0, USERS[1].1)] {
        for path in PATHS {
            // There is no store.
            let is_missing = path == "/nowhere" || path.starts_with("/history");
            let expected = if is_missing { 404 } else { 200 };
            let answer = protected.get_as(&authorization, path).await;
            assert_eq!(answer.status, expected, "{path}");
            let vary: Vec<_> = answer.header("vary").split(", ").collect();
            assert_eq!(vary.iter().filter(|name| **name == "Authorization").count(), 1, "{path}");
            assert!(!answer.header("cache-control").contains("public"), "{path}");
        }
    }
    for path in PATHS {
        let expected = match path {
            "/unattributed" => 403,
            "/nowhere" | "/history" | "/history/summary" => 404,
            _ => 200,
        };
        assert_eq!(protected.get_as(&employee(), path).await.status, expected, "{path}");
        let answer = protected.get_as(&prometheus(), path).await;
        assert_eq!((answer.status, answer.problem()), (403, "forbidden".to_owned()), "{path}");
        assert_eq!(challenges(&answer), [BASIC_CHALLENGE, INSUFFICIENT_SCOPE]);
    }
    for path in [
        "/incidents/200",
        "/incidents/nobody",
        "/incidents?employee_id=200",
        "/incidents?employee_id=100,200",
        "/incidents?employee_id=100&employee_id=%32%30%30",
        "/incidents?employee%5fid=200",
        "/summary?employee_id=200",
        "/history?employee_id=200",
        "/history/summary?employee_id=100,200",
        "/events?employee_id=200",
        "/?employee_id=200",
        "/employees/200",
        "/employees/%32%30%30",
        "/employees/?employee_id=200",
    ] {
        let answer = protected.get_as(&employee(), path).await;
        assert_eq!((answer.status, answer.problem()), (403, "forbidden".to_owned()), "{path}");
    }
    assert_eq!(protected.get_as(&employee(), "/incidents?employee_id=").await.status, 400);
    assert_eq!(protected.get_as(&employee(), "/incidents?employee_id=%ff").await.status, 400);
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let protected = ProtectedGateway::start("allowed_hosts: [ gateway.example, test ]\n").await;
    let address = protected.gateway.running.address;
    let ask = async |request: &str| {
        let mut client = Client::connect(address).await.unwrap();
        client.send(format!("{request}\r\n\r\n")).await.unwrap();
        let answer = client.answer().await.unwrap();
        let problem = if answer.status == 200 { String::new() } else { answer.problem() };
        format!("{} {problem}", answer.status)
    };
    let (ops, employee) = (ops(), employee());
    for (request, expected) in [
        // An invalid host, then another one, then credentials, then scope, then the rest.
        ("GET /incidents HTTP/1.1\r\nHost: a b".to_owned(), "400 invalid-host"),
        ("GET /incidents HTTP/1.1\r\nHost: evil.example".to_owned(), "421 misdirected"),
        (format!("POST /nowhere HTTP/1.1\r\nHost: a\r\nAuthorization: {ops}"), "421 misdirected"),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: test".to_owned(), "421 misdirected"),
        ("GET http://test@evil.example/ HTTP/1.1\r\nHost: test".to_owned(), "421 misdirected"),
        ("GET http://ops@test/ HTTP/1.1\r\nHost: test".to_owned(), "421 misdirected"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: test".to_owned(), "421 misdirected"),
        ("GET /incidents HTTP/1.0".to_owned(), "421 misdirected"),
        ("OPTIONS * HTTP/1.1\r\nHost: test".to_owned(), "401 unauthorized"),
        ("GET //healthz HTTP/1.1\r\nHost: test".to_owned(), "401 unauthorized"),
        ("GET /readyz/../incidents HTTP/1.1\r\nHost: test".to_owned(), "401 unauthorized"),
        ("POST /unattributed HTTP/1.1\r\nHost: test".to_owned(), "401 unauthorized"),
        ("GET /nowhere HTTP/1.1\r\nHost: GATEWAY.example".to_owned(), "401 unauthorized"),
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\nAuthorization: {ops}\r\nauthorization: {ops}"),
            "400 repeated-authorization",
        ),
        (
            format!("POST /unattributed HTTP/1.1\r\nHost: test\r\nAuthorization: {employee}"),
            "403 forbidden",
        ),
        (
            format!("POST /nowhere HTTP/1.1\r\nHost: test\r\nAuthorization: {employee}"),
            "404 not-found",
        ),
        (
            format!("POST /incidents HTTP/1.1\r\nHost: test\r\nAuthorization: {employee}"),
            "405 method-not-allowed",
        ),
        (format!("GET http://Test/summary HTTP/1.1\r\nHost: test\r\nAuthorization: {ops}"), "200 "),
        (format!("OPTIONS * HTTP/1.1\r\nHost: test\r\nAuthorization: {ops}"), "404 not-found"),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example".to_owned(), "200 "),
        ("GET /readyz HTTP/1.1\r\nHost: a b".to_owned(), "200 "),
    ] {
        assert_eq!(ask(&request).await, expected, "{request}");
    }
    // The admin listener is not known by these names.
    let metrics = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let mut client = Client::connect(protected.gateway.running.admin_address).await.unwrap();
    client.send(metrics).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn the_admin_listener_asks_for_credentials_only_if_configured() {
    for (yaml, expected) in [("", [200; 4]), ("admin: { auth: true }\n", [401, 403, 200, 200])] {
        let protected = ProtectedGateway::start(yaml).await;
        let admin = protected.gateway.running.admin_address;
        let mut statuses = Vec::new();
        for authorization in [None, Some(employee()), Some(prometheus()), Some(ann())] {
            let mut client = Client::connect(admin).await.unwrap();
            let headers: Vec<_> =
                authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
            statuses.push(client.get("/metrics", &headers).await.unwrap().status);
            assert_eq!(client.get("/readyz", &[]).await.unwrap().status, 200);
        }
        assert_eq!(statuses, expected, "{yaml}");
    }
}

#[tokio::test]
async fn the_log_names_who_has_signed_in_and_where_a_sign_in_failed() {
    let log = CapturedLog::new();
    let _guard = log.capture(Level::INFO);
    let protected = ProtectedGateway::start("").await;
    log.clear();
    for authorization in [ops(), ann(), employee(), prometheus(), bearer("wrong")] {
        protected.get_as(&authorization, "/unattributed").await;
    }
    protected.gateway.get("/unattributed").await;
    let lines: Vec<serde_json::Value> = log
        .text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone())
        .filter(|fields| fields["message"] == "request" && fields["route"] == "/unattributed")
        .collect();
    let expected = [
        (200, Some("ops"), Some("token")),
        (200, Some("ann"), Some("basic")),
        (403, Some("employee"), Some("token")),
        (403, Some("prometheus"), Some("token")),
        (401, None, None),
        (401, None, None),
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, (status, principal, auth)) in lines.iter().zip(expected) {
        assert_eq!(line["status"], status);
        assert_eq!(line.get("principal").and_then(serde_json::Value::as_str), principal);
        assert_eq!(line.get("auth").and_then(serde_json::Value::as_str), auth);
        let client = line.get("client").and_then(serde_json::Value::as_str);
        assert_eq!(client, (status == 401).then_some("127.0.0.1"), "{line}");
    }
}
