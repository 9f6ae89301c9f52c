//! Views made from bodies, and the bodies in `fixtures/`.

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config::Config;
use incident_gateway::decode::{IncidentsDecoder, SourceMapping};
use incident_gateway::identity::{KeyKinds, TableDecoder, TableSlot};
use incident_gateway::join::join;
use incident_gateway::snapshot::View;

/// A view of these bodies, with the configured sources. `identities` is the body of the first
/// table; others are missing.
pub(crate) fn view(
    config: &Config,
    id: u64,
    identities: Option<&str>,
    bodies: &[Option<&str>],
) -> View {
    let names: Vec<Arc<str>> =
        config.sources.iter().map(|source| Arc::from(source.name.as_str())).collect();
    let batches = config.sources.iter().enumerate().map(|(index, source)| {
        let body = Bytes::from(bodies.get(index).copied().flatten()?.to_owned());
        let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
        decoder.add_page(body).unwrap();
        Some(Arc::new(decoder.finish()))
    });
    let batches: Box<[_]> = batches.collect();
    let tables = config.identities.iter().enumerate().map(|(index, table)| {
        let body = identities.filter(|_| index == 0);
        let decode = |body: &str| {
            let mut decoder = TableDecoder::new(table);
            decoder.add_page(Bytes::from(body.to_owned())).unwrap();
            Arc::new(decoder.finish())
        };
        TableSlot { kinds: KeyKinds::of(table), table: body.map(decode) }
    });
    let tables: Vec<TableSlot> = tables.collect();
    let index = join(&tables, &batches);
    View::new(id, names.into(), batches, index)
        .with_fields(config.known_fields())
        .with_tables(&tables)
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
