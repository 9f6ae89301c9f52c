//! The section `store`.

use std::path::PathBuf;

use proptest::prelude::*;

use super::access::AccessFiles;
use super::duration;
use crate::config::{PostgresTls, Store, StoreUrl, from_yaml};

#[test]
fn its_files_are_printed_and_the_password_is_not() {
    let files = AccessFiles::new();
    let folder = files.folder();
    let text = format!(
        "store:\n  url: \"postgres://gateway@db.example/incidents?sslmode=verify-full&\
         sslrootcert={folder}/ca.crt\"\n  password_file: {folder}/okta\n  keep: 720h\n"
    );
    let config = from_yaml("c", &text).unwrap();
    let printed = config.to_yaml();
    assert!(printed.contains(&text), "{printed}");
    assert_eq!(from_yaml("printed.yaml", &printed).unwrap(), config);
    let StoreUrl::Postgres(postgres) = &config.store.url else { panic!() };
    assert!(postgres.password.is_some());
    assert_eq!(postgres.password_file, Some(PathBuf::from(format!("{folder}/okta"))));
    let PostgresTls::Verified { authorities: Some(authorities) } = &postgres.tls else { panic!() };
    assert_eq!(authorities.path, PathBuf::from(format!("{folder}/ca.crt")));
    assert!(!format!("{config:?}").contains("secret\""), "the file has `secret`");
}

/// Stores, as far as they need no files.
pub(super) fn store() -> impl Strategy<Value = Store> {
    let sqlite = "sqlite:(/[a-zA-Z0-9é .:%'\"{},&*!|>@`~-]{0,8}[a-z0-9]){1,3}";
    let user = "[a-z0-9_.~é-]|%[2-6][0-9a-f]|%c3%a9";
    let host = "[a-z0-9.-]{1,9}|127\\.0\\.0\\.1|\\[::1\\]|%2Frun(%2[fF][a-z]{1,9})?";
    let postgres = "postgres(ql)?://(USER){1,9}@(HOST)(:[1-9][0-9]{0,3})?/(USER){1,9}";
    let postgres = postgres.replace("USER", user).replace("HOST", host);
    let text = proptest::string::string_regex(&format!("none|{sqlite}|{postgres}")).unwrap();
    // Each text is read from a file, so that what is printed is compared with what was read.
    (text, duration(1000, 3_600_000)).prop_map(|(text, keep)| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        let read = from_yaml("c", &format!("store: {{ url: \"{text}\" }}"));
        Store { keep, ..read.unwrap_or_else(|errors| panic!("{text}: {errors}")).store }
    })
}
