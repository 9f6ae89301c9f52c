//! Headers that are not valid, many of them almost.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use tracing::Level;

use super::{
    BASIC_CHALLENGE, BEARER_CHALLENGE, INVALID_TOKEN, ann, challenges, employee, failures, ops,
};
use crate::support::captured_log::CapturedLog;
use crate::support::client::Client;
use crate::support::protected_gateway::{ProtectedGateway, TOKENS, USERS, basic, loopback, sha256};

/// Values of `Authorization` that are not valid.
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
