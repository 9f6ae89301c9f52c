//! Forwards.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::access::AccessFiles;
use super::mapped::{auth, proxy, rate};
use super::{duration, url};
use crate::config::{Batch, Forward, ForwardFormat, ForwardFrom, Selection, Source, from_yaml};
use crate::mapping::Priority;

#[test]
fn secrets_are_masked_and_what_is_printed_loads_again() {
    let files = AccessFiles::new();
    let folder = files.folder();
    let text = format!(
        "store: {{ url: 'sqlite:/h.db' }}
public_url: https://incidents.example/gateway/
forward:
  - name: siem
    url: https://collector.example/services/collector?channel=1
    auth: {{ headers: {{ Authorization: {{ value_file: {folder}/splunk, prefix: 'Splunk ' }} }} }}
    ca_file: {folder}/ca.crt
    client_cert_file: {folder}/tls.crt
    client_key_file: {folder}/tls.key
    proxy: http://proxy:3128
    format: alertmanager
    select: {{ priority: critical, type: [misuse, denial], unattributed: true }}
    tags: {{ environment: production, on: 'yes' }}
    rate: 10/s
    active_for: 2h
  - {{ name: short, url: 'http://localhost/', format: ndjson, batch: {{ max_records: 1 }} }}
"
    );
    let config = from_yaml("c", &text).unwrap();
    let printed = config.to_yaml();
    let expected = format!(
        "
forward:
  - name: siem
    url: \"https://collector.example/services/collector?channel=1\"
    auth: {{ headers: {{ authorization: {{ value: \"********\", prefix: \"Splunk \" }} }} }}
    ca_file: {folder}/ca.crt
    client_cert_file: {folder}/tls.crt
    client_key_file: {folder}/tls.key
    proxy: http://proxy:3128
    format: alertmanager
    select: {{ priority: critical, type: [misuse, denial], unattributed: true }}
    tags: {{ environment: production, \"on\": \"yes\" }}
    batch: {{ max_records: 500, max_bytes: 1MiB, max_wait: 1s }}
    rate: 10/s
    timeout: 10s
    from: now
    active_for: 2h
  - name: short
    url: http://localhost/
    format: ndjson
    batch: {{ max_records: 1, max_bytes: 1MiB, max_wait: 1s }}
    timeout: 10s
    from: now
public_url: https://incidents.example/gateway
"
    );
    assert!(printed.contains(&expected), "{printed}");
    assert!(!printed.contains("secret"), "the file has `secret`");
    let again = from_yaml("printed.yaml", &printed).unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
    assert_eq!(again.to_yaml(), printed);
    assert!(again.require_forward_secrets().is_err() && config.require_forward_secrets().is_ok());
}

/// Forwards that select records of these sources, as far as they need no files.
pub(super) fn forwards(sources: &[Source]) -> BoxedStrategy<Vec<Forward>> {
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let forwards = btree_map("[a-z][a-z0-9_-]{0,9}", forward(names).boxed(), 0..4);
    let forwards = forwards.prop_map(|named| {
        named.into_iter().map(|(name, forward)| Forward { name, ..forward }).collect()
    });
    forwards.boxed()
}

fn forward(sources: Vec<String>) -> impl Strategy<Value = Forward> {
    let formats = select(ForwardFormat::ALL.to_vec());
    let formats = (formats, duration(1, 3_600_000)).prop_map(|(format, active_for)| match format {
        ForwardFormat::Alertmanager { .. } => ForwardFormat::Alertmanager { active_for },
        format => format,
    });
    let selection = (
        option::of(vec(select(Priority::ALL.to_vec()), 1..4)),
        option::of(vec(select(sources), 1..4)),
        any::<bool>(),
    );
    let selection = selection.prop_map(|(priorities, types, unattributed)| Selection {
        priorities,
        types,
        unattributed,
    });
    // Names that every format can have.
    let tags = btree_map("t[a-z0-9]{0,19}|null|true|on|y", "\\PC{0,9}|[ -~]{0,9}", 0..5);
    let batch = (1..=10_000_usize, 1_usize << 10..=64 << 20, duration(0, 3_600_000));
    let batch = batch.prop_map(|(max_records, max_bytes, max_wait)| Batch {
        max_records,
        max_bytes,
        max_wait,
    });
    let from = select(vec![ForwardFrom::Now, ForwardFrom::Beginning]);
    let sending = (option::of(auth()), option::of(proxy()), option::of(rate()));
    let what = (formats, selection, tags, batch, from);
    let url = (url(), option::of("[a-z0-9=&/?é-]{0,9}"));
    (url, sending, what, duration(1, 3_600_000)).prop_map(
        |((mut url, query), (auth, proxy, rate), (format, select, tags, batch, from), timeout)| {
            if format == ForwardFormat::Elasticsearch {
                url.set_path(&format!("{}/_bulk", url.path().trim_end_matches('/')));
            }
            url.set_query(query.as_deref());
            Forward {
                name: String::new(),
                url,
                auth,
                ca: None,
                client_certificate: None,
                proxy,
                format,
                select,
                tags: tags.into_iter().collect(),
                batch,
                rate,
                timeout,
                from,
            }
        },
    )
}
