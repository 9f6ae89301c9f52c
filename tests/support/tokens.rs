//! Tokens of test gateways, as a tokens file has them.

use std::fmt::Write as _;
use std::sync::Arc;

use incident_gateway::config::{CredentialFile, SignIn};
use incident_gateway::credentials::Tokens;
use ring::digest::{SHA256, digest};

/// The lines of a tokens file with these tokens and scopes; each token is also its name.
pub fn lines(tokens: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (token, scope) in tokens {
        write!(text, "{token}:").unwrap();
        for byte in digest(&SHA256, token.as_bytes()).as_ref() {
            write!(text, "{byte:02x}").unwrap();
        }
        writeln!(text, ":{scope}").unwrap();
    }
    text
}

/// Sign-in with these tokens and scopes alone.
pub fn sign_in(tokens: &[(&str, &str)]) -> SignIn {
    let content = Tokens::parse(&lines(tokens)).unwrap();
    let tokens = CredentialFile { path: "tokens".into(), content: Arc::new(content) };
    SignIn { tokens: Some(tokens), ..SignIn::default() }
}

/// The value of `Authorization` with a token.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
