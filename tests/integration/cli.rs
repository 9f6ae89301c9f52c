//! What a user sees on the terminal: the built binary, its messages and its exit codes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary with an environment of nothing but `variables`.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incident-gateway"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = command(arguments, variables).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs what must be refused: exit 2, nothing on stdout, no panic. Gives stderr.
pub(crate) fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let Ran { code, stdout, stderr } = run(arguments, variables);
    assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stdout, "", "{arguments:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

pub(crate) fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

const NO_CREDENTIALS: &str = "no credentials for the upstream (neither user nor password); set \
    ELEVATE_USERNAME and \
                              ELEVATE_PASSWORD (or ELEVATE_USERNAME_FILE and \
                              ELEVATE_PASSWORD_FILE to read them from \
                              files), or try it with `--demo`\n";

#[test]
fn missing_credentials_are_refused_wherever_the_upstream_is_called() {
    for arguments in
        [&[][..], &["serve"], &["--listen", "127.0.0.1:0"], &["fetch"], &["check", "--connect"]]
    {
        assert_eq!(refused(arguments, &[]), format!("error: {NO_CREDENTIALS}"));
    }
    let stderr = refused(&["serve"], &[("ELEVATE_USERNAME", "alice"), ("ELEVATE_PASSWORD", "")]);
    assert!(stderr.contains("ELEVATE_USERNAME") && stderr.contains("ELEVATE_PASSWORD"), "{stderr}");
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let (_directory, path) = file("cache:\n  tll: 30s\n");
    let path = path.to_str().unwrap();
    let expected = format!("error: {path}:2:3: cache.tll: unknown key; did you mean `ttl`?\n");
    assert_eq!(refused(&["check", "--config", path], &[]), expected);
    assert_eq!(refused(&["check"], &[("CONFIG_PATH", path)]), expected);
    for arguments in [&["serve", "--demo"][..], &["--demo"], &["fetch", "--demo"]] {
        assert_eq!(refused(arguments, &[("CONFIG_PATH", path)]), expected);
    }
}

#[test]
fn an_unknown_variable_is_named() {
    assert_eq!(
        refused(&["check"], &[("INCIDENT_GATEWAY__CASHE__TTL", "30s")]),
        "error: INCIDENT_GATEWAY__CASHE__TTL: unknown variable; did you mean \
         `INCIDENT_GATEWAY__CACHE__TTL`?\n"
    );
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent.yaml");
    let path = path.to_str().unwrap();
    let problem =
        format!("cannot read {path}: there is no such file; give the path of a readable file\n");
    assert_eq!(refused(&["serve", "--config", path], &[]), format!("error: --config: {problem}"));
    assert_eq!(
        refused(&["serve"], &[("CONFIG_PATH", path)]),
        format!("error: CONFIG_PATH: {problem}")
    );
    assert_eq!(
        refused(&["serve"], &[("ELEVATE_PASSWORD_FILE", path), ("ELEVATE_USERNAME", "alice")]),
        format!("error: ELEVATE_PASSWORD_FILE: {problem}")
    );
}

#[test]
fn several_faults_come_in_one_report() {
    let (_directory, path) = file("listen: 9000\ncolour: red\ncache: { ttl: 30 }\n");
    let path = path.to_str().unwrap();
    let variables = [("ELEVATE_TIMEOUT", "soon"), ("INCIDENT_GATEWAY__NONSENSE", "1")];
    let stderr = refused(&["serve", "--config", path, "--admin-listen", "x"], &variables);
    assert!(stderr.starts_with("error: the configuration has 6 errors:\n"), "{stderr}");
    let places = [
        &format!("- {path}:1:9: listen: "),
        &format!("- {path}:2:1: colour: "),
        &format!("- {path}:3:15: cache.ttl: "),
        "- INCIDENT_GATEWAY__NONSENSE: ",
        "- ELEVATE_TIMEOUT: ",
        "- --admin-listen: ",
    ];
    let found: Vec<&str> = stderr.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(found.len(), places.len(), "{stderr}");
    for (line, place) in found.iter().zip(places) {
        assert!(line.starts_with(place), "{line} / {place}");
    }
}

#[test]
fn a_password_in_the_base_url_is_refused_and_not_shown() {
    let (_directory, path) = file("upstream: { base_url: 'https://alice:hunter2@example.com' }\n");
    let path = path.to_str().unwrap();
    let message = "contains a user name or a password before the `@`; set ELEVATE_USERNAME and \
        ELEVATE_PASSWORD instead\n";
    assert_eq!(
        refused(&["check", "--config", path], &[]),
        format!("error: {path}:1:23: upstream.base_url: {message}")
    );
    let variables = [("ELEVATE_BASE_URL", "https://alice:hunter2@example.com")];
    assert_eq!(refused(&["serve"], &variables), format!("error: ELEVATE_BASE_URL: {message}"));
}

#[test]
fn check_prints_what_is_in_force_with_the_password_masked() {
    let (directory, path) = file("listen: 127.0.0.1:8000\n");
    let variables = [
        ("ELEVATE_USERNAME", "alice"),
        ("ELEVATE_PASSWORD", "hunter2"),
        ("INCIDENT_GATEWAY__CACHE__TTL", "5s"),
    ];
    let Ran { code, stdout, stderr } =
        run(&["check", "--config", path.to_str().unwrap()], &variables);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("listen: 127.0.0.1:8000\nadmin_listen: 0.0.0.0:9001\n"), "{stdout}");
    assert!(stdout.contains("\n  username: alice\n  password: \"********\"\n"), "{stdout}");
    assert!(stdout.contains("\n  ttl: 5s\n"), "{stdout}");
    assert!(!stdout.contains("hunter2"));

    // What it prints is a configuration, which says the same when it is checked.
    let printed = directory.path().join("printed.yaml");
    std::fs::write(&printed, &stdout).unwrap();
    let again =
        run(&["check", "--config", printed.to_str().unwrap()], &[("ELEVATE_PASSWORD", "hunter2")]);
    assert_eq!((again.code, again.stdout), (Some(0), stdout));
}

#[test]
fn check_needs_no_credentials_but_says_that_others_do() {
    let Ran { code, stdout, stderr } = run(&["check"], &[]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("\n  username: null\n  password: null\n"), "{stdout}");
    assert_eq!(stderr, format!("note: {NO_CREDENTIALS}"));
}

#[test]
fn a_byte_order_mark_in_a_file_is_skipped_and_utf_16_is_refused() {
    let (directory, config) = file("\u{feff}listen: 127.0.0.1:8000\r\n");
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("user"), "\u{feff}alice\r\n").unwrap();
    std::fs::write(at("password"), "\u{feff}\r\n").unwrap();
    std::fs::write(at("utf-16"), b"\xff\xfeh\0").unwrap();
    let check = ["check", "--config", config.to_str().unwrap()];
    let Ran { code, stdout, .. } = run(&check, &[("ELEVATE_USERNAME_FILE", &at("user"))]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("listen: 127.0.0.1:8000\n"), "{stdout}");
    assert!(stdout.contains("\n  username: alice\n"), "{stdout}");
    for (name, reason) in [
        ("password", "is empty; write the value into it"),
        ("utf-16", "is UTF-16 text; save it as UTF-8"),
    ] {
        assert_eq!(
            refused(&check, &[("ELEVATE_PASSWORD_FILE", &at(name))]),
            format!("error: ELEVATE_PASSWORD_FILE: {} {reason}\n", at(name))
        );
    }
    assert_eq!(
        refused(&["check"], &[("CONFIG_PATH", &at("utf-16"))]),
        format!("error: CONFIG_PATH: {} is UTF-16 text; save it as UTF-8\n", at("utf-16"))
    );
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_any_source_is_asked() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    upstream.set_nonblocking(true).unwrap();
    let base_url = format!("http://{}", upstream.local_addr().unwrap());
    let variables = [
        ("ELEVATE_BASE_URL", &*base_url),
        ("ELEVATE_USERNAME", "alice"),
        ("ELEVATE_PASSWORD", "hunter2"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent/out.json");
    let (absent, folder) = (absent.to_str().unwrap(), directory.path().to_str().unwrap());
    assert_eq!(
        refused(&["fetch", "--output", absent], &variables),
        format!(
            "error: --output: cannot write {absent}: there is no such directory; create it, or name \
             a file elsewhere\n"
        )
    );
    assert_eq!(
        refused(&["fetch", "--output", folder], &variables),
        format!("error: --output: {folder} names a directory; name a file in it\n")
    );
    assert!(refused(&["fetch", "--output", ""], &variables).contains("--output"));
    assert_eq!(upstream.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has come");
}

#[test]
fn bad_usage_exits_2_and_help_exits_0() {
    for arguments in
        [&["--nonsense"][..], &["nonsense"], &["fetch", "--format", "xml"], &["check", "extra"]]
    {
        let stderr = refused(arguments, &[]);
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    let help = run(&["--help"], &[]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for word in [
        "serve",
        "fetch",
        "check",
        "healthcheck",
        "demo-upstream",
        "--config",
        "--listen",
        "--admin-listen",
        "--demo",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.code, Some(0));
    assert!(
        version.stdout.starts_with(concat!("incident-gateway ", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.stdout
    );
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    for arguments in [&["check"][..], &["--help"], &["--version"]] {
        let mut child =
            command(arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

/// Answers one health check with `answer` and gives the address.
fn gateway(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn healthcheck_exits_by_readyz_at_the_admin_address() {
    let ready = "HTTP/1.0 200 OK\r\n\r\nok\n";
    let draining = "HTTP/1.0 503 Service Unavailable\r\n\r\n{\"detail\":\"shutting down\"}";

    let Ran { code, stdout, stderr } =
        run(&["healthcheck", "--url", &format!("http://{}", gateway(ready))], &[]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));

    let address = gateway(ready);
    assert_eq!(
        run(&["healthcheck"], &[("INCIDENT_GATEWAY__ADMIN_LISTEN", &address)]).code,
        Some(0)
    );
    let (_directory, path) = file(&format!("admin_listen: {}\ncolour: red\n", gateway(ready)));
    let by_file = run(&["healthcheck", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(by_file.code, Some(0), "faults elsewhere do not matter: {}", by_file.stderr);

    let url = format!("http://{}/readyz", gateway(draining));
    let Ran { code, stdout, stderr } = run(&["healthcheck", "--url", &url], &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, format!("unhealthy: {url}: 503 Service Unavailable: shutting down\n"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Ran { code, stderr, .. } = run(&["healthcheck", "--url", &format!("http://{closed}")], &[]);
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        format!(
            "unhealthy: http://{closed}/readyz: connection refused; is the gateway running, and \
             is this its admin address?\n"
        )
    );
}

#[test]
fn healthcheck_refuses_what_it_cannot_ask() {
    let stderr = refused(&["healthcheck", "--url", "https://alice:hunter2@localhost"], &[]);
    assert_eq!(stderr, "error: --url: `/readyz` asks for no user or password; leave them out\n");
    let stderr = refused(&["healthcheck"], &[("INCIDENT_GATEWAY__ADMIN_LISTEN", "9001")]);
    assert!(
        stderr.starts_with(
            "error: INCIDENT_GATEWAY__ADMIN_LISTEN: `9001` is not an address and a port"
        ),
        "{stderr}"
    );
    // With a URL, a configuration that cannot be read does not matter.
    let url = format!("http://{}", gateway("HTTP/1.0 200 OK\r\n\r\n"));
    assert_eq!(
        run(&["healthcheck", "--url", &url], &[("CONFIG_PATH", "/nonexistent")]).code,
        Some(0)
    );
}
