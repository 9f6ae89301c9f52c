//! The programs that `.ci/install-web` installs for tests of pages and formats.

use std::path::PathBuf;

/// The path of an installed program; `None`, with a message on stderr, if it is missing. If
/// `INCIDENT_GATEWAY_NO_SKIP` is set, as in CI, a missing program fails the test.
pub(crate) fn tool(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INCIDENT_GATEWAY_WEB_TOOLS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/web-tools")),
        PathBuf::from,
    );
    let tool = root.join(path);
    if tool.exists() {
        return Some(tool);
    }
    assert!(
        std::env::var_os("INCIDENT_GATEWAY_NO_SKIP").is_none(),
        "{test}: no {path}; run .ci/install-web"
    );
    eprintln!("SKIPPED {test}: no {path}; run .ci/install-web");
    None
}
