//! Callers of the gateway, and how long each of their requests took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Gateway;
use super::exchange::exchange;

const LASTS: Duration = Duration::from_secs(5);

/// So many connections, each of which asks for the target once in `every`; where that is zero, one
/// request after the other.
pub(crate) struct Load {
    what: What,
    pub(crate) coding: &'static str,
    connections: usize,
    every: Duration,
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
            every: Duration::from_millis(20),
        },
    ),
    (
        "employee, 800/s",
        Load {
            what: What::Employee,
            coding: "identity",
            connections: 16,
            every: Duration::from_millis(20),
        },
    ),
    (
        "document gzip, 10/s",
        Load {
            what: What::Document,
            coding: "gzip",
            connections: 2,
            every: Duration::from_millis(200),
        },
    ),
    (
        "document, 4/s",
        Load {
            what: What::Document,
            coding: "identity",
            connections: 1,
            every: Duration::from_millis(250),
        },
    ),
    // As `--bench serving` has it. Of whole documents that would measure the load, which cannot
    // read so many at once.
    (
        "busy healthz, 64",
        Load { what: What::Probe, coding: "identity", connections: 64, every: Duration::ZERO },
    ),
    (
        "busy employee, 64",
        Load { what: What::Employee, coding: "identity", connections: 64, every: Duration::ZERO },
    ),
];

impl Load {
    /// What is asked for: where it is an employee, the document's first.
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: gateway\r\naccept-encoding: {}\r\n\r\n",
            self.coding
        );
        let callers = (0..self.connections).map(|caller| {
            let begin = self.every.mul_f64(caller as f64 / self.connections as f64);
            call(address, request.clone(), begin, self.every)
        });
        let mut latencies = runtime.block_on(futures::future::join_all(callers)).concat();
        latencies.sort();
        Latencies(latencies)
    }
}

/// The callers begin one after the other, so that they do not all wait for the same answer.
async fn call(
    address: SocketAddr,
    request: String,
    begin: Duration,
    every: Duration,
) -> Vec<Duration> {
    sleep(begin).await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let mut ticks = (!every.is_zero()).then(|| interval(every));
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut latencies = Vec::new();
    while started.elapsed() < LASTS {
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
    /// The latency that so many of a hundred requests did not exceed.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Duration {
        self.0[(self.0.len() * of_hundred / 100).min(self.0.len() - 1)]
    }
}
