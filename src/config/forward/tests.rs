//! Forwards: what their keys mean, the layers they come from, and the files that they name.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use reqwest::Url;
use secrecy::ExposeSecret;

use super::*;
use crate::config::{
    Config, ConfigErrors, Environment, Overrides, from_yaml, load, load_for_forward,
    load_for_store, load_without_secrets, load_without_serving,
};

const STORE: &str = "store: { url: 'sqlite:/h.db' }\n";

fn config(text: &str) -> Config {
    let text = format!("{STORE}{text}");
    from_yaml("c", &text).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

/// A forward that has these keys beside its name, its URL and its format.
fn forward(rest: &str) -> Forward {
    let text = format!("forward: [{{ name: a, url: 'http://h', format: ndjson{rest} }}]");
    config(&text).forward.remove(0)
}

fn refusal(text: &str) -> String {
    from_yaml("c", &format!("{STORE}{text}")).unwrap_err().to_string()
}

#[test]
fn what_is_not_set_has_its_default() {
    let text = "forward:\n  - { name: siem, url: https://h/p?q, format: ndjson }\n";
    let expected = Forward {
        name: "siem".to_owned(),
        url: Url::parse("https://h/p?q").unwrap(),
        auth: None,
        ca: None,
        client_certificate: None,
        proxy: None,
        format: ForwardFormat::Ndjson,
        select: Selection::default(),
        tags: Vec::new(),
        batch: Batch { max_records: 500, max_bytes: 1 << 20, max_wait: Duration::from_secs(1) },
        rate: None,
        timeout: Duration::from_secs(10),
        from: ForwardFrom::Now,
    };
    assert_eq!(config(text).forward, std::slice::from_ref(&expected));
    let in_variable = "[{ name: siem, url: 'https://h/p?q', format: ndjson }]";
    let variables = [
        ("INCIDENT_GATEWAY__FORWARD", in_variable),
        ("INCIDENT_GATEWAY__STORE__URL", "sqlite:/h.db"),
        ("INCIDENT_GATEWAY__PUBLIC_URL", "https://incidents.example/gateway//"),
    ];
    let environment = |count: usize| variables[..count].iter().copied().collect::<Environment>();
    let loaded = load(&Overrides::default(), &environment(3)).unwrap();
    assert_eq!(loaded.forward, [expected]);
    assert_eq!(loaded.public_url.unwrap().as_str(), "https://incidents.example/gateway");
    let without_store = load(&Overrides::default(), &environment(1)).unwrap_err().to_string();
    assert_eq!(
        without_store,
        "INCIDENT_GATEWAY__FORWARD: forward: needs a store, whose records it sends; set `store.url`"
    );
    assert_eq!((config("").forward.len(), config("").public_url), (0, None));
    assert_eq!(config("public_url: ~\nforward: []").to_yaml(), config("").to_yaml());
}

#[test]
fn every_key_is_read() {
    let read = forward(
        ", auth: { basic: { username: u, password: p } }, proxy: 'http://proxy:3128', \
         select: { priority: [ high, critical ], type: misuse, unattributed: true }, \
         tags: { environment: production, b2_: 1 }, \
         batch: { max_records: 10000, max_bytes: 64MiB, max_wait: 0s }, rate: 10/s, timeout: 3s, \
         from: beginning",
    );
    assert!(matches!(&read.auth, Some(Auth::Basic { username, .. }) if username == "u"));
    assert_eq!(read.proxy, Url::parse("http://proxy:3128").ok());
    let select = Selection {
        priorities: Some(vec![Priority::High, Priority::Critical]),
        types: Some(vec!["misuse".to_owned()]),
        unattributed: true,
    };
    assert_eq!(read.select, select);
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(read.tags, [tag("environment", "production"), tag("b2_", "1")]);
    let batch = Batch { max_records: 10_000, max_bytes: 64 << 20, max_wait: Duration::ZERO };
    assert_eq!(read.batch, batch);
    assert_eq!(read.rate, Some(Rate { requests: 10, per: Duration::from_secs(1) }));
    assert_eq!((read.timeout, read.from), (Duration::from_secs(3), ForwardFrom::Beginning));
    let smallest = forward(", batch: { max_records: 1, max_bytes: 1KiB, max_wait: 1h }");
    assert_eq!((smallest.batch.max_records, smallest.batch.max_bytes), (1, 1024));
}

#[test]
fn every_format_has_its_name() {
    for format in ForwardFormat::ALL {
        let text =
            format!("forward: [{{ name: a, url: 'http://h/_bulk', format: {} }}]", format.as_str());
        assert_eq!(config(&text).forward[0].format, format);
    }
    let text = "forward: [{ name: a, url: 'http://h', format: alertmanager, active_for: 4h }]";
    let active_for = Duration::from_hours(4);
    assert_eq!(config(text).forward[0].format, ForwardFormat::Alertmanager { active_for });
}

#[test]
fn a_later_layer_replaces_the_list_and_its_faults_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, format!("{STORE}forward: [{{ name: a, url: 'http://h', format: x }}]"))
        .unwrap();
    let overrides = Overrides { config: Some(path.clone()), ..Overrides::default() };
    let none = [("INCIDENT_GATEWAY__FORWARD", "[]")].into_iter().collect();
    assert!(load(&overrides, &none).unwrap_err().to_string().contains("forward[0].format"));
    std::fs::write(
        &path,
        "forward: [{ name: a, url: 'http://h', format: ndjson, select: { type: gone } }]",
    )
    .unwrap();
    assert_eq!(load(&overrides, &none).unwrap().forward, [], "neither store nor type is needed");
    let one = [(
        "INCIDENT_GATEWAY__FORWARD",
        "[{ name: a, url: 'http://h', format: ndjson, select: { type: mine } }]",
    )];
    std::fs::write(&path, format!("{STORE}sources: [{{ name: mine, identity: who }}]")).unwrap();
    let loaded = load(&overrides, &one.into_iter().collect()).unwrap();
    assert_eq!(loaded.forward[0].select.types, Some(vec!["mine".to_owned()]));
}

/// A folder with a certificate, its key, a secret, and a configuration that names them.
struct Folder {
    folder: tempfile::TempDir,
    certificate: String,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let new = Self { folder, certificate };
        new.write("crt.pem", &new.certificate);
        new.write("key.pem", &key.serialize_pem());
        new.write("token", "hunter2\n");
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn overrides(&self, keys: &str) -> Overrides {
        let folder = self.folder.path().display();
        let keys = keys.replace('@', &format!("{folder}/"));
        let forward = format!("forward: [{{ name: a, url: 'https://h', format: ndjson{keys} }}]");
        let store = format!("store: {{ url: 'sqlite:{folder}/h.db' }}");
        self.write("c.yaml", &format!("{store}\n{forward}\n"));
        Overrides { config: Some(self.path("c.yaml")), ..Overrides::default() }
    }

    fn load(&self, keys: &str) -> Result<Config, ConfigErrors> {
        load(&self.overrides(keys), &Environment::default())
    }
}

const FILES: &str = ", auth: { bearer: { token_file: @token } }, ca_file: @crt.pem, \
    client_cert_file: @crt.pem, client_key_file: @key.pem";

#[test]
fn files_are_read_and_belong_together() {
    let folder = Folder::new();
    let forward = folder.load(FILES).unwrap().forward.remove(0);
    let Some(Auth::Bearer { token }) = &forward.auth else { panic!() };
    assert_eq!(token.expose_secret(), "hunter2");
    assert_eq!(forward.ca.as_ref().unwrap().path, folder.path("crt.pem"));
    assert_eq!(forward.client_certificate.as_ref().unwrap().key.path, folder.path("key.pem"));
    let debug = format!("{forward:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("PRIVATE"), "{debug}");
    for (keys, message) in [
        (
            "client_cert_file: @crt.pem",
            "forward[0].client_cert_file: needs `client_key_file` beside it",
        ),
        (
            "client_key_file: @key.pem",
            "forward[0].client_key_file: needs `client_cert_file` beside it",
        ),
    ] {
        let refused = folder.load(&format!(", {keys}")).unwrap_err().to_string();
        assert!(refused.ends_with(message), "{refused}");
    }
    folder.write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let other = FILES.replace("@key.pem", "@other.pem");
    let refused = folder.load(&other).unwrap_err().to_string();
    assert!(refused.contains("forward[0].client_key_file: "), "{refused}");
    assert!(refused.contains("is not the key of the first certificate in"), "{refused}");
}

#[test]
fn commands_that_send_nothing_need_no_files_of_forwards() {
    let folder = Folder::new();
    let overrides = folder.overrides(FILES);
    let environment = Environment::default();
    assert_eq!(load_for_forward(&overrides, &environment).unwrap().forward.len(), 1);
    for name in ["token", "crt.pem", "key.pem"] {
        std::fs::remove_file(folder.path(name)).unwrap();
    }
    for load in [load_without_secrets, load_for_store, load_without_serving] {
        load(&overrides, &environment).unwrap();
    }
    for load in [load, load_for_forward] {
        let errors = load(&overrides, &environment).unwrap_err().errors;
        assert_eq!(errors.len(), 4, "{errors:?}");
    }
    // All else is still wrong.
    let overrides = folder.overrides(", format: x");
    for load in [load_without_secrets, load_for_store, load_without_serving] {
        load(&overrides, &environment).unwrap_err();
    }
}

#[test]
fn whoever_sends_needs_the_store_and_the_upstreams_but_nothing_of_serving() {
    let folder = Folder::new();
    let overrides = folder.overrides(FILES);
    let path = folder.path("c.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let serving = "tls: { cert_file: gone, key_file: gone }\nauth: { users_file: gone }\n";
    let environment = Environment::default();
    std::fs::write(&path, format!("{serving}{text}")).unwrap();
    let loaded = load_for_forward(&overrides, &environment).unwrap();
    assert!(loaded.tls.is_none() && loaded.sign_in.is_empty());
    let postgres = "store: { url: 'postgres://u@h/d', password_file: gone }\n\
        upstream: { ca_file: gone }\n";
    std::fs::write(&path, postgres).unwrap();
    let errors = load_for_forward(&overrides, &environment).unwrap_err().to_string();
    for name in ["store.password_file", "upstream.ca_file"] {
        assert!(errors.contains(name), "{errors}");
    }
}

#[test]
fn a_masked_secret_is_refused_by_its_name() {
    let masked = |auth: &str| {
        let text = format!(
            "forward: [{{ name: b, url: 'http://h', format: ndjson }}, \
             {{ name: a, url: 'http://h', format: ndjson, auth: {{ {auth} }} }}]"
        );
        config(&text).require_forward_secrets().map_err(|errors| errors.to_string())
    };
    assert_eq!(masked("none: {}"), Ok(()));
    assert_eq!(masked("bearer: { token: hunter2 }"), Ok(()));
    assert_eq!(
        masked("bearer: { token: '********' }").unwrap_err(),
        "the secret `forward[1].auth.bearer.token` is masked, as `check` prints it; write the \
         secret, or the path of a file with it (`…_file`)"
    );
    let header = "headers: { x-key: { value: '********', prefix: 'Splunk ' } }";
    assert!(masked(header).unwrap_err().contains("`forward[1].auth.headers.x-key`"));
}

#[test]
fn a_source_whose_faults_hide_it_is_not_missed() {
    let text = "sources: [{ name: mine }]\n\
        forward: [{ name: a, url: 'http://h', format: ndjson, select: { type: mine } }]";
    let refused = refusal(text);
    assert!(refused.contains("sources[0]") && !refused.contains("select"), "{refused}");
}
