//! Reading a file of tokens: every entry, or errors that quote nothing.
#![no_main]

use incident_gateway::credentials::{LineError, Scope, Tokens};
use libfuzzer_sys::fuzz_target;

/// The lines with an entry, with their numbers.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let has_entry = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    (1..).zip(lines).filter(move |(_, line)| has_entry(line))
}

/// A message that was made without the line.
fn is_fixed(LineError { detail, .. }: &LineError) -> bool {
    detail.len() < 200 && detail.is_ascii()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fuzz_target!(|text: &str| {
    match Tokens::parse(text) {
        Ok(tokens) => {
            assert_eq!(tokens.as_slice().len(), entries(text).count(), "no entry is dropped");
            let mut written = String::new();
            for (token, (_, line)) in tokens.as_slice().iter().zip(entries(text)) {
                let mut parts = line.splitn(3, ':');
                assert_eq!(parts.next(), Some(&*token.name));
                assert!(
                    parts
                        .next()
                        .is_some_and(|digits| { digits.eq_ignore_ascii_case(&hex(&token.digest)) })
                );
                let scope = match (&token.scope, parts.next()) {
                    (Scope::All, None | Some("all")) => "all".to_owned(),
                    (Scope::Metrics, Some("metrics")) => "metrics".to_owned(),
                    (Scope::Employee(id), Some(scope)) => {
                        assert!(scope.starts_with("self=") && (1..=256).contains(&id.len()));
                        let encoded = id.bytes().map(|byte| format!("%{byte:02X}"));
                        format!("self={}", encoded.collect::<String>())
                    }
                    (scope, text) => panic!("{scope:?} for {text:?}"),
                };
                written += &format!("{}:{}:{scope}\r\n", token.name, hex(&token.digest));
            }
            assert_eq!(Tokens::parse(&written), Ok(tokens));
        }
        Err(errors) => {
            assert!(!errors.is_empty() && errors.len() <= 21);
            assert!(errors.is_sorted_by(|a, b| a.line < b.line));
            for error in &errors {
                assert!(is_fixed(error), "{}", error.detail);
                assert!(entries(text).any(|(number, _)| number == error.line));
            }
        }
    }
});
