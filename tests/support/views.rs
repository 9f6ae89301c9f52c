//! Views made from bodies, and the bodies in `fixtures/`.

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config::Config;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::identity::{IdentityTable, TableSlot};
use incident_gateway::join::join;
use incident_gateway::snapshot::View;

/// A view of these bodies, with the configured sources.
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
        Some(Arc::new(
            Incidents::decode(body, &SourceFields::new(&source.identity_fields())).unwrap(),
        ))
    });
    let identities = identities
        .map(|body| Arc::new(IdentityTable::decode(Bytes::from(body.to_owned())).unwrap()));
    let batches: Box<[_]> = batches.collect();
    let index = join(&[TableSlot::addresses(identities)], &batches);
    View::new(id, names.into(), batches, index).with_fields(config.known_fields())
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
