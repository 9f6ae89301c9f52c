//! A conforming client cache keeps answers for as long as they are fresh.

use std::process::Command;
use std::time::Duration;

use crate::support::gateway::{Gateway, good_upstream, quick};
use crate::support::web_tools::tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cache_keeps_answers_and_uses_them_again() {
    let undici = "node_modules/undici/package.json";
    let Some(undici) = tool("a_client_cache_keeps_answers_and_uses_them_again", undici) else {
        return;
    };
    let tools = undici.ancestors().nth(3).unwrap().to_owned();
    let upstream = good_upstream().await;
    let mut config = quick(&upstream.base_url());
    config.cache.ttl = Duration::from_secs(8);
    let gateway = Gateway::start(&config);
    gateway.wait_until("complete", |sources| sources["completeness"] == "complete").await;
    let url = format!("http://{}", gateway.running.address);
    let node = tokio::task::spawn_blocking(move || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/client_cache.mjs");
        Command::new("node").arg(script).arg(url).arg(tools).output().unwrap()
    });
    let output = node.await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
