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
    let cut = &key[..key.len() / 2];
    let no_certificate = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (setting, content) in [
        ("ca_file", ""),
        ("ca_file", &key),
        ("ca_file", no_certificate),
        ("ca_file", &certificate.replace("BEGIN", "BEGUN")),
        ("client_cert_file", &key),
        ("client_key_file", &certificate),
        ("client_key_file", cut),
        ("client_key_file", &encrypted),
    ] {
        let (_directory, [path]) = files([content]);
        let error = from_yaml("c", &format!("upstream: {{ {setting}: {path} }}")).unwrap_err();
        let message = error.errors[0].to_string();
        let prefix = format!("upstream.{setting}: {path} ");
        assert!(message.split_once(": ").unwrap().1.starts_with(&prefix), "{message}");
        let content: String = content.lines().nth(1).unwrap_or("no second line").to_owned();
        assert!(!format!("{error:?}").contains(&content), "{error:?}");
    }
}
