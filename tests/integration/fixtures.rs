//! The fixtures are what the generator makes, and the expected documents what the independent
//! reference says of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use incident_gateway::demo::Endpoint;
use incident_gateway::demo::generate::{fixture, quirks};
use serde::Deserialize;
use serde_json::value::RawValue;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Compares a file with what it should be, or makes it so if `REWRITE_FIXTURES` is set.
#[track_caller]
fn hold(path: &Path, wanted: &[u8]) {
    if env::var_os("REWRITE_FIXTURES").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read(path).unwrap();
    // Not assert_eq: it would print both files.
    assert!(
        found == wanted,
        "{} is out of date; see fixtures/README.md, \"Changing them\"",
        path.display()
    );
}

#[test]
fn the_files_are_made_by_the_generator() {
    for endpoint in Endpoint::ALL {
        hold(&fixtures().join(format!("{endpoint}.json")), &fixture(endpoint));
    }
}

#[test]
fn the_list_of_quirks_is_made_by_the_generator() {
    const OPEN: &str = "<!-- quirks: written by the test, see above -->\n";
    const CLOSE: &str = "<!-- end of quirks -->\n";
    let path = fixtures().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(OPEN).unwrap();
    let (_, after) = rest.split_once(CLOSE).unwrap();
    let mut table = String::from("\n| source | at | what |\n|---|---|---|\n");
    for quirk in quirks() {
        writeln!(table, "| {} | {} | {} |", quirk.endpoint, quirk.at, quirk.what).unwrap();
    }
    hold(&path, [before, OPEN, &table, "\n", CLOSE, after].concat().as_bytes());
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

#[test]
fn each_quirk_is_where_it_is_said_to_be() {
    for endpoint in &Endpoint::ALL[1..] {
        let body = fixture(*endpoint);
        let records = serde_json::from_slice::<Results<'_>>(&body).unwrap().results;
        assert!((150..=300).contains(&records.len()), "{endpoint}: {} records", records.len());
        for quirk in quirks().filter(|quirk| quirk.endpoint == *endpoint) {
            assert_eq!(records[usize::try_from(quirk.at).unwrap()].get(), quirk.text);
        }
    }
    let table = String::from_utf8(fixture(Endpoint::Identities)).unwrap();
    for quirk in quirks().filter(|quirk| quirk.endpoint == Endpoint::Identities) {
        assert!(table.contains(quirk.text), "{}", quirk.text);
    }
}

#[test]
fn the_data_is_small_enough_to_carry_in_the_binary_and_the_repository() {
    let size = |path: String| fs::metadata(fixtures().join(path)).unwrap().len();
    let carried: u64 =
        Endpoint::ALL.into_iter().map(|endpoint| size(format!("{endpoint}.json"))).sum();
    assert!((100_000..150_000).contains(&carried), "{carried} bytes");
    let expected: u64 = ["incidents", "unattributed"]
        .map(|name| size(format!("expected/{name}.json")))
        .iter()
        .sum();
    assert!(carried + expected < 300_000, "{} bytes", carried + expected);
}

#[test]
fn the_expected_documents_are_those_of_the_independent_reference() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!(
            "SKIPPED the_expected_documents_are_those_of_the_independent_reference: there is no python3"
        );
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let reference = Command::new("python3")
        .arg(fixtures().join("reference.py"))
        .arg(fixtures())
        .arg(out.path())
        .output()
        .unwrap();
    assert!(reference.status.success(), "{}", String::from_utf8_lossy(&reference.stderr));
    for document in ["incidents.json", "unattributed.json"] {
        let wanted = fs::read(out.path().join(document)).unwrap();
        let found = fs::read(fixtures().join("expected").join(document)).unwrap();
        assert!(
            found == wanted,
            "fixtures/expected/{document} is out of date; see fixtures/README.md"
        );
    }
}
