//! Callers of the gateway, and the latencies of their requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{self, MissedTickBehavior, sleep};

use super::Gateway;
use super::exchange::exchange;

/// How long a load lasts.
const LOAD_DURATION: Duration = Duration::from_secs(5);

/// Connections that each send a request every `interval`, or, where that is zero, as soon as the
/// last is answered.
pub(crate) struct Load {
    what: What,
    pub(crate) coding: &'static str,
    connections: usize,
    interval: Duration,
}

enum What {
    Probe,
    Employee,
    Document,
}

pub(crate) const LOADS: [(&str, Load); 6] = [
    (
        "healthz, 800/s",
        Load {
            what: What::Probe,
            coding: "identity",
            connections: 16,
            interval: Duration::from_millis(20),
        },
    ),
    (
        "employee, 800/s",
        Load {
            what: What::Employee,
            coding: "identity",
            connections: 16,
            interval: Duration::from_millis(20),
        },
    ),
    (
        "document gzip, 10/s",
        Load {
            what: What::Document,
            coding: "gzip",
            connections: 2,
            interval: Duration::from_millis(200),
        },
    ),
    (
        "document, 4/s",
        Load {
            what: What::Document,
            coding: "identity",
            connections: 1,
            interval: Duration::from_millis(250),
        },
    ),
    // As in `--bench serving`. With whole documents it would measure this process, which cannot
    // read so many at once.
    (
        "busy healthz, 64",
        Load { what: What::Probe, coding: "identity", connections: 64, interval: Duration::ZERO },
    ),
    (
        "busy employee, 64",
        Load {
            what: What::Employee,
            coding: "identity",
            connections: 64,
            interval: Duration::ZERO,
        },
    ),
];

impl Load {
    /// The path to request; the employee is the first of the document.
    pub(crate) fn target(&self, gateway: &Gateway) -> String {
        match self.what {
            What::Probe => "/healthz".to_owned(),
            What::Document => "/incidents".to_owned(),
            What::Employee => {
                let document = gateway.get("/incidents?complete=true", "identity").body;
                let id = document[2..].split(|byte| *byte == b'"').next().unwrap();
                format!("/incidents/{}", std::str::from_utf8(id).unwrap())
            }
        }
    }

    pub(crate) fn run(&self, address: SocketAddr, target: &str) -> Latencies {
        self.run_for(LOAD_DURATION, address, target)
    }

    pub(crate) fn run_for(
        &self,
        duration: Duration,
        address: SocketAddr,
        target: &str,
    ) -> Latencies {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: gateway\r\naccept-encoding: {}\r\n\r\n",
            self.coding
        );
        let callers = (0..self.connections).map(|caller| {
            let begin = self.interval.mul_f64(caller as f64 / self.connections as f64);
            call(address, request.clone(), begin, self.interval, duration)
        });
        let mut latencies = runtime.block_on(futures::future::join_all(callers)).concat();
        latencies.sort();
        Latencies(latencies)
    }
}

/// Callers start at different times, so that they do not all wait for the same answer.
async fn call(
    address: SocketAddr,
    request: String,
    begin: Duration,
    every: Duration,
    duration: Duration,
) -> Vec<Duration> {
    sleep(begin).await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let mut ticks = (!every.is_zero()).then(|| time::interval(every));
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut latencies = Vec::new();
    while started.elapsed() < duration {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        latencies.push(exchange(&mut stream, request.as_bytes(), &mut buffer).await);
    }
    latencies
}

/// Sorted.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// The latency that `of_hundred` percent of the requests did not exceed.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Duration {
        self.0[(self.0.len() * of_hundred / 100).min(self.0.len() - 1)]
    }
}
