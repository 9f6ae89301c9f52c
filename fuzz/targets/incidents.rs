//! Decoding, joining and rendering an incident endpoint's body; what is JSON is decided as by
//! `serde_json`.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::join::join;
use incident_gateway::render::{self, Filter};
use incident_gateway::snapshot::View;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

fuzz_target!(|body: &[u8]| {
    let fields = SourceFields::new(&["who".to_owned(), "ip".to_owned()]);
    let decoded = Incidents::decode(Bytes::copy_from_slice(body), &fields);
    let unmarked = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let text = std::str::from_utf8(unmarked);
    let reference = text.ok().and_then(|text| serde_json::from_str::<Reference<'_>>(text).ok());
    let incidents = match (decoded, &reference) {
        (Ok(incidents), _) => incidents,
        (Err(_), None) => return,
        (Err(error), Some(_)) if error.to_string().contains("too deep") => return,
        // serde takes a struct's fields as an array too.
        (Err(_), Some(_)) if text.is_ok_and(|text| text.trim_start().starts_with('[')) => return,
        (Err(error), Some(_)) => panic!("refused what serde_json takes: {error}"),
    };
    serde_json::from_slice::<IgnoredAny>(unmarked).expect("what is taken is JSON");
    if let Some(reference) = &reference {
        let ours: Vec<&[u8]> =
            incidents.records().iter().map(|record| incidents.bytes(record)).collect();
        let theirs: Vec<&[u8]> =
            reference.results.iter().map(|record| record.get().as_bytes()).collect();
        assert_eq!(ours, theirs);
    }
    let records = incidents.records().len();
    let names: Arc<[Arc<str>]> = Arc::new(["fuzz".into()]);
    let batches = [Some(Arc::new(incidents))];
    let index = join(&[], &batches);
    let view = View::new(1, names, batches.into(), index);
    assert_eq!(
        view.index().incident_count() + view.index().unattributed().len(),
        records,
        "every record once"
    );
    let [document, unattributed, lines, _] = answers(&view);
    for rendered in [&document, &unattributed] {
        serde_json::from_slice::<IgnoredAny>(rendered).expect("what is rendered is JSON");
    }
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<IgnoredAny>(line).expect("each line is JSON");
    }
});

fn answers(view: &View) -> [Vec<u8>; 4] {
    let all = Filter::default();
    [
        render::incidents(view, &all),
        render::unattributed(view),
        render::ndjson(view, &all),
        render::csv(view, &all),
    ]
}
