//! The configuration of upstreams, sources and tables, as a user meets it on the terminal.

use crate::cli::{Ran, file, refused, run};

#[test]
fn mistakes_in_upstreams_sources_and_tables_come_in_one_report() {
    let (_directory, path) = file(
        "upstreams:
  okta: { base_ur: 'https://org.okta.example', auth: { bearer: { token_file: /nonexistent } } }
sources:
  - { name: okta, upstream: okt, path: /api, identity: /actor, window: 24h }
  - { name: badge, file: badge.txt, identity: { at: mail, as: mail } }
identities: [{ file: people.csv }]
",
    );
    let path = path.to_str().unwrap();
    let variables = [
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA__RATE", "many"),
        ("INCIDENT_GATEWAY__UPSTREAMS__OKTA__AUTH__BEARER__TOKN", "hunter2"),
    ];
    for command in ["serve", "fetch", "check"] {
        let stderr = refused(&[command, "--config", path], &variables);
        for place in [
            &format!(
                "- {path}:2:11: upstreams.okta.base_ur: unknown key; did you mean `base_url`?"
            ),
            &format!("- {path}:2:3: upstreams.okta: the key `base_url` is missing; add it"),
            &format!("- {path}:2:78: upstreams.okta.auth.bearer.token_file: cannot read "),
            &format!("- {path}:4:29: sources[0].upstream: there is no upstream `okt`; did you "),
            &format!("- {path}:4:56: sources[0].identity: `/actor` is no member's name"),
            &format!("- {path}:4:64: sources[0].window: needs `{{since}}` in "),
            &format!("- {path}:5:26: sources[1].file: \"badge.txt\" has no known format"),
            &format!("- {path}:5:63: sources[1].identity.as: `mail` is not one of "),
            &format!("- {path}:6:16: identities[0].file: has rows, which need `employee`"),
            "- INCIDENT_GATEWAY__UPSTREAMS__OKTA__RATE: `many` is not a rate ",
            "- INCIDENT_GATEWAY__UPSTREAMS__OKTA__AUTH__BEARER__TOKN: unknown key; did you mean \
             `token`?",
        ] {
            assert!(stderr.lines().any(|line| line.starts_with(place)), "{place}\n{stderr}");
        }
        assert!(stderr.starts_with("error: the configuration has 11 errors:\n"), "{stderr}");
        assert!(!stderr.contains("hunter2"));
    }
}

#[test]
fn secrets_of_upstreams_are_masked_and_a_mask_calls_nothing() {
    let (directory, path) = file(
        "upstreams: { okta: { base_url: 'https://org.okta.example' } }
sources: [{ name: okta, upstream: okta, path: /api/v1/logs, identity: who }]
",
    );
    let token = directory.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let name = "INCIDENT_GATEWAY__UPSTREAMS__OKTA__AUTH__BEARER__TOKEN_FILE";
    let Ran { code, stdout, stderr } =
        run(&["check", "--config", path.to_str().unwrap()], &[(name, token.to_str().unwrap())]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "no default credentials are needed");
    assert!(stdout.contains("\n    auth: { bearer: { token: \"********\" } }\n"), "{stdout}");
    assert!(stdout.contains("\nidentities: []\n"), "{stdout}");
    assert!(!stdout.contains("hunter2"));

    let printed = directory.path().join("printed.yaml");
    std::fs::write(&printed, &stdout).unwrap();
    let printed = printed.to_str().unwrap();
    let masked = "the secret `upstreams.okta.auth.bearer.token` is masked, as `check` prints it; \
        write the secret, or the path of a file with it (`…_file`)\n";
    let again = run(&["check", "--config", printed], &[]);
    assert_eq!((again.code, again.stdout), (Some(0), stdout));
    assert_eq!(again.stderr, format!("note: {masked}"));
    assert_eq!(refused(&["serve", "--config", printed], &[]), format!("error: {masked}"));
}

#[test]
fn the_store_is_printed_without_its_password_and_a_password_in_its_url_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let text = format!(
        "store:\n  url: \"postgres://gateway@db.example/incidents\"\n  password_file: {}\n  keep: \
         24h\n",
        password.display()
    );
    let (_directory, path) = file(&text);
    let Ran { code, stdout, stderr } = run(&["check", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains(&text) && !stdout.contains("hunter2"), "{stdout}");
    let url = [("INCIDENT_GATEWAY__STORE__URL", "postgres://gateway:hunter2@db.example/incidents")];
    for command in ["serve", "check", "fetch", "forget"] {
        let employee = if command == "forget" { &["E1"][..] } else { &[] };
        let stderr = refused(&[&[command], employee].concat(), &url);
        assert!(stderr.contains("INCIDENT_GATEWAY__STORE__URL: contains a password"), "{stderr}");
        assert!(
            stderr.contains("`store.password_file`") && !stderr.contains("hunter2"),
            "{stderr}"
        );
    }
}

#[test]
fn forwards_need_a_store_and_their_secrets_to_send() {
    let (directory, path) = file(
        "sources: [{ name: badge, file: badge.csv, identity: who }]
forward:
  - { name: siem, url: 'https://siem.example/in', format: ndjson, select: { type: badges } }
",
    );
    let (path, token) = (path.to_str().unwrap(), directory.path().join("token"));
    for command in ["serve", "check", "fetch"] {
        assert_eq!(
            refused(&[command, "--config", path], &[]),
            format!(
                "error: the configuration has 2 errors:
- {path}:3:3: forward: needs a store, whose records it sends; set `store.url`
- {path}:3:83: forward[0].select.type: there is no source `badges`; did you mean `badge`?
"
            )
        );
    }
    std::fs::write(&token, "hunter2\n").unwrap();
    let forward = format!(
        "[{{ name: siem, url: 'https://siem.example/in', format: ndjson, auth: {{ bearer: {{ \
         token_file: {} }} }} }}]",
        token.display()
    );
    let store = format!("sqlite:{}/history.db", directory.path().display());
    let variables =
        [("INCIDENT_GATEWAY__FORWARD", forward.as_str()), ("INCIDENT_GATEWAY__STORE__URL", &store)];
    std::fs::write(path, "sources: [{ name: badge, file: badge.csv, identity: who }]\n").unwrap();
    let Ran { code, stdout, stderr } = run(&["check", "--config", path], &variables);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("    auth: { bearer: { token: \"********\" } }\n"), "{stdout}");
    std::fs::write(path, &stdout).unwrap();
    let again = run(&["check", "--config", path], &[]);
    assert_eq!((again.code, again.stdout), (Some(0), stdout));
    let masked = "the secret `forward[0].auth.bearer.token` is masked, as `check` prints it; \
        write the secret, or the path of a file with it (`…_file`)\n";
    assert_eq!(again.stderr, format!("note: {masked}"));
    for demo in [&[][..], &["--demo"]] {
        let serve = [&["serve", "--config", path][..], demo].concat();
        assert_eq!(refused(&serve, &[]), format!("error: {masked}"));
    }
    assert!(!directory.path().join("history.db").exists());
}
