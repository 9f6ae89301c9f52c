//! The floor: a bare client that downloads the eight bodies, validates and keeps them.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use incident_gateway::demo::Endpoint;
use serde_json::value::RawValue;

use super::Upstream;

/// The time from exec to exit.
pub(crate) fn time(how: &str, upstream: &Upstream) -> Duration {
    let started = Instant::now();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["floor", how, &upstream.address])
        .status()
        .unwrap();
    assert!(status.success());
    started.elapsed()
}

/// A process that keeps downloading and validating at the niceness of the gateway's background;
/// killed when this is dropped.
pub(crate) struct Refreshing(Child);

impl Refreshing {
    pub(crate) fn start(upstream: &Upstream) -> Self {
        let program = std::env::current_exe().unwrap();
        Self(Command::new(program).args(["keep-refreshing", &upstream.address]).spawn().unwrap())
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a download every `period`.
pub(crate) fn keep_refreshing(address: &str, period: Duration) {
    // Threads that start later inherit it.
    rustix::process::setpriority_process(None, 10).unwrap();
    loop {
        let began = Instant::now();
        run("concurrent", address);
        std::thread::sleep(period.saturating_sub(began.elapsed()));
    }
}

/// Downloads and validates, one body after another or all at once.
pub(crate) fn run(how: &str, address: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let download = |endpoint: Endpoint| {
        let request = client.get(format!("http://{address}{}", endpoint.path()));
        async move {
            let body = request.send().await.unwrap().bytes().await.unwrap();
            tokio::task::spawn_blocking(|| validate(body)).await.unwrap()
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut bodies = Vec::new();
        match how {
            "sequential" => {
                for endpoint in Endpoint::PLAIN {
                    bodies.push(download(endpoint).await);
                }
            }
            "concurrent" => bodies = join_all(Endpoint::PLAIN.map(download)).await,
            _ => panic!("sequential or concurrent"),
        }
        assert_eq!(bodies.len(), Endpoint::PLAIN.len());
    });
}

fn validate(body: Bytes) -> Bytes {
    let _: &RawValue = serde_json::from_slice(&body).unwrap();
    body
}
