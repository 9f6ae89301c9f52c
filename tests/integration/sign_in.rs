//! Sign-in by users and tokens, over sockets: who is refused, how, and what becomes of their
//! credentials.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use tracing::Level;

use crate::support::captured_log::{CapturedLog, ONE_AT_A_TIME};
use crate::support::client::{Answer, Client};
use crate::support::protected_gateway::{
    ProtectedGateway, TOKENS, USERS, basic, bearer, loopback, sha256,
};

const BASIC_CHALLENGE: &str = r#"Basic realm="incident-gateway", charset="UTF-8""#;
const BEARER_CHALLENGE: &str = r#"Bearer realm="incident-gateway""#;
const INVALID_TOKEN: &str = r#"Bearer realm="incident-gateway", error="invalid_token""#;
const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="incident-gateway", error="insufficient_scope""#;

/// Paths of all routes but probes, and one of none.
const PATHS: [&str; 11] = [
    "/incidents",
    "/incidents?employee_id=100",
    "/incidents/100",
    "/unattributed",
    "/summary",
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
    assert_eq!(failures(&protected, "missing").await, 15);
}

#[tokio::test]
async fn users_and_tokens_see_what_their_scopes_permit() {
    let protected = ProtectedGateway::start("").await;
    for authorization in [ops(), ann(), basic(USERS[1].0, USERS[1].1)] {
        for path in PATHS {
            let expected = if path == "/nowhere" { 404 } else { 200 };
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
            "/nowhere" => 404,
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

/// Values of `Authorization` that are not valid, many of them almost.
fn hostile_values() -> Vec<Vec<u8>> {
    let (user, password) = USERS[0];
    let pair = format!("{user}:{password}");
    let token = TOKENS[0].1;
    let encoded = STANDARD.encode(&pair);
    // Wrong whatever the scheme.
    let credentials: Vec<Vec<u8>> = [
        encoded.trim_end_matches('=').to_owned() + "=x",
        STANDARD.encode(format!("{user}:{password} ")),
        STANDARD.encode(format!("{user} :{password}")),
        STANDARD.encode(format!("{password}:{user}")),
        STANDARD.encode(format!("{user}{password}")),
        STANDARD.encode(format!("{user}:{password}\0")),
        STANDARD.encode(format!("{user}\0:{password}")),
        STANDARD.encode(format!("{user}:{password}\r\n")),
        STANDARD.encode(format!("{user}:{password}{}", "x".repeat(100))),
        STANDARD.encode(format!("{user}:{}", "x".repeat(73))),
        STANDARD.encode(pair.to_uppercase()),
        STANDARD.encode(&encoded),
        STANDARD.encode([b"\xff\xfe:", pair.as_bytes()].concat()),
        STANDARD.encode(b"Zo\xeb:\xef\xe0\xf0\xee\xeb\xfc"),
        STANDARD.encode("Zoe\u{308}:пароль"),
        STANDARD.encode(":"),
        STANDARD.encode(format!(":{password}")),
        STANDARD.encode(format!("{user}:")),
        format!("{encoded}="),
        format!("{encoded}===="),
        format!("{encoded},"),
        format!("{encoded} {encoded}"),
        format!("{encoded}, Bearer {token}"),
        format!("\"{encoded}\""),
        format!("={encoded}"),
        format!("{encoded}\t{encoded}"),
        encoded.to_lowercase(),
        encoded.chars().rev().collect(),
        pair.clone(),
        format!("{token}x"),
        format!("x{token}"),
        token.to_uppercase(),
        token[1..].to_owned(),
        format!("{token} {token}"),
        format!("{token}, {token}"),
        format!("{token}\t."),
        format!("\"{token}\""),
        format!("token={token}"),
        format!("{token}="),
        sha256(token),
        STANDARD.encode(token),
        USERS[1].0.to_owned(),
        "é".to_owned(),
        "*".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcHMifQ.".to_owned(),
        "' OR 1=1 --".to_owned(),
        "%00".to_owned(),
        "${jndi:ldap://127.0.0.1/a}".to_owned(),
        "x".repeat(15 << 10),
        "x".repeat(17 << 10),
        "=".repeat(40 << 10),
    ]
    .map(String::into_bytes)
    .into_iter()
    .chain([b"\xff\xfe\xfd".to_vec(), b"\x80".to_vec()])
    .collect();
    let mut values: Vec<Vec<u8>> = Vec::new();
    for scheme in ["Basic", "basic", "BASIC", "Bearer", "bEARER", "Digest", "Negotiate", "Token"] {
        for separator in [" ", "    "] {
            values.extend(credentials.iter().map(|credentials| {
                [scheme.as_bytes(), separator.as_bytes(), credentials].concat()
            }));
        }
        for no_credentials in ["", " ", "   ", ":", ","] {
            values.push(format!("{scheme}{no_credentials}").into_bytes());
        }
    }
    // Right credentials in a form that is wrong.
    let forms = [
        format!("Basic\t{encoded}"),
        format!("Basic \t{encoded}"),
        format!("Basic{encoded}"),
        format!("Basic:{encoded}"),
        format!("Basic: {encoded}"),
        format!("Basic,{encoded}"),
        format!("Basic={encoded}"),
        format!("\"Basic\" {encoded}"),
        format!("Basi {encoded}"),
        format!("BasicX {encoded}"),
        format!("Basic Basic {encoded}"),
        format!("x Basic {encoded}"),
        format!(", Basic {encoded}"),
        format!("Bearer {encoded}"),
        format!("Bearer Basic {encoded}"),
        format!("Basic {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        format!("Bearer: {token}"),
        format!("Bearer={token}"),
        format!("Bearer Bearer {token}"),
        format!("x, Bearer {token}"),
        format!("Token {token}"),
        token.to_owned(),
        encoded.clone(),
        format!("Bäsic {encoded}"),
        format!("Ｂasic {encoded}"),
        format!("Basic\u{a0}{encoded}"),
        format!("Basic {}", STANDARD_NO_PAD.encode(pair.clone() + "é")),
        format!("Basic {}", URL_SAFE.encode("Zoë:пароль?>").replace('A', "-")),
    ];
    values.extend(forms.map(String::into_bytes));
    values
}

#[tokio::test]
async fn hostile_headers_are_refused_and_leave_nothing_in_the_log() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let log = CapturedLog::new();
    let _guard = log.capture(Level::TRACE);
    let protected = ProtectedGateway::start("").await;
    let values = hostile_values();
    assert!(values.len() > 800, "{}", values.len());
    for (number, value) in values.iter().enumerate() {
        // Each from an address of its own, so that none is refused for the others.
        let source = loopback(u32::try_from(number).unwrap());
        let mut client =
            Client::connect_from(source, protected.gateway.running.address).await.unwrap();
        let head = b"GET /incidents HTTP/1.1\r\nHost: test\r\nAuthorization: ";
        client.send([head, value.as_slice(), b"\r\n\r\n"].concat()).await.unwrap();
        let answer = client.answer().await.unwrap();
        let shown = String::from_utf8_lossy(&value[..value.len().min(100)]);
        assert_eq!((answer.status, answer.problem()), (401, "unauthorized".to_owned()), "{shown}");
        let [basic, bearer] = challenges(&answer)[..] else { panic!("{shown}: {answer:?}") };
        assert_eq!(basic, BASIC_CHALLENGE);
        let is_bearer = value.to_ascii_lowercase().starts_with(b"bearer ")
            && !value[6..].iter().all(u8::is_ascii_whitespace);
        // A value that is not ASCII is not read as anything.
        let expected = if is_bearer && value.is_ascii() { INVALID_TOKEN } else { BEARER_CHALLENGE };
        assert_eq!(bearer, expected, "{shown}");
        assert!(!answer.text().contains(USERS[0].1) && !answer.text().contains(TOKENS[0].1));
    }
    let counted = failures(&protected, "malformed").await
        + failures(&protected, "password").await
        + failures(&protected, "token").await;
    assert_eq!(counted, values.len());

    // What hyper does not take as a header.
    for value in ["Bearer a\0b", "Bearer a\x01b", "Bearer a\rb", "Basic \x7f"] {
        let mut client = Client::connect(protected.gateway.running.address).await.unwrap();
        let head = "GET /incidents HTTP/1.1\r\nHost: test\r\nAuthorization: ";
        client.send(format!("{head}{value}\r\n\r\n")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 400, "{value:?}");
    }

    // Credentials that are right, and in the wrong place.
    for authorization in [ops(), ann(), employee()] {
        assert_eq!(protected.get_as(&authorization, "/summary").await.status, 200);
    }
    let token = TOKENS[0].1;
    for path in [
        format!("/incidents?access_token={token}"),
        format!("/?access_token={token}"),
        format!("/{token}"),
    ] {
        assert_eq!(protected.gateway.get(&path).await.status, 401);
    }
    let lines = log.text();
    let encoded: Vec<String> =
        USERS.iter().map(|(user, password)| basic(user, password)[6..].to_owned()).collect();
    let secrets = USERS.map(|(_, password)| password).into_iter().chain(
        TOKENS.map(|(_, token, _)| token).into_iter().chain(encoded.iter().map(String::as_str)),
    );
    for secret in secrets.map(str::to_owned).chain(TOKENS.map(|(_, token, _)| sha256(token))) {
        assert!(!lines.contains(&secret), "the log has a credential");
    }
    for remnant in ["token-of", "password", "пароль", "access_token", "Bearer ", "$2b$", "xxxxxx"]
    {
        let line = lines.lines().find(|line| line.contains(remnant));
        assert_eq!(line, None, "{remnant}");
    }
}

#[tokio::test]
async fn the_log_names_who_has_signed_in_and_where_a_sign_in_failed() {
    let _alone = ONE_AT_A_TIME.lock().await;
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

#[tokio::test]
async fn guesses_are_limited_by_address_and_others_are_served() {
    let protected = ProtectedGateway::start("").await;
    let (attacker, other) = (loopback(1), loopback(2));
    // Ann has signed in from the attacker's address before.
    assert_eq!(protected.get_from(attacker, &ann(), "/summary").await.status, 200);
    let guesses: Vec<String> = (0..200).map(|guess| basic("ann", &format!("{guess}"))).collect();
    let attack = futures::future::join_all(
        guesses.iter().map(|guess| protected.get_from(attacker, guess, "/summary")),
    );
    let rest = async {
        for _ in 0..50 {
            assert_eq!(protected.get_from(other, &ops(), "/summary").await.status, 200);
        }
        let zoe = basic(USERS[1].0, USERS[1].1);
        assert_eq!(protected.get_from(other, &zoe, "/summary").await.status, 200);
    };
    let (answers, ()) = futures::future::join(attack, rest).await;
    let (refused, limited): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 401);
    assert_eq!(refused.len(), 10);
    for answer in limited {
        let problem = "too-many-attempts".to_owned();
        assert_eq!((answer.status, answer.problem()), (429, problem));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // Even the right password, unless it was verified lately; tokens still.
    let zoe = basic(USERS[1].0, USERS[1].1);
    for (authorization, expected) in [
        (basic("ann", "wrong"), 429),
        (ann(), 200),
        (zoe, 200),
        (ops(), 200),
        (bearer("wrong"), 429),
        ("Basic !".to_owned(), 429),
    ] {
        let answer = protected.get_from(attacker, &authorization, "/summary").await;
        assert_eq!(answer.status, expected, "{authorization}");
    }
    assert_eq!(protected.get_from(other, &ann(), "/summary").await.status, 200);
    assert_eq!(failures(&protected, "password").await, 10);
    assert_eq!(failures(&protected, "limited").await, 193);
}
