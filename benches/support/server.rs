//! A server in a separate process, which is the bench's own binary started again, with a reader for
//! its responses and its processor time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use incident_gateway::app::Running;
use incident_gateway::config::{Config, Otlp, Tls};
use incident_gateway::demo;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Serves a gateway with log and metrics as in production, fed by a demo upstream without latency.
pub(crate) async fn serve_gateway(records: u64, tls: Option<Tls>) {
    let plan = demo::generate::Plan {
        incidents: records,
        employees: demo::generate::Plan::usual_employees(records),
        seed: 7,
    };
    let options = demo::Options {
        data: demo::Data::Generated(plan),
        latency: Duration::ZERO,
        contention: 0.0,
        ..demo::Options::default()
    };
    let upstream = demo::Upstream::start(options).await.unwrap();
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.admin_listen = config.listen;
    config.tls = tls;
    config.upstream.base_url = upstream.base_url().parse().unwrap();
    config.upstream.username = Some(demo::USERNAME.to_owned());
    config.upstream.password = Some(demo::PASSWORD.into());
    // So long that there is only one refresh, before the first round.
    config.cache.ttl = Duration::from_hours(1);
    config.cache.stale_for = Duration::from_hours(1);
    let _log = incident_gateway::logging::start(None, None, &Otlp::default()).unwrap();
    let running = Running::start(&config, None, 7).unwrap();
    announce(running.address);
    std::future::pending::<()>().await;
}

/// Tells the bench where the server listens.
pub(crate) fn announce(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().unwrap();
}

/// A server's process; ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// The user and system time of the process's current threads, in nanoseconds. Threads that have
    /// ended are not included.
    pub(crate) fn cpu_nanos(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let times = threads.map(|thread| {
            let times = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            times.split_once(' ').unwrap().0.parse::<u64>().unwrap()
        });
        times.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a response: its headers, without `Content-Length` and `Date`, and its body.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> (HeaderMap, Bytes) {
    let mut buffer = Vec::new();
    let head = loop {
        assert!(stream.read_buf(&mut buffer).await.unwrap() > 0);
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
    let headers: HeaderMap = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = buffer.split_off(head);
    while body.len() < length {
        assert!(stream.read_buf(&mut body).await.unwrap() > 0);
    }
    let framing = ["content-length", "date"];
    let kept = headers.iter().filter(|(name, _)| !framing.contains(&name.as_str()));
    (kept.map(|(name, value)| (name.clone(), value.clone())).collect(), body.into())
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
