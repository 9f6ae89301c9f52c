//! Bad files of certificates, keys, users and tokens: exit code 2, and a message that names the
//! file, its line and the remedy, never what it contains.

use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::cli::{Ran, refused, run};

/// A secret that each bad file contains.
const SECRET: &str = "hunter2hunter2";

/// A folder with a valid file for each setting.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let hash = bcrypt::hash_with_salt(SECRET, 4, [7; 16]).unwrap();
        folder.write("cert_file", &certificate);
        folder.write("client_ca_file", &certificate);
        folder.write("key_file", key.serialize_pem());
        folder.write("users_file", format!("alice:{hash}\n"));
        folder.write("tokens_file", format!("reporting:{}\n", "5a".repeat(32)));
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The path of a configuration with all settings of files, in which this one names `file`.
    fn configuration(&self, changed: &str, file: &str) -> String {
        let setting = |name: &str| {
            format!("{name}: {}", if name == changed { file.to_owned() } else { self.path(name) })
        };
        let [tls, auth] = [
            ["cert_file", "key_file", "client_ca_file"].map(setting).join(", "),
            ["users_file", "tokens_file"].map(setting).join(", "),
        ];
        self.write("config.yaml", format!("tls: {{ {tls} }}\nauth: {{ {auth} }}\n"));
        self.path("config.yaml")
    }
}

/// Every setting of a file, with its section.
const SETTINGS: [(&str, &str); 5] = [
    ("tls", "cert_file"),
    ("tls", "key_file"),
    ("tls", "client_ca_file"),
    ("auth", "users_file"),
    ("auth", "tokens_file"),
];

/// What is wrong with a file, and what the message says after its path.
fn bad_files(folder: &Folder) -> Vec<(&'static str, String)> {
    let path = |name| folder.path(name);
    let pipe = path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    folder.write("large", format!("{SECRET}\n").repeat(400_000));
    folder.write("utf-16", [b"\xff\xfe", SECRET.as_bytes()].concat());
    std::os::unix::fs::symlink("none", path("dangling")).unwrap();
    let cannot = |name, reason| format!("cannot read {}: {reason}; give the path of a", path(name));
    vec![
        ("missing", cannot("missing", "there is no such file")),
        ("dangling", cannot("dangling", "there is no such file")),
        ("", cannot("", "is a directory")),
        ("pipe", cannot("pipe", "it is a pipe or a device, not a regular file")),
        ("large", format!("{} is larger than 4194304 bytes; is it the right file?", path("large"))),
        ("utf-16", format!("{} is UTF-16 text; save it as UTF-8", path("utf-16"))),
    ]
}

#[test]
fn files_that_cannot_be_read_are_named_and_never_hang() {
    let folder = Folder::new();
    let started = Instant::now();
    for (file, expected) in bad_files(&folder) {
        for (section, key) in SETTINGS {
            let config = folder.configuration(key, &folder.path(file));
            let stderr = refused(&["check", "--config", &config], &[]);
            let line = if section == "tls" { 1 } else { 2 };
            let prefix = format!("error: {config}:{line}:");
            assert!(stderr.starts_with(&prefix), "{stderr}");
            let text = format!(": {section}.{key}: {expected}");
            assert!(stderr.contains(&text), "{stderr}\n{text}");
            assert!(!stderr.contains(SECRET), "{stderr}");
        }
    }
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
}

#[test]
fn a_file_without_permission_is_named() {
    let folder = Folder::new();
    let denied = Path::new("/proc/1/environ");
    // Root may read everything.
    if std::fs::read(denied).is_ok() {
        return;
    }
    for (section, key) in SETTINGS {
        let config = folder.configuration(key, "/proc/1/environ");
        let stderr = refused(&["check", "--config", &config], &[]);
        let text = format!("{section}.{key}: cannot read /proc/1/environ: permission denied");
        assert!(stderr.contains(&text), "{stderr}");
    }
}

#[test]
fn serving_is_refused_with_every_faulty_line() {
    let folder = Folder::new();
    let hash = bcrypt::hash_with_salt(SECRET, 4, [7; 16]).unwrap().to_string();
    let costly = hash.replace("$04$", "$15$");
    folder.write("users", format!("a:{SECRET}\nb:{hash}\nb:{hash}\nc:{costly}\n{SECRET}\n"));
    let digest = "a5".repeat(32);
    folder.write("tokens", format!("a:{SECRET}\nb:{digest}\nc:{digest}\nd:{digest}:{SECRET}\n"));
    for arguments in [&["serve", "--demo"][..], &["check"]] {
        for (key, file, lines) in
            [("users_file", "users", [1, 3, 4, 5]), ("tokens_file", "tokens", [1, 3, 4, 4])]
        {
            let config = folder.configuration(key, &folder.path(file));
            let stderr = refused(arguments, &[("CONFIG_PATH", &config)]);
            for line in lines {
                let text = format!("auth.{key}: {}:{line}: ", folder.path(file));
                assert!(stderr.contains(&text), "{stderr}\n{text}");
            }
            for secret in [SECRET, &hash[7..], &digest] {
                assert!(!stderr.contains(secret), "{stderr}");
            }
        }
    }
}

#[test]
fn files_of_tls_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    folder.write("foreign", &foreign);
    folder.write("cut", &foreign[..foreign.len() / 2]);
    folder.write("encrypted", foreign.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    folder.write("two", format!("{foreign}{foreign}"));
    folder.write("text", SECRET);
    let path = |name| folder.path(name);
    for (key, file, expected) in [
        ("key_file", path("foreign"), " is not the key of the first certificate in "),
        ("key_file", path("cert_file"), ":1: a certificate, where a private key is needed; are"),
        ("cert_file", path("key_file"), ":1: a private key, where certificates are needed; are"),
        ("key_file", path("cut"), ":1: a private key that is malformed, or not whole; it must"),
        ("key_file", path("encrypted"), ":1: a private key with a passphrase; remove"),
        ("key_file", path("two"), ": a second private key; keep the one"),
        ("key_file", path("text"), " has no private key that can be read; it must be in PEM"),
        ("cert_file", path("text"), " is no file of X.509 certificates in PEM"),
        ("client_ca_file", path("text"), " is no file of X.509 certificates in PEM"),
    ] {
        let config = folder.configuration(key, &file);
        let stderr = refused(&["serve", "--demo", "--config", &config], &[]);
        let start = format!("tls.{key}: {file}");
        assert!(stderr.contains(&start) && stderr.contains(expected), "{stderr}\n{expected}");
        let secret = foreign.lines().nth(1).unwrap();
        assert!(!stderr.contains(secret) && !stderr.contains(SECRET), "{stderr}");
    }
}

#[test]
fn checking_prints_paths_and_no_secrets_and_commands_that_serve_nobody_read_nothing() {
    let folder = Folder::new();
    let config = folder.configuration("", "");
    let Ran { code, stdout, stderr } = run(&["check", "--config", &config], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    for (section, keys) in [
        ("tls", &["cert_file", "key_file", "client_ca_file"][..]),
        ("auth", &["users_file", "tokens_file"]),
    ] {
        let lines = keys.iter().map(|key| format!("  {key}: {}\n", folder.path(key)));
        let block = format!("\n{section}:\n{}", lines.collect::<Vec<_>>().concat());
        assert!(stdout.contains(&block), "{stdout}\n{block}");
    }
    assert!(stdout.contains("\nadmin:\n  tls: false\n  auth: false\n"), "{stdout}");
    for secret in ["$2b$", "5a5a", "PRIVATE", "CERTIFICATE", "alice", "reporting"] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{secret}: {stdout}");
    }

    let broken = folder.configuration("users_file", &folder.path("missing"));
    let variables = [("CONFIG_PATH", &*broken)];
    assert!(refused(&["check"], &variables).contains("auth.users_file: cannot read"));
    let fetched = run(&["fetch", "--demo"], &variables);
    assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
    let checked = run(&["healthcheck"], &[&variables[..], &[ADMIN]].concat());
    assert_eq!(checked.code, Some(1), "it asked, and nobody answered: {}", checked.stderr);
    assert!(checked.stderr.contains("unhealthy"), "{}", checked.stderr);
}

/// An admin address at which nothing listens.
const ADMIN: (&str, &str) = ("INCIDENT_GATEWAY__ADMIN_LISTEN", "127.0.0.1:1");
