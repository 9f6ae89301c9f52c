//! The expected documents are what the independent reference program makes of the fixtures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use incident_gateway::demo::Endpoint;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

#[test]
fn the_fixtures_are_small_enough_for_the_binary_and_the_repository() {
    let size = |path: String| fs::metadata(fixtures().join(path)).unwrap().len();
    let input: u64 = Endpoint::ALL.iter().map(|endpoint| size(format!("{endpoint}.json"))).sum();
    assert!((100_000..150_000).contains(&input), "{input} bytes");
    let expected: u64 = ["incidents", "unattributed"]
        .map(|name| size(format!("expected/{name}.json")))
        .iter()
        .sum();
    assert!(input + expected < 300_000, "{} bytes", input + expected);
}

#[test]
fn the_table_of_oddities_names_existing_lines() {
    let readme = fs::read_to_string(fixtures().join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| {
        let (source, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        let line: usize = rest.split_once(" | ")?.0.parse().ok()?;
        Some((source, line))
    });
    let mut count = 0;
    for (source, line) in rows {
        let body = fs::read_to_string(fixtures().join(format!("{source}.json"))).unwrap();
        // The first and the last line hold the brackets.
        assert!((2..body.lines().count()).contains(&line), "{source}, line {line}");
        count += 1;
    }
    assert!(count > 100, "{count} rows");
}

#[test]
fn the_expected_documents_are_those_of_the_independent_reference() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!(
            "SKIPPED the_expected_documents_are_those_of_the_independent_reference: there is no \
             python3"
        );
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let reference = Command::new("python3")
        .arg("-B")
        .arg(fixtures().join("reference.py"))
        .arg(fixtures())
        .arg(out.path())
        .output()
        .unwrap();
    assert!(reference.status.success(), "{}", String::from_utf8_lossy(&reference.stderr));
    for document in ["incidents.json", "unattributed.json"] {
        let expected = fs::read(out.path().join(document)).unwrap();
        let found = fs::read(fixtures().join("expected").join(document)).unwrap();
        // Not assert_eq: it would print both files.
        assert!(
            found == expected,
            "fixtures/expected/{document} is out of date; see fixtures/README.md"
        );
    }
}
