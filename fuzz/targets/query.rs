//! Reading a query, and answering it from a small view.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use incident_gateway::credentials::Scope;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::http::{AllowedKeys, Problem, Query};
use incident_gateway::join::join;
use incident_gateway::render;
use incident_gateway::snapshot::View;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

const BODY: &str = r#"{"results":[{"priority":"low","who":1,"timestamp":1.5},{"priority":"high","who":"é","timestamp":-1e9}]}"#;

static VIEW: LazyLock<View> = LazyLock::new(|| {
    let incidents = Incidents::decode(
        Bytes::from_static(BODY.as_bytes()),
        &SourceFields::new(&["who".to_owned()]),
    );
    let names: Arc<[Arc<str>]> = Arc::new(["denial".into(), "other".into()]);
    let batches = [incidents.ok().map(Arc::new), None];
    let index = join(&[], &batches);
    View::new(1, names, batches.into(), index)
});

fuzz_target!(|query: &str| {
    let own = Scope::Employee("1".into());
    let cases = [
        (AllowedKeys::All, Scope::All),
        (AllowedKeys::AllButEmployee("1"), Scope::All),
        (AllowedKeys::CompleteOnly, Scope::All),
        (AllowedKeys::All, own.clone()),
        (AllowedKeys::AllButEmployee("1"), own),
    ];
    for (keys, scope) in cases {
        match Query::parse(Some(query), keys, VIEW.names(), &scope) {
            Ok(query) => {
                if let Some(own) = scope.only_employee() {
                    assert_eq!(query.filter.employees, Some(vec![own.to_string()]));
                }
                let document = render::incidents(&VIEW, &query.filter);
                serde_json::from_slice::<IgnoredAny>(&document).expect("what is rendered is JSON");
            }
            Err(Problem::InvalidQuery(detail)) => {
                assert!(detail.len() < 1000, "quotes too much: {detail}")
            }
            Err(Problem::Forbidden) if scope != Scope::All => {}
            Err(other) => panic!("{other:?} for a query"),
        }
    }
});
