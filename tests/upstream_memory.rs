//! What a hostile body may cost. Alone in its process, since it measures the process.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use futures::future::join_all;
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::metrics;
use incident_gateway::outcome::Outcome;
use incident_gateway::upstream::{CallContext, Upstream, UpstreamMetrics};
use support::one_source::get;
use support::scripted_upstream::{Script, ScriptedUpstream, gzip};

const MAX_BODY: usize = 8 << 20;
const SOURCES: usize = 8;

/// A line of `/proc/self/status` in bytes.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Starts the peak (`VmHWM`) anew from what is in use.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[tokio::test]
async fn memory_is_bounded_by_max_body_times_the_calls_in_flight() {
    let server = ScriptedUpstream::start().await;
    let settings = config::Upstream {
        base_url: server.base_url().parse().unwrap(),
        timeout: Duration::from_mins(1),
        concurrency: Concurrency::Fixed(SOURCES),
        retries: 0,
        max_body: MAX_BODY as u64,
        ..Config::default().upstream
    };
    let names: Vec<_> = (0..SOURCES).map(|i| format!("s{i}").into()).collect();
    let metrics = UpstreamMetrics::register(&mut metrics::registry());
    let upstream = Upstream::new("default", &settings, &names, &metrics, 1).unwrap();

    let zeros = gzip(&vec![0; 256 << 20]);
    let bomb = |coding: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Script::Raw([head.as_bytes(), body].concat())
    };
    let endless_zeros =
        zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 3).unwrap();
    let most = vec![b'x'; MAX_BODY + 1];
    let chunked = [
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", most.len())
            .as_bytes(),
        &most,
    ]
    .concat();
    let hostile = [
        ("endless", Script::Endless),
        ("gzip bomb", bomb("gzip", &zeros)),
        ("zstd bomb", bomb("zstd", &endless_zeros)),
        ("a lie about the length", Script::Announce(MAX_BODY as u64)),
        ("one byte too many", Script::Raw(chunked)),
    ];
    let caller = CallContext::default();
    for (name, script) in hostile {
        let lies = matches!(script, Script::Announce(_));
        let scripted = if let Script::Raw(bytes) = &script { bytes.len() } else { 0 };
        (0..SOURCES).for_each(|i| server.script(&format!("/{i}"), script.clone()));
        forget_peak();
        let (before, reserved) = (memory("VmRSS"), memory("VmSize"));
        let mut calls = join_all(
            (0..SOURCES)
                .map(|i| upstream.fetch(i, get(&upstream, &format!("/{i}")), caller.clone())),
        );
        if lies {
            assert!(tokio::time::timeout(Duration::from_millis(500), &mut calls).await.is_err());
            // Address space, since what is reserved and never written is in no other figure.
            let grown = memory("VmSize").saturating_sub(reserved);
            assert!(grown < SOURCES * MAX_BODY / 2, "{name}: {} MiB on a promise", grown >> 20);
            continue;
        }
        for result in calls.await {
            assert_eq!(result.unwrap_err().kind, Outcome::TooLarge, "{name}");
        }
        let grown = memory("VmHWM").saturating_sub(before);
        // The server is part of this process: what it keeps and what it is sending count too.
        let bound = SOURCES * (MAX_BODY * 5 / 4 + 2 * scripted) + (16 << 20);
        assert!(grown < bound, "{name}: {} MiB, more than {} MiB", grown >> 20, bound >> 20);
    }
}
