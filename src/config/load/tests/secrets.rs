//! Credentials: where they come from, and that no message shows them.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

fn password(config: &Config) -> Option<&str> {
    config.upstream.password.as_ref().map(ExposeSecret::expose_secret)
}

#[test]
fn elevate_variables_set_the_upstream() {
    let config = with_env(&[
        ("ELEVATE_USERNAME", "alice"),
        ("ELEVATE_PASSWORD", "p: #*&\"'w"),
        ("ELEVATE_BASE_URL", "http://127.0.0.1:9002/api/"),
        ("ELEVATE_TIMEOUT", "2.5"),
        ("ELEVATE_SOMETHING_ELSE", "is not ours"),
    ])
    .unwrap();
    assert_eq!(config.upstream.username.as_deref(), Some("alice"));
    assert_eq!(password(&config), Some("p: #*&\"'w"));
    assert_eq!(config.upstream.base_url.as_str(), "http://127.0.0.1:9002/api/");
    assert_eq!(config.upstream.timeout, Duration::from_millis(2500));
    assert!(config.require_credentials().is_ok());
    for (text, seconds) in [("10", 10), ("10s", 10), ("1m", 60), (" 7 ", 7)] {
        let config = with_env(&[("ELEVATE_TIMEOUT", text)]).unwrap();
        assert_eq!(config.upstream.timeout, Duration::from_secs(seconds), "{text}");
    }
    // Over the file, and beside a variable of ours that says the same.
    let (_directory, path) = file("upstream: { username: bob, password: 0123 }\n");
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    let config = load(&overrides, &env(&[])).unwrap();
    assert_eq!(
        (config.upstream.username.as_deref(), password(&config)),
        (Some("bob"), Some("0123"))
    );
    let both = [("ELEVATE_USERNAME", "alice"), ("INCIDENT_GATEWAY__UPSTREAM__USERNAME", "alice")];
    assert_eq!(load(&overrides, &env(&both)).unwrap().upstream.username.as_deref(), Some("alice"));
}

#[test]
fn contradicting_variables_are_refused() {
    assert_eq!(
        env_refusal(&[
            ("ELEVATE_PASSWORD", "one"),
            ("INCIDENT_GATEWAY__UPSTREAM__PASSWORD", "two")
        ]),
        "ELEVATE_PASSWORD: INCIDENT_GATEWAY__UPSTREAM__PASSWORD sets the same; unset one of them"
    );
    assert_eq!(
        env_refusal(&[("ELEVATE_PASSWORD", "one"), ("ELEVATE_PASSWORD_FILE", "/nonexistent")]),
        "ELEVATE_PASSWORD: ELEVATE_PASSWORD_FILE sets the same; unset one of them"
    );
}

#[test]
fn secrets_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let (user, word) = (write("user", b"alice\n"), write("word", b" hunter2 \r\n"));
    let config =
        with_env(&[("ELEVATE_USERNAME_FILE", &user), ("ELEVATE_PASSWORD_FILE", &word)]).unwrap();
    assert_eq!(
        (config.upstream.username.as_deref(), password(&config)),
        (Some("alice"), Some(" hunter2 "))
    );

    let missing = directory.path().join("missing").display().to_string();
    let folder = directory.path().display().to_string();
    let (empty, binary) = (write("empty", b"\n"), write("binary", b"\xffhunter2"));
    let (two_lines, large) = (write("two", b"\nhunter2\n"), write("large", &vec![b'x'; 70_000]));
    for (path, message) in [
        (
            &missing,
            format!(
                "cannot read {missing}: there is no such file; give the path of a readable file"
            ),
        ),
        (
            &folder,
            format!("cannot read {folder}: is a directory; give the path of a readable file"),
        ),
        (&empty, format!("{empty} is empty; write the value into it")),
        (&binary, format!("{binary} is not UTF-8 text; save it as UTF-8")),
        (&large, format!("{large} is larger than 65536 bytes; is it the right file?")),
        (
            &two_lines,
            "contains a control character, such as a line break, which Basic auth forbids (RFC \
             7617)"
                .to_owned(),
        ),
    ] {
        assert_eq!(
            env_refusal(&[("ELEVATE_PASSWORD_FILE", path)]),
            format!("ELEVATE_PASSWORD_FILE: {message}")
        );
    }
}

#[test]
fn both_credentials_are_required() {
    let remedy = "set ELEVATE_USERNAME and ELEVATE_PASSWORD (or ELEVATE_USERNAME_FILE and \
        ELEVATE_PASSWORD_FILE to read \
                them from files), or try it with `--demo`";
    for (variables, missing) in [
        (vec![], "neither user nor password"),
        (vec![("ELEVATE_USERNAME", ""), ("ELEVATE_PASSWORD", "")], "neither user nor password"),
        (vec![("ELEVATE_USERNAME", "alice")], "a user, but no password"),
        (vec![("ELEVATE_PASSWORD", "hunter2")], "a password, but no user"),
        // What `check` prints is no password.
        (
            vec![("ELEVATE_USERNAME", "alice"), ("ELEVATE_PASSWORD", "********")],
            "a user, but no password",
        ),
    ] {
        let error = with_env(&variables).unwrap().require_credentials().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no credentials for the upstream ({missing}); {remedy}")
        );
    }
    let empty = from_yaml("c", "upstream: { username: '', password: ~ }").unwrap();
    assert!(empty.upstream.username.is_none() && empty.upstream.password.is_none());
}

#[test]
fn no_message_contains_a_secret() {
    let hunter2 = [
        "upstream:\n  pasword: hunter2\n",
        "upstream: { password: hunter2, tiemout: 1s }\n",
        "upstream: { tiemout: 1s, password: hunter2 }\n",
        "upstream: { password: [hunter2] }\n",
        "upstream: { password: \"hunter2\\n\" }\n",
        "upstream: { username: \"alice:hunter2\" }\n",
        "upstream: { base_url: \"https://alice:hunter2@example.com\" }\n",
        "upstream: { base_url: \"https://alice:hunter2%40example.com\" }\n",
        "upstream: { base_url: \"alice:hunter2@example.com\" }\n",
        "upstream: { base_url: \"https://example.com/?key=hunter2\" }\n",
        "upstream: { base_url: \"https://example.com/#hunter2\" }\n",
        "otlp: { endpoint: \"https://alice:hunter2@example.com\" }\n",
        "upstream: { password: hunter2\n",
        "upstream:\n  password: \"hunter2\nlisten: x\n",
        "upstream:\n  password: *hunter2\n",
        "upstream:\n  password: @hunter2\n",
        "upstream:\n  password: %hunter2\n",
        "upstream:\n  password: !hunter2 x\n",
        "upstream:\n  password: &hunter2 x\n  password: hunter2\n",
        "upstream: hunter2\n",
    ];
    for text in hunter2 {
        let errors = from_yaml("c.yaml", text).unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains("hunter2"), "{text}: {errors}");
    }
    for (name, value) in [
        ("ELEVATE_PASSWORD", "hunter2\u{7}"),
        ("ELEVATE_USERNAME", "alice:hunter2"),
        ("ELEVATE_BASE_URL", "http://alice:hunter2@example.com"),
        ("INCIDENT_GATEWAY__UPSTREAM__PASSWORD", "hunter2\n"),
        ("INCIDENT_GATEWAY__UPSTREAM__PASWORD", "hunter2"),
        ("INCIDENT_GATEWAY__UPSTREAM", "{ pasword: hunter2 }"),
        ("INCIDENT_GATEWAY__UPSTREAM", "{ password: hunter2"),
        ("INCIDENT_GATEWAY__UPSTREAM", "hunter2"),
    ] {
        let errors = with_env(&[(name, value)]).unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains("hunter2"), "{name}={value}: {errors}");
        assert!(errors.to_string().starts_with(name), "{errors}");
    }
    let variables = env(&[("ELEVATE_PASSWORD", "hunter2")]);
    let config = load(&Overrides::default(), &variables).unwrap();
    assert!(!format!("{config:?}{variables:?}{}", config.to_yaml()).contains("hunter2"));
}
