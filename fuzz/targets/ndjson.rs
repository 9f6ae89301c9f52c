//! Files of lines: they are read as the list of their lines is.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use incident_gateway::config::{Origin, Source};
use incident_gateway::decode::{Incidents, IncidentsDecoder, SourceMapping};
use incident_gateway::json::Path;
use libfuzzer_sys::fuzz_target;

fn envelopes(incidents: &Incidents) -> Vec<&[u8]> {
    incidents.records().iter().map(|record| incidents.bytes(record)).collect()
}

/// A line without whitespace around it, as JSON defines it (RFC 8259, section 2).
fn without_whitespace(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(is_text).unwrap_or(line.len());
    let end = line.iter().rposition(is_text).map_or(start, |last| last + 1);
    &line[start..end]
}

fuzz_target!(|lines: &[u8]| {
    let source = Source {
        origin: Origin::File("fuzz.ndjson".to_owned()),
        id: vec![Path::name("id")],
        ..Source::plain("fuzz", "/", &["who"])
    };
    let mapping = Arc::new(SourceMapping::new(&source));
    let mut by_line = IncidentsDecoder::new(Arc::clone(&mapping));
    let read = by_line.add_lines(lines);
    let unmarked = lines.strip_prefix("\u{feff}".as_bytes()).unwrap_or(lines);
    let records: Vec<&[u8]> = unmarked
        .split(|byte| *byte == b'\n')
        .map(without_whitespace)
        .filter(|line| !line.is_empty())
        .collect();
    let mut list = vec![b'['];
    list.extend(records.join(&b','));
    list.push(b']');
    let mut as_list = IncidentsDecoder::new(mapping);
    let read_as_list = as_list.add_page(Bytes::from(list));
    match read {
        Ok(end) => {
            assert_eq!(end.records, records.len());
            // The list is one level deeper.
            if let Err(error) = read_as_list {
                assert!(error.to_string().contains("too deep"), "{error}");
                return;
            }
            let (by_line, as_list) = (by_line.finish(), as_list.finish());
            assert_eq!(envelopes(&by_line), envelopes(&as_list));
        }
        Err(_) => {
            let is_json = |line: &&[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            let is_deep = |line: &&[u8]| {
                line.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 256
            };
            assert!(
                std::str::from_utf8(lines).is_err()
                    || !records.iter().all(is_json)
                    || records.iter().any(is_deep)
            );
        }
    }
});
