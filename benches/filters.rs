//! How the cost of filtered and small responses grows with the size of the snapshot.
//!
//! `cargo bench --bench filters` sends the same kinds of requests to gateways with 7 thousand, 70
//! thousand and 700 thousand records. It prints the server's processor time per response, the ratio
//! of the largest snapshot to the smallest in time, and the same ratio in bytes: where the two are
//! close, the cost depends on the result, not on the snapshot. No request is sent twice, so
//! responses do not come from the cache, except where the table says `again`. The floor is
//! `/healthz` on the same connection, measured in turn. All figures are medians of rounds.

#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use exchange::exchange;
use incident_gateway::memory::{Allocator, keep_heaps_small};
use serde::Deserialize;
use serde_json::value::RawValue;
use server::{Server, median, read_answer, serve_gateway};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const RECORDS: [u64; 3] = [7_000, 70_000, 700_000];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(100);

/// The number of responses in a round whose bytes are counted.
const SAMPLES: u32 = 20;

/// About how many incidents the filters by time match.
const LATEST: f64 = 70.0;

/// Makes the path of the nth request, from the data in a gateway.
type MakePath = fn(&Data, usize) -> String;

const HEALTHZ: MakePath = |_, _| "/healthz".to_owned();

const REQUESTS: [(&str, MakePath); 10] = [
    ("/incidents/{id}", |data, n| format!("/incidents/{}?since=-{n}", data.employee(n))),
    ("/incidents?employee_id=", |data, n| {
        format!("/incidents?employee_id={}&since=-{n}", data.employee(n))
    }),
    ("/incidents?employee_id=&employee_id=&priority=high&since=", |data, n| {
        let [one, another] = [n, n + 1].map(|n| data.employee(n));
        format!(
            "/incidents?employee_id={one}&employee_id={another}&priority=high&since={}",
            data.half_way(n)
        )
    }),
    ("/summary?employee_id=", |data, n| {
        format!("/summary?employee_id={}&since=-{n}", data.employee(n))
    }),
    ("/summary, again", |_, _| "/summary".to_owned()),
    ("/incidents?since= (the latest 70)", |data, n| format!("/incidents?since={}", data.latest(n))),
    ("/incidents?priority=critical&since= (the latest 70)", |data, n| {
        format!("/incidents?priority=critical&since={}", data.latest(n))
    }),
    ("/summary?since= (the latest 70)", |data, n| format!("/summary?since={}", data.latest(n))),
    ("/incidents?priority=critical (a share of all)", |_, n| {
        format!("/incidents?priority=critical&since=-{n}")
    }),
    ("/summary?priority=critical (the same share, counted)", |_, n| {
        format!("/summary?priority=critical&since=-{n}")
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("serve-gateway") => {
            keep_heaps_small();
            runtime().block_on(serve_gateway(arguments[2].parse().unwrap(), None));
        }
        _ => runtime().block_on(compare()),
    }
}

/// The values from which requests are made.
struct Data {
    employees: Vec<String>,
    incidents: f64,
    earliest: f64,
    until: f64,
}

#[derive(Deserialize)]
struct Summary {
    total: Tally,
}

#[derive(Deserialize)]
struct Tally {
    count: f64,
    earliest: f64,
    latest: f64,
}

impl Data {
    fn employee(&self, n: usize) -> &str {
        // Neighbours in the document are not neighbours in the bodies, but a prime number apart
        // leaves no doubt.
        &self.employees[n * 7919 % self.employees.len()]
    }

    /// A time in the middle of the data, different for each `n`.
    fn half_way(&self, n: usize) -> f64 {
        f64::midpoint(self.earliest, self.until) + n as f64 * 1e-6
    }

    /// A time after which there are about [`LATEST`] incidents, different for each `n`.
    fn latest(&self, n: usize) -> f64 {
        self.until - (self.until - self.earliest) * LATEST / self.incidents + n as f64 * 1e-6
    }
}

/// A gateway and a connection to it.
struct Subject {
    server: Server,
    stream: TcpStream,
    buffer: Vec<u8>,
    data: Data,
    /// How many requests were sent.
    asked: usize,
}

impl Subject {
    /// Starts a gateway and waits for all of its data.
    async fn start(records: u64) -> Self {
        let server = Server::start(&["serve-gateway", &records.to_string()]);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = loop {
            stream.write_all(request("/incidents?complete=true").as_bytes()).await.unwrap();
            let (headers, body) = read_answer(&mut stream).await;
            if headers.get("incident-completeness").is_some_and(|value| value == "complete") {
                break body;
            }
        };
        let document: BTreeMap<String, &RawValue> = serde_json::from_slice(&body).unwrap();
        stream.write_all(request("/summary").as_bytes()).await.unwrap();
        let Summary { total } = serde_json::from_slice(&read_answer(&mut stream).await.1).unwrap();
        let employees = document.into_keys().collect();
        let data = Data {
            employees,
            incidents: total.count,
            earliest: total.earliest,
            until: total.latest,
        };
        Self { server, stream, buffer: vec![0; 256 << 10], data, asked: 0 }
    }

    fn next(&mut self, ask: MakePath) -> String {
        self.asked += 1;
        request(&ask(&self.data, self.asked))
    }

    /// The bytes of an answer's body, on average.
    async fn bytes(&mut self, ask: MakePath) -> f64 {
        let mut bytes = 0;
        for _ in 0..SAMPLES {
            let request = self.next(ask);
            self.stream.write_all(request.as_bytes()).await.unwrap();
            bytes += read_answer(&mut self.stream).await.1.len();
        }
        bytes as f64 / f64::from(SAMPLES)
    }

    /// Asks for a round, one request after another; the processor time of an answer in
    /// microseconds.
    async fn round(&mut self, ask: MakePath) -> f64 {
        let (before, started, first) = (self.server.cpu_nanos(), Instant::now(), self.asked);
        while started.elapsed() < ROUND {
            let request = self.next(ask);
            exchange(&mut self.stream, request.as_bytes(), &mut self.buffer).await;
        }
        self.server.cpu_nanos().saturating_sub(before) as f64 / (self.asked - first) as f64 / 1e3
    }
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: gateway\r\n\r\n")
}

async fn compare() {
    let mut subjects = Vec::new();
    for records in RECORDS {
        subjects.push(Subject::start(records).await);
    }
    println!(
        "{:>57} | {:>10} {:>10} {:>10} | cost, bytes: 700 k / 7 k",
        "microseconds an answer", "7 k", "70 k", "700 k"
    );
    let mut floors = vec![Vec::new(); RECORDS.len()];
    for (name, ask) in REQUESTS {
        let mut costs = vec![Vec::new(); RECORDS.len()];
        let mut bytes = vec![Vec::new(); RECORDS.len()];
        for _ in 0..ROUNDS {
            for (index, subject) in subjects.iter_mut().enumerate() {
                bytes[index].push(subject.bytes(ask).await);
                floors[index].push(subject.round(HEALTHZ).await);
                costs[index].push(subject.round(ask).await);
            }
        }
        print(name, costs, &bytes);
    }
    let ones = vec![vec![1.0]; RECORDS.len()];
    print("/healthz, the floor", floors, &ones);
}

/// A line of the table.
fn print(name: &str, costs: Vec<Vec<f64>>, bytes: &[Vec<f64>]) {
    let costs: Vec<f64> = costs.into_iter().map(|rounds| median(rounds.into_iter())).collect();
    let bytes: Vec<f64> = bytes.iter().map(|answers| median(answers.iter().copied())).collect();
    println!(
        "{name:>57} | {:>10.1} {:>10.1} {:>10.1} | {:>6.2} {:>6.2}",
        costs[0],
        costs[1],
        costs[2],
        costs[2] / costs[0],
        bytes[2] / bytes[0]
    );
}
