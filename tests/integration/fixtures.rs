//! The expected documents are what the independent reference program makes of the fixtures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use incident_gateway::config::{self, Source};
use incident_gateway::demo::{Data, Endpoint, Options, PASSWORD, SOURCES_YAML, USERNAME, Upstream};
use serde_json::json;

use crate::support::gateway::{Gateway, quick};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

#[test]
fn the_fixtures_are_small_enough_for_the_binary_and_the_repository() {
    let size = |path: String| fs::metadata(fixtures().join(path)).unwrap().len();
    let input: u64 = Endpoint::ALL.iter().map(|endpoint| size(format!("{endpoint}.json"))).sum();
    assert!((100_000..150_000).contains(&input), "{input} bytes");
    let expected: u64 = ["incidents", "unattributed", "mapped/incidents", "mapped/unattributed"]
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
    let names = ["incidents", "unattributed", "mapped/incidents", "mapped/unattributed"];
    for document in names.map(|name| format!("{name}.json")) {
        let expected = fs::read(out.path().join(&document)).unwrap();
        let found = fs::read(fixtures().join("expected").join(&document)).unwrap();
        // Not assert_eq: it would print both files.
        assert!(
            found == expected,
            "fixtures/expected/{document} is out of date; see fixtures/README.md"
        );
    }
}

#[tokio::test]
async fn the_fixtures_of_mapped_sources_give_the_expected_documents() {
    let options = Options {
        data: Data::Fixtures,
        latency: Duration::ZERO,
        contention: 0.0,
        ..Options::default()
    };
    let upstream = Upstream::start(options).await.unwrap();
    let demo = config::from_yaml("sources.yaml", SOURCES_YAML).unwrap();
    let mut config = quick(&upstream.base_url());
    config.upstream.username = Some(USERNAME.to_owned());
    config.upstream.password = Some(PASSWORD.into());
    config.identities = demo.identities;
    config.sources = demo.sources.into_iter().filter(Source::is_mapped).collect();
    let gateway = Gateway::start(&config);
    gateway.wait_until_complete("fetched").await;
    for name in ["incidents", "unattributed"] {
        let expected = fs::read(fixtures().join(format!("expected/mapped/{name}.json"))).unwrap();
        let answer = gateway.get(&format!("/{name}")).await;
        assert_eq!(answer.text(), String::from_utf8(expected).unwrap(), "{name}");
    }
    let sources = gateway.get("/sources").await.json();
    let noticed = |name: &str, member: &str| {
        let mut sources = sources["sources"].as_array().unwrap().iter();
        sources.find(|source| source["name"] == name).unwrap()[member].clone()
    };
    assert_eq!(noticed("signin", "unmapped"), json!({"NOTICE": 1}));
    assert_eq!(noticed("signin", "duplicates"), 1);
    assert_eq!(noticed("mail", "unmapped"), json!({"-1": 1}));
    assert_eq!(noticed("identities-2", "conflicts"), 1);
}
