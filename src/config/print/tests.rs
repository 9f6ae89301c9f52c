mod access;
mod forward;
mod mapped;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use self::access::AccessFiles;
use crate::config::settings::{SETTINGS, names_below};
use crate::config::source;
use crate::config::{
    Auth, Cache, Concurrency, Config, ForwardFormat, Limits, LogFormat, Otlp, Shutdown, Source,
    StoreUrl, Table, Upstream, from_yaml,
};

#[test]
fn the_defaults_are_printed() {
    let yaml = Config::default().to_yaml();
    assert!(
        yaml.starts_with(
            "listen: 0.0.0.0:9000\nadmin_listen: 0.0.0.0:9001\nresponse_budget: 1900ms\nupstream:\n"
        ),
        "{yaml}"
    );
    assert!(
        yaml.contains(
            "\nsources:\n  - { name: denial, path: /incidents/denial/, identity: reported_by }\n"
        ),
        "{yaml}"
    );
    assert!(yaml.contains("  username: null\n  password: null\n"), "{yaml}");
}

#[test]
fn the_password_is_masked_and_nothing_else() {
    let text =
        "upstream: { username: alice, password: hunter2, base_url: 'http://localhost:9002' }\n";
    let yaml = from_yaml("c.yaml", text).unwrap().to_yaml();
    assert!(
        yaml.contains(
            "  base_url: http://localhost:9002\n  username: alice\n  password: \"********\"\n"
        ),
        "{yaml}"
    );
    assert!(!yaml.contains("hunter2"));
    assert_eq!(yaml.matches("***").count(), 2, "one mask: {yaml}");
    // The mask is no password, so that what `check` prints can be a configuration file.
    let again = from_yaml("printed.yaml", &yaml).unwrap();
    assert!(again.upstream.password.is_none());
    assert_eq!(again.upstream.username.as_deref(), Some("alice"));
}

#[test]
fn every_setting_is_documented_with_its_variable_and_its_default() {
    let documentation = include_str!("../../../docs/CONFIGURATION.md");
    let defaults = Config::default();
    let with_jwt = from_yaml("c", "auth: { jwt: { issuer: 'https://i', audience: a } }").unwrap();
    for setting in SETTINGS {
        // What the claims default to where there is an issuer.
        let is_claim = setting.key.ends_with("_claim");
        let default = setting.show(if is_claim { &with_jwt } else { &defaults });
        let row = match default.as_str() {
            "null" | "" => format!("| `{}` | `{}` | none |", setting.key, setting.variable()),
            block if block.starts_with('\n') => {
                format!("| `{}` | `{}` |", setting.key, setting.variable())
            }
            default => format!("| `{}` | `{}` | `{default}` |", setting.key, setting.variable()),
        };
        assert!(
            documentation.contains(&row),
            "docs/CONFIGURATION.md lacks a row that begins with: {row}"
        );
    }
    // And no row for what is no setting.
    let rows = documentation.lines().filter(|line| line.contains("| `INCIDENT_GATEWAY__"));
    assert_eq!(rows.count(), SETTINGS.len());
    for key in source::KEYS {
        assert!(documentation.contains(&format!("\n| `{key}` |")), "a row for `{key}` is missing");
    }
    for key in source::TABLE_KEYS.iter().filter(|key| !source::KEYS.contains(key)) {
        assert!(documentation.contains(&format!("\n| `{key}` |")), "a row for `{key}` is missing");
    }
    let forwards = documentation.split("\n## Forwards\n").nth(1).unwrap();
    let forwards = forwards.split("\n## ").next().unwrap();
    for key in crate::config::forward::KEYS
        .into_iter()
        .chain(ForwardFormat::ALL.map(ForwardFormat::as_str))
    {
        assert!(forwards.contains(&format!("\n| `{key}` |")), "a row for `{key}` is missing");
    }
    for kind in Auth::KINDS {
        assert!(
            documentation.contains(&format!("\n| `{kind}` |")),
            "a row for `{kind}` is missing"
        );
    }
    let files = AccessFiles::new();
    let folder = files.folder();
    for example in
        documentation.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next())
    {
        let mut example = example.to_owned();
        for prefix in ["/run/secrets/", "/tls/", "/etc/gateway/"] {
            example = example.replace(prefix, &format!("{folder}/"));
        }
        if let Err(errors) = from_yaml("docs/CONFIGURATION.md", &example) {
            panic!("{errors}\n{example}");
        }
    }
}

#[test]
fn every_setting_is_printed_in_its_section() {
    let yaml = Config::default().to_yaml();
    let mut top: Vec<&str> = yaml
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(':').next())
        .collect();
    top.dedup();
    let mut known = names_below("");
    known.retain(|name| !["upstreams", "forward", "tls", "auth", "allowed_hosts"].contains(name));
    assert_eq!(
        top, known,
        "each section once, in the table's order; those without defaults if set"
    );
}

fn duration(least_millis: u64, most_millis: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        (least_millis..=most_millis).prop_map(Duration::from_millis),
        (least_millis.div_ceil(1000)..=most_millis / 1000).prop_map(Duration::from_secs),
        (least_millis * 1000..=most_millis * 1000).prop_map(Duration::from_micros),
    ]
}

fn url() -> impl Strategy<Value = reqwest::Url> {
    "https?://([a-z][a-z0-9-]{0,9}[a-z0-9]|127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?(/[a-z0-9é%'()!$&*+,;=~ -]{0,9}){0,3}"
        .prop_filter_map("a URL", |text| reqwest::Url::parse(&text).ok())
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-zA-Z0-9é_.:%'\"{},\\[\\]&*!|>@`~-]{1,9}){1,3}/?".prop_map(|path| path)
}

fn plain_source() -> impl Strategy<Value = Source> {
    (
        "[a-z][a-z0-9_-]{0,20}",
        path(),
        proptest::collection::vec("[^/$\\p{Cc}]\\PC{0,8}|[!-#%-.0-~][\\x00-\\x7f]{0,8}", 1..4),
    )
        .prop_map(|(name, path, identity)| {
            let identity: Vec<&str> = identity.iter().map(String::as_str).collect();
            Source::plain(&name, &path, &identity)
        })
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let concurrency =
        prop_oneof![Just(Concurrency::Auto), (1..=1024_usize).prop_map(Concurrency::Fixed)];
    let numbers = (concurrency, 1..=1024_usize, 0..=10_usize, 1..=u64::from(u32::MAX));
    let credentials = (proptest::option::of("[^:\\p{Cc}]{1,9}"), proptest::option::of("\\PC{1,9}"));
    (url(), credentials, duration(1, 3_600_000), duration(1, 3_600_000), numbers).prop_map(
        |(base_url, (username, password), timeout, connect_timeout, numbers)| Upstream {
            base_url,
            username,
            password: password.map(Into::into),
            auth: None,
            ca: None,
            client_certificate: None,
            proxy: None,
            rate: None,
            timeout,
            connect_timeout,
            concurrency: numbers.0,
            max_concurrency: numbers.1,
            retries: numbers.2,
            max_body: numbers.3,
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let addresses = (any::<IpAddr>(), any::<IpAddr>(), 0..=32_767_u16, 32_768..=65_535_u16);
    let cache = (duration(1, 3_600_000), duration(0, 3_600_000), 0..=1_u64 << 40);
    let waits = (duration(1, 3_600_000), duration(1, 3_600_000), duration(1, 3_600_000));
    let renders = proptest::option::of(1..=1024_usize);
    let counts = (1..=1_000_000_usize, 1..=1_000_000_usize, renders, 1..=1_000_000_usize);
    let limits = (counts, waits, 0..=1_u64 << 30);
    let shutdown = (duration(0, 3_600_000), duration(0, 3_600_000));
    let log_format =
        prop_oneof![Just(None), Just(Some(LogFormat::Json)), Just(Some(LogFormat::Text))];
    let source = prop_oneof![plain_source(), mapped::source()];
    let sources =
        proptest::collection::btree_map("[a-z]{1,9}", source.boxed(), 1..6).prop_map(|named| {
            named
                .into_iter()
                .map(|(name, source)| Source { name: format!("x{name}"), ..source })
                .collect()
        });
    let rest = (
        (cache, store::store()),
        limits,
        shutdown,
        log_format,
        (proptest::option::of(url()), proptest::option::of(url())),
        access::access(),
    );
    let identities =
        prop_oneof![path().prop_map(|path| vec![Table::addresses(&path)]), mapped::tables()];
    let upstreams = (mapped::extended_upstream(), mapped::named_upstreams());
    let config = (addresses, duration(1, 3_600_000), upstreams, identities, sources, rest)
        .prop_map(
            |(
                addresses,
                response_budget,
                (upstream, upstreams),
                identities,
                sources,
                ((cache, store), limits, shutdown, log_format, (endpoint, public_url), access),
            )| {
                let (sign_in, admin, allowed_hosts) = access;
                let public_url = public_url.map(|mut url| {
                    url.set_path(url.path().to_owned().trim_end_matches('/'));
                    url
                });
                Config {
                    listen: SocketAddr::new(addresses.0, addresses.2),
                    admin_listen: SocketAddr::new(addresses.1, addresses.3),
                    response_budget,
                    upstream,
                    upstreams,
                    identities,
                    sources,
                    cache: Cache { ttl: cache.0, stale_for: cache.0 + cache.1, max_bytes: cache.2 },
                    store,
                    forward: Vec::new(),
                    public_url,
                    limits: Limits {
                        max_connections: limits.0.0,
                        max_requests: limits.0.1,
                        max_renders: limits.0.2,
                        max_events: limits.0.3,
                        header_timeout: limits.1.0,
                        idle_timeout: limits.1.1,
                        write_timeout: limits.1.2,
                        min_send_rate: limits.2,
                    },
                    shutdown: Shutdown { drain_delay: shutdown.0, timeout: shutdown.1 },
                    log_format,
                    tls: None,
                    sign_in,
                    admin,
                    allowed_hosts,
                    otlp: Otlp { endpoint },
                }
            },
        );
    // Boxed, since values of such a depth take much of the stack.
    config.boxed().prop_flat_map(|config| {
        let has_store = config.store.url != StoreUrl::None;
        forward::forwards(&config.sources).prop_map(move |forward| Config {
            forward: if has_store { forward } else { Vec::new() },
            ..config.clone()
        })
    })
}

proptest! {
    /// `Debug` shows every field, and nothing of secrets but that they are there.
    #[test]
    fn the_printed_configuration_loads_again(mut config in config()) {
        let yaml = config.to_yaml();
        let again = from_yaml("printed.yaml", &yaml);
        prop_assert!(again.is_ok(), "{}\n{yaml}", again.unwrap_err());
        config.upstream.password = None;
        for upstream in &mut config.upstreams {
            upstream.settings.password = None;
        }
        prop_assert_eq!(format!("{:?}", again.unwrap()), format!("{config:?}"), "{}", yaml);
    }
}
