//! TLS, sign-in, the admin listener and the hosts: their layers and their files.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::*;
use crate::config::{Admin, Warning};
use crate::credentials::Scope;

/// A folder with files, whose names stand for their paths in configurations.
struct Folder(tempfile::TempDir);

impl Folder {
    /// With a certificate, its key and a foreign key.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        folder.write("crt.pem", params.self_signed(&key).unwrap().pem());
        folder.write("key.pem", key.serialize_pem());
        folder.write("foreign.pem", KeyPair::generate().unwrap().serialize_pem());
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// Loads a text in which `@name` stands for the path of a file.
    fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        from_yaml("c.yaml", &text.replace('@', &format!("{}/", self.path().display())))
    }

    /// The errors of such a text, without the folder and the columns.
    fn errors(&self, text: &str) -> Vec<String> {
        let errors = self.load(text).expect_err(text).errors;
        let folder = format!("{}/", self.path().display());
        let shown = errors.iter().map(|error| error.to_string().replace(&folder, "@"));
        shown.map(|text| text.splitn(4, ':').last().unwrap().trim_start().to_owned()).collect()
    }
}

fn user(name: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash_with_salt("hunter2", 4, [7; 16]).unwrap())
}

#[test]
fn files_of_credentials_are_read_with_the_configuration() {
    let folder = Folder::new();
    folder.write("users", format!("\u{feff}# users\r\n{}", user("alice")));
    folder.write("tokens", format!("a:{}:self=E%3A1", "0a".repeat(32)));
    let config = folder.load("auth: { users_file: @users, tokens_file: @tokens }").unwrap();
    let (users, tokens) = (config.sign_in.users.unwrap(), config.sign_in.tokens.unwrap());
    assert!(users.content.get("alice").is_some(), "behind the byte order mark");
    assert_eq!(users.path, folder.path().join("users"));
    assert_eq!(tokens.content.as_slice()[0].scope, Scope::Employee("E:1".into()));
}

#[test]
fn each_faulty_line_is_an_error_at_the_place_of_the_setting() {
    let folder = Folder::new();
    folder.write("users", format!("{}bob\n{}\nhunter2hunter2:x\n", user("alice"), user("alice")));
    folder.write("tokens", "a:hunter2hunter2\n");
    let errors = folder.errors("auth: { users_file: @users, tokens_file: @tokens }");
    let kind = "what follows the name is no hash, or one of the outdated `crypt`";
    let expected = [
        "auth.users_file: @users:2: there is no `:`",
        "auth.users_file: @users:3: the name of line 1 again; keep one of the two",
        &format!("auth.users_file: @users:5: {kind}"),
        "auth.tokens_file: @tokens:1: what follows the name is no SHA-256 digest",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    // A variable has no place of its own.
    let path = folder.path().join("tokens").display().to_string();
    let message = env_refusal(&[("INCIDENT_GATEWAY__AUTH__TOKENS_FILE", &path)]);
    let prefix = format!("INCIDENT_GATEWAY__AUTH__TOKENS_FILE: {path}:1: what follows");
    assert!(message.starts_with(&prefix), "{message}");
}

#[test]
fn later_layers_win() {
    let folder = Folder::new();
    folder.write("first", user("alice"));
    folder.write("second", user("bob"));
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (_directory, path) = file(&format!(
        "auth: {{ users_file: {}, jwt: {{ issuer: 'https://a.example', audience: a }} }}\n\
         admin: {{ auth: true }}\nallowed_hosts: [a]\n",
        at("first")
    ));
    let variables = [
        ("INCIDENT_GATEWAY__ADMIN", "{ tls: true, auth: false }".to_owned()),
        ("INCIDENT_GATEWAY__ALLOWED_HOSTS", "['B.example', 'b:1']".to_owned()),
        ("INCIDENT_GATEWAY__AUTH__JWT", "{ audience: b, scope_claim: scp }".to_owned()),
        ("INCIDENT_GATEWAY__AUTH__JWT__EMPLOYEE_CLAIM", "eid".to_owned()),
        ("INCIDENT_GATEWAY__AUTH__USERS_FILE", at("second")),
        ("INCIDENT_GATEWAY__TLS", format!("{{ cert_file: {} }}", at("crt.pem"))),
        ("INCIDENT_GATEWAY__TLS__KEY_FILE", at("key.pem")),
    ];
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    let config = load(&overrides, &variables.into_iter().collect()).unwrap();
    let jwt = config.sign_in.jwt.unwrap();
    assert_eq!(
        (&*jwt.issuer, &*jwt.audience, &*jwt.employee_claim, &*jwt.scope_claim),
        ("https://a.example", "b", "eid", "scp")
    );
    assert!(config.sign_in.users.unwrap().content.get("bob").is_some());
    assert_eq!(config.admin, Admin { tls: true, auth: false });
    assert_eq!(config.allowed_hosts.unwrap()[..], ["b.example", "b:1"]);
    assert!(config.tls.unwrap().client_ca.is_none());
    let one = with_env(&[("INCIDENT_GATEWAY__ALLOWED_HOSTS", "Gateway.example")]).unwrap();
    assert_eq!(one.allowed_hosts.unwrap()[..], ["gateway.example"]);
    let unknown = env_refusal(&[("INCIDENT_GATEWAY__AUTH__USER_FILE", "x")]);
    assert!(unknown.ends_with("did you mean `INCIDENT_GATEWAY__AUTH__USERS_FILE`?"), "{unknown}");
}

#[test]
fn files_of_tls_must_belong_together() {
    let folder = Folder::new();
    let tls = "tls: { cert_file: @crt.pem, key_file: @key.pem, client_ca_file: @crt.pem }";
    let config = folder.load(tls).unwrap();
    assert!(config.tls.unwrap().client_ca.is_some() && config.sign_in.is_empty());
    for (text, expected) in [
        (
            "tls: { cert_file: @crt.pem, key_file: @foreign.pem }",
            vec![
                "tls.key_file: @foreign.pem is not the key of the first certificate in @crt.pem; \
                 give the two files of one pair",
            ],
        ),
        (
            "tls: { cert_file: @key.pem, key_file: @crt.pem }",
            vec![
                "tls.cert_file: @key.pem:1: a private key, where certificates are needed; are the \
                 files of certificate and key swapped?",
                "tls.key_file: @crt.pem:1: a certificate, where a private key is needed; are the \
                 files of certificate and key swapped?",
            ],
        ),
        ("tls: { cert_file: @crt.pem }", vec!["tls.cert_file: needs `tls.key_file` beside it"]),
        (
            "{ admin: { tls: true }, tls: { client_ca_file: @crt.pem } }",
            vec!["tls.client_ca_file: needs `tls.cert_file` and `tls.key_file` beside it"],
        ),
    ] {
        assert_eq!(folder.errors(text), expected, "{text}");
    }
}

#[test]
fn only_regular_files_hold_credentials() {
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::os::unix::fs::symlink("users", folder.path().join("link")).unwrap();
    folder.write("users", user("alice"));
    assert!(folder.load("auth: { users_file: @link }").is_ok());
    let refused = "cannot read @pipe: it is a pipe or a device, not a regular file; give the path \
        of a readable file";
    for (section, key) in [
        ("auth", "users_file"),
        ("auth", "tokens_file"),
        ("tls", "cert_file"),
        ("tls", "key_file"),
        ("tls", "client_ca_file"),
        ("upstream", "ca_file"),
    ] {
        let errors = folder.errors(&format!("{section}: {{ {key}: @pipe }}"));
        assert_eq!(errors[0], format!("{section}.{key}: {refused}"));
    }
    // Others may be pipes, but one that nobody writes to does not hang, and is not empty.
    let shown = pipe.display().to_string();
    let empty = format!(
        "cannot read {shown}: the pipe is empty; a pipe can be read once only; give the path of a \
         readable file"
    );
    for name in ["CONFIG_PATH", "ELEVATE_PASSWORD_FILE"] {
        assert_eq!(env_refusal(&[(name, &shown)]), format!("{name}: {empty}"));
    }
    // What was written stays in the pipe as long as somebody has it open to read.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let _reader = File::options().read(true).custom_flags(nonblocking).open(&pipe).unwrap();
    std::fs::write(&pipe, "listen: 127.0.0.1:7\n").unwrap();
    let config = with_env(&[("CONFIG_PATH", &shown)]).unwrap();
    assert_eq!(config.listen.port(), 7);
}

#[test]
fn large_and_foreign_files_are_refused() {
    let folder = Folder::new();
    folder.write("large", vec![b'#'; (4 << 20) + 1]);
    folder.write("largest", vec![b'#'; 4 << 20]);
    folder.write("utf-16", b"\xff\xfea\0");
    folder.write("latin-1", b"J\xf6rg:x");
    for (name, expected) in [
        ("large", "@large is larger than 4194304 bytes; is it the right file?"),
        ("utf-16", "@utf-16 is UTF-16 text; save it as UTF-8"),
        ("latin-1", "@latin-1 is not UTF-8 text; save it as UTF-8"),
    ] {
        for key in ["users_file", "tokens_file"] {
            let errors = folder.errors(&format!("auth: {{ {key}: @{name} }}"));
            assert_eq!(errors, [format!("auth.{key}: {expected}")]);
        }
    }
    assert!(folder.load("auth: { users_file: @largest }").is_ok());
    assert_eq!(
        folder.errors("tls: { cert_file: @utf-16, key_file: @large }"),
        [
            "tls.cert_file: @utf-16 is UTF-16 text; save it as UTF-8",
            "tls.key_file: @large is larger than 4194304 bytes; is it the right file?"
        ]
    );
}

#[test]
fn commands_that_serve_nobody_open_no_file() {
    let (_directory, path) = file(
        "admin_listen: 127.0.0.1:7\nadmin: { tls: true, auth: true }\n\
         tls: { cert_file: /none, key_file: /none, client_ca_file: /none }\n\
         auth: { users_file: /none, tokens_file: /none, jwt: { issuer: 'https://i', audience: a, \
         ca_file: /none } }\nupstreams: { u: { base_url: 'http://h', ca_file: /none } }\n\
         store: { url: 'postgres://u@h/d?sslrootcert=/none', password_file: /none }\n",
    );
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    let environment = env(&[("ELEVATE_USERNAME", "a"), ("ELEVATE_PASSWORD", "b")]);
    assert_eq!(load(&overrides, &environment).unwrap_err().errors.len(), 9);
    assert_eq!(load_without_serving(&overrides, &environment).unwrap_err().errors.len(), 1);
    assert_eq!(load_for_store(&overrides, &environment).unwrap_err().errors.len(), 2);
    assert!(load_without_secrets(&overrides, &environment).is_ok());
    let endpoint = admin_endpoint(&overrides, &environment).unwrap();
    assert_eq!(endpoint, AdminEndpoint { address: "127.0.0.1:7".parse().unwrap(), tls: true });
    // What can be told without the files is told.
    let (_directory, path) = file("tls: { key_file: /none }\nadmin: { auth: true, tls: maybe }\n");
    let overrides = Overrides { config: Some(path), ..Overrides::default() };
    for result in [load_without_serving, load_without_secrets] {
        let errors = result(&overrides, &environment).unwrap_err();
        assert_eq!(errors.errors.len(), 3, "{errors}");
    }
    let errors = admin_endpoint(&overrides, &environment).unwrap_err();
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert!(errors.to_string().ends_with("admin.tls: `maybe` is not `true` or `false`"));
    // Without agreement with the rest there is still an answer.
    let tls = [("INCIDENT_GATEWAY__ADMIN__TLS", "true")];
    assert!(admin_endpoint(&Overrides::default(), &env(&tls)).unwrap().tls);
    assert!(!admin_endpoint(&Overrides::default(), &env(&[])).unwrap().tls);
}

#[test]
fn operators_are_warned_once_of_each_danger() {
    let folder = Folder::new();
    folder.write("users", user("alice"));
    folder.write("empty", "# nobody yet\n");
    let pair = "cert_file: @crt.pem, key_file: @key.pem";
    let users = "auth: { users_file: @users }";
    let warnings = |parts: &[&str]| folder.load(&parts.join("\n")).unwrap().warnings();
    let any = "0.0.0.0:9000".parse().unwrap();
    let admin = "0.0.0.0:9001".parse().unwrap();
    let plain = |setting, address| Warning::PlainCredentials { setting, address };
    let here = "listen: 127.0.0.1:9000";
    let tls = format!("tls: {{ {pair} }}");
    assert_eq!(warnings(&[""]), [Warning::Open { address: any }]);
    assert_eq!(warnings(&[here]), []);
    assert_eq!(warnings(&["listen: '[::ffff:127.0.0.1]:9000'"]), []);
    assert_eq!(warnings(&[&tls]), [Warning::Open { address: any }], "encrypted, but open");
    assert_eq!(warnings(&[&format!("tls: {{ {pair}, client_ca_file: @crt.pem }}")]), []);
    assert_eq!(warnings(&[users]), [plain("listen", any)]);
    assert_eq!(warnings(&[users, here]), []);
    assert_eq!(warnings(&[users, &tls]), []);
    let with_admin = "admin: { auth: true }";
    assert_eq!(warnings(&[users, with_admin]), [plain("listen", any)], "once");
    assert_eq!(warnings(&[users, with_admin, here]), [plain("admin_listen", admin)]);
    assert_eq!(warnings(&[users, &tls, with_admin]), [plain("admin_listen", admin)]);
    assert_eq!(warnings(&[users, &tls, "admin: { auth: true, tls: true }"]), []);
    let path = folder.path().join("empty");
    assert_eq!(
        warnings(&["auth: { users_file: @empty, tokens_file: @empty }", here]),
        ["auth.users_file", "auth.tokens_file"]
            .map(|setting| Warning::NoEntries { setting, path: path.clone() })
    );
    assert!(plain("admin_listen", admin).to_string().contains("set `tls` and `admin.tls`, or set"));
}
