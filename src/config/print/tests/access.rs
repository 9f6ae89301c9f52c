//! Access control: the files that its settings need, and what of it needs none.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::option;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::url;
use crate::config::{Admin, Config, Jwt, SignIn, from_yaml};

/// A folder with one valid file for each setting.
pub(super) struct AccessFiles(tempfile::TempDir);

impl AccessFiles {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let hash = bcrypt::hash_with_salt("hunter2", 4, [1; 16]).unwrap();
        for (name, content) in [
            ("tls.crt", certificate.clone()),
            ("tls.key", key.serialize_pem()),
            ("ca.crt", certificate),
            ("users", format!("alice:{hash}\n")),
            ("tokens", format!("prometheus:{}:metrics\n", "5a".repeat(32))),
            ("okta", "secret\n".to_owned()),
            ("splunk", "secret\n".to_owned()),
            ("postgres", "secret\n".to_owned()),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    pub(super) fn folder(&self) -> String {
        self.0.path().display().to_string()
    }
}

#[test]
fn files_and_nested_sections_are_printed_as_they_are_written() {
    let files = AccessFiles::new();
    let folder = files.folder();
    let text = format!(
        "tls:\n  cert_file: {folder}/tls.crt\n  key_file: {folder}/tls.key\n  \
         client_ca_file: {folder}/ca.crt\nauth:\n  users_file: {folder}/users\n  \
         tokens_file: {folder}/tokens\n  jwt:\n    issuer: https://idp.example/\n    \
         audience: incident-gateway\n    jwks_url: https://idp.example/keys\n    \
         ca_file: {folder}/ca.crt\n    proxy: http://proxy:3128\n    employee_claim: sub\n    \
         scope_claim: scp\nadmin:\n  tls: true\n  auth: true\nallowed_hosts: \
         [gateway.example, \"[::1]:9000\"]\n"
    );
    let config = from_yaml("c", &text).unwrap();
    let printed = config.to_yaml();
    assert!(printed.contains(&text), "{printed}");
    assert_eq!(from_yaml("printed.yaml", &printed).unwrap(), config);
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(tls.key.path, PathBuf::from(format!("{folder}/tls.key")));
    assert!(tls.client_ca.is_some());
    let sign_in = &config.sign_in;
    assert_eq!(sign_in.users.as_ref().unwrap().content.iter().len(), 1);
    assert_eq!(sign_in.tokens.as_ref().unwrap().content.as_slice().len(), 1);
    assert_eq!(config.admin, Admin { tls: true, auth: true });
    let shown = format!("{config:?}{printed}");
    assert!(!shown.contains("$2b$") && !shown.contains("5a5a") && !shown.contains("PRIVATE"));
    assert!(!Config::default().to_yaml().contains("tls:\n  cert"), "nothing where nothing is set");
}

/// Sign-in, the admin listener and the hosts, as far as they need no files.
pub(super) fn access() -> impl Strategy<Value = (SignIn, Admin, Option<Arc<[String]>>)> {
    let https = || url().prop_filter("https", |url| url.scheme() == "https");
    let issuer = https().prop_map(String::from);
    let jwt =
        (issuer, "\\PC{1,9}", option::of(https()), option::of(url()), "\\PC{1,9}", "\\PC{1,9}");
    let jwt = jwt.prop_map(|(issuer, audience, jwks_url, proxy, employee_claim, scope_claim)| {
        let proxy = proxy.map(|mut url| {
            url.set_path("");
            url
        });
        Jwt { issuer, audience, jwks_url, ca: None, proxy, employee_claim, scope_claim }
    });
    let host =
        "([a-z0-9_-]{1,9}(\\.[a-z0-9]{1,9}){0,3}|\\[::1\\]|127\\.0\\.0\\.1)(:[1-9][0-9]{0,3})?";
    let hosts = option::of(proptest::collection::vec(host, 1..20));
    (option::of(jwt), any::<bool>(), hosts).prop_map(|(jwt, auth, hosts)| {
        let admin = Admin { tls: false, auth: auth && jwt.is_some() };
        (SignIn { users: None, tokens: None, jwt }, admin, hosts.map(Into::into))
    })
}
