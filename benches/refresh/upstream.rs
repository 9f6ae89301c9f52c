//! An upstream without delay, which serves two sets of prepared bodies in turn over HTTP/1.1.
//!
//! The second set has all records `new`, the `same` ones, or `some` new ones: one of a hundred.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use incident_gateway::decode::{Incidents, SourceFields};
use incident_gateway::demo::Endpoint;
use incident_gateway::demo::generate::Plan;

/// An upstream in a process of its own.
pub(crate) struct Upstream {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    bytes: usize,
}

impl Upstream {
    pub(crate) fn start(records: u64) -> Self {
        Self::start_with(records, "new")
    }

    pub(crate) fn start_with(records: u64, second: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["serve-upstream", &records.to_string(), second])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, bytes) = line.trim().split_once(' ').unwrap();
        Self { address: address.to_owned(), bytes: bytes.parse().unwrap(), child }
    }

    /// The size of all bodies together, in MB.
    pub(crate) fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An endpoint with its two answers, sent in turn.
struct Source {
    path: &'static str,
    answers: [Vec<u8>; 2],
    asked: AtomicUsize,
}

/// Prints the address and the size of the data, and serves until the process is killed.
pub(crate) fn serve(records: u64, second: &str) {
    let employees = Plan::usual_employees(records);
    let plans = [7, 8].map(|seed| Plan { incidents: records, employees, seed });
    let sources = Endpoint::PLAIN.map(|endpoint| {
        let [first, other] = plans.map(|plan| plan.body(endpoint));
        let is_list = endpoint != Endpoint::PLAIN[0];
        let second = match second {
            "new" => other,
            "some" if is_list => some_new(&first, other),
            "same" | "some" => first.clone(),
            _ => panic!("new, same or some"),
        };
        let answers = [answer(&first), answer(&second)];
        Source { path: endpoint.path(), answers, asked: AtomicUsize::new(0) }
    });
    let bytes: usize = sources.iter().map(|source| source.answers[0].len()).sum();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{} {bytes}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let sources = Arc::new(sources);
    for stream in listener.incoming() {
        let sources = Arc::clone(&sources);
        thread::spawn(move || converse(&stream.unwrap(), &sources[..]));
    }
}

/// The body of a list, with every hundredth record replaced by that of another.
fn some_new(body: &[u8], other: Vec<u8>) -> Vec<u8> {
    let decode = |body: Vec<u8>| {
        Incidents::decode(Bytes::from(body), &SourceFields::new(&["employee_id".to_owned()]))
    };
    let (incidents, other) = (decode(body.to_vec()).unwrap(), decode(other).unwrap());
    let mut mixed = Vec::with_capacity(body.len());
    let mut rest = 0;
    for (record, new) in incidents.records().iter().zip(other.records()).step_by(100) {
        let bytes = incidents.bytes(record);
        let start = bytes.as_ptr() as usize - incidents.body().as_ptr() as usize;
        mixed.extend_from_slice(&body[rest..start]);
        mixed.extend_from_slice(other.bytes(new));
        rest = start + bytes.len();
    }
    mixed.extend_from_slice(&body[rest..]);
    mixed
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Answers one request after another until the client leaves.
fn converse(mut stream: &TcpStream, sources: &[Source]) {
    stream.set_nodelay(true).unwrap();
    let mut path = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("GET ") {
            rest.split(' ').next().unwrap().clone_into(&mut path);
        }
        if line.is_empty() {
            let source =
                sources.iter().find(|source| source.path == path).expect("an endpoint's path");
            let turn = source.asked.fetch_add(1, Ordering::Relaxed) % source.answers.len();
            if stream.write_all(&source.answers[turn]).is_err() {
                return;
            }
        }
    }
}
