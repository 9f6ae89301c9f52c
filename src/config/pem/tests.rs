use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::config::from_yaml;

struct Pair {
    certificate: String,
    key: String,
}

fn pair() -> Pair {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// Files by their contents, and their paths.
fn files<const N: usize>(contents: [&str; N]) -> (tempfile::TempDir, [String; N]) {
    let directory = tempfile::tempdir().unwrap();
    let mut index = 0;
    let paths = contents.map(|content| {
        index += 1;
        let path = directory.path().join(format!("{index}.pem"));
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    });
    (directory, paths)
}

#[test]
fn certificates_and_keys_are_read_when_the_configuration_is_loaded() {
    let [first, second] = [pair(), pair()];
    let bundle = format!("# two\n{}{}", first.certificate, second.certificate);
    let (_directory, [bundle, certificate, key, other_key]) =
        files([&bundle, &first.certificate, &first.key, &second.key]);
    let text = format!(
        "upstream: {{ ca_file: {bundle}, client_cert_file: {certificate}, client_key_file: {key} }}"
    );
    let config = from_yaml("c", &text).unwrap();
    let client = config.upstream.client_certificate.as_ref().unwrap();
    assert_eq!(client.certificate.pem, first.certificate.as_bytes());
    assert_eq!(client.key.pem, first.key.as_bytes());
    assert_eq!(config.upstream.ca.as_ref().unwrap().path, PathBuf::from(&bundle));
    let printed = config.to_yaml();
    assert!(!format!("{config:?}{printed}").contains("PRIVATE KEY"));
    assert!(printed.contains(&format!("\n  client_key_file: {key}\n")), "{printed}");
    assert!(from_yaml("printed.yaml", &printed).unwrap().upstream.client_certificate.is_some());

    let foreign = text.replace(&key, &other_key);
    let column = foreign.find(&other_key).unwrap() + 1;
    assert_eq!(
        from_yaml("c", &foreign).unwrap_err().to_string(),
        format!(
            "c:1:{column}: upstream.client_key_file: {other_key} is not the key of the first \
             certificate in {certificate}; give the two files of one pair"
        )
    );
    let alone = format!("upstream: {{ client_cert_file: {certificate} }}");
    assert_eq!(
        from_yaml("c", &alone).unwrap_err().to_string(),
        "c:1:31: upstream.client_cert_file: needs `client_key_file` beside it"
    );
}

#[test]
fn what_is_no_certificate_or_key_is_refused_without_its_content() {
    let Pair { certificate, key } = pair();
    let other_key = pair().key;
    let cut = &key[..key.len() / 2];
    let no_certificate = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n\
        aHVudGVyMg==\n-----END RSA PRIVATE KEY-----\n";
    let unusable = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
    let not_a_chain = format!("# two\n{certificate}{no_certificate}");
    let cut_chain = format!("{certificate}\n{}", &certificate[..certificate.len() / 2]);
    let two_keys = format!("{key}{other_key}");
    let lines = |text: &str| text.lines().count();
    let second_key = format!(":{}: a second private key", lines(&key) + 1);
    let second_certificate =
        format!(":{}: a certificate that cannot be used (", lines(&certificate) + 2);
    let cut_certificate = format!(":{}: a certificate that is malformed", lines(&certificate) + 2);
    let no_file_of = " is no file of X.509 certificates in PEM (`-----BEGIN CERTIFICATE-----`)";
    for (setting, content, expected) in [
        ("ca_file", "", " is empty; write the certificates or the key into it"),
        ("client_key_file", "\r\n", " is empty; write the certificates or the key into it"),
        ("ca_file", &*key, ":1: a private key, where certificates are needed; are the files"),
        ("client_cert_file", &key, ":1: a private key, where certificates are needed; are the"),
        ("client_key_file", &certificate, ":1: a certificate, where a private key is needed; are"),
        ("ca_file", no_certificate, ":1: a certificate that cannot be used ("),
        (
            "client_cert_file",
            no_certificate,
            ":1: a certificate that cannot be used (TrailingData(SignedData)); it must",
        ),
        ("client_cert_file", &not_a_chain, &second_certificate),
        ("ca_file", &not_a_chain, &second_certificate),
        ("client_cert_file", &cut_chain, &cut_certificate),
        ("ca_file", &cut_chain, &cut_certificate),
        ("ca_file", &certificate.replace("BEGIN", "BEGUN"), no_file_of),
        ("ca_file", &format!(" {certificate}"), no_file_of),
        ("ca_file", &certificate.replace("E-----\n", "E\n"), ":1: a certificate that is malformed"),
        ("ca_file", "0 hunter2", no_file_of),
        ("client_key_file", cut, ":1: a private key that is malformed, or not whole; it must be"),
        ("client_key_file", "hunter2", " has no private key that can be read; it must be in PEM"),
        ("client_key_file", &encrypted, ":1: a private key with a passphrase; remove the"),
        ("client_key_file", old_encrypted, ":1: a private key with a passphrase; remove the"),
        ("client_key_file", &two_keys, &second_key),
        ("client_key_file", unusable, " has a private key that cannot be used; it must be RSA of"),
    ] {
        let (_directory, [path]) = files([content]);
        let error = from_yaml("c", &format!("upstream: {{ {setting}: {path} }}")).unwrap_err();
        let message = error.errors[0].to_string();
        let prefix = format!("upstream.{setting}: {path}{expected}");
        assert!(message.split_once(": ").unwrap().1.starts_with(&prefix), "{message}\n{prefix}");
        let content: String = content.lines().nth(1).unwrap_or("no second line").to_owned();
        assert!(!format!("{error:?}").contains(&content), "{error:?}");
    }
}

#[test]
fn der_is_told_from_pem() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("der").display().to_string();
    for (setting, command, der) in [
        ("ca_file", "x509", certificate.der().to_vec()),
        ("client_key_file", "pkey", key.serialize_der()),
    ] {
        std::fs::write(&path, der).unwrap();
        let error = from_yaml("c", &format!("upstream: {{ {setting}: {path} }}")).unwrap_err();
        let expected = format!(
            "upstream.{setting}: {path} is in DER, not in PEM; convert it with `openssl {command} \
             -inform der -in FILE -out FILE.pem`"
        );
        assert!(error.errors[0].to_string().ends_with(&expected), "{error}");
    }
}

#[test]
fn line_ends_and_text_around_the_sections_do_not_matter() {
    let Pair { certificate, key } = pair();
    let windows = |text: &str| format!("\u{feff}Bag Attributes\r\n{}", text.replace('\n', "\r\n"));
    let combined = format!("{key}{certificate}");
    let (_directory, [certificate, key, combined]) =
        files([&windows(&certificate), &windows(&key), &combined]);
    for (certificate, key) in [(&certificate, &key), (&combined, &combined)] {
        let text = format!("tls: {{ cert_file: {certificate}, key_file: {key} }}");
        let config = from_yaml("c", &text).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(config.tls.is_some());
    }
}
