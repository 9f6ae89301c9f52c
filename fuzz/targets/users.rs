//! Reading a file of users: every entry, or errors that quote nothing.
#![no_main]

use incident_gateway::credentials::{LineError, Users};
use libfuzzer_sys::fuzz_target;

/// The lines with an entry, with their numbers.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let has_entry = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    (1..).zip(lines).filter(move |(_, line)| has_entry(line))
}

/// A message that was made without the line: it stays the same for another one.
fn is_fixed(LineError { detail, .. }: &LineError) -> bool {
    detail.len() < 200 && detail.is_ascii()
}

fuzz_target!(|text: &str| {
    match Users::parse(text) {
        Ok(users) => {
            assert_eq!(users.iter().len(), entries(text).count(), "no entry is dropped");
            for (_, line) in entries(text) {
                let (name, hash) = line.split_once(':').expect("a name and a hash");
                let (_, parsed) = users.get(name).expect("each name is found");
                let written = parsed.as_str();
                assert_eq!((written.len(), &written[..28]), (60, &hash[..28]));
                assert_eq!(written[29..59], hash[29..59]);
            }
            let written: String =
                users.iter().map(|(name, hash)| format!("{name}:{}\n", hash.as_str())).collect();
            assert_eq!(Users::parse(&written), Ok(users));
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
