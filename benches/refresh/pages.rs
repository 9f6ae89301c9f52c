//! The cost of a mapped list of many pages: an upstream without delay, a bare client as the floor,
//! and the gateway.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::gateway::Gateway;
use super::{median, milliseconds};

const PAGES: usize = 100;
const RECORDS_PER_PAGE: usize = 1000;

/// The size of each record, about.
const RECORD_BYTES: usize = 2000;

/// An upstream in a process of its own, which serves a list in pages.
struct PagedUpstream {
    child: Child,
    address: String,
    bytes: usize,
}

impl PagedUpstream {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve-pages")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, bytes) = line.trim().split_once(' ').unwrap();
        Self { address: address.to_owned(), bytes: bytes.parse().unwrap(), child }
    }

    /// The time of a bare client, from exec to exit.
    fn floor(&self) -> Duration {
        let started = Instant::now();
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program).args(["fetch-pages", &self.address]).status().unwrap();
        assert!(status.success());
        started.elapsed()
    }

    fn gateway(&self) -> Gateway {
        let config = format!(
            r#"
response_budget: 60s
cache: {{ ttl: 1h }}
upstreams:
  api: {{ base_url: "http://{}", max_body: 1GiB }}
sources:
  - {{ name: api, upstream: api, path: /list, records: /value,
      next: {{ cursor: /next, query: page }}, id: /event/meta/id,
      priority: {{ at: /event/rule/severity, values: {{ "1": low, "2": high }} }},
      timestamp: /event/meta/at, identity: {{ at: /event/actor/mail, as: username }},
      title: /event/rule/title }}
identities:
  - {{ upstream: api, path: /people, records: "", employee: id, username: name }}
"#,
            self.address
        );
        Gateway::configured(&config)
    }
}

impl Drop for PagedUpstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time from exec to the first complete answer, in turn with the bare client's, and memory.
pub(super) fn run() {
    const ROUNDS: usize = 5;
    let upstream = PagedUpstream::start();
    let megabytes = upstream.bytes as f64 / 1e6;
    let mut times: [Vec<Duration>; 2] = Default::default();
    let mut memory = 0;
    for _ in 0..ROUNDS {
        times[0].push(upstream.floor());
        let started = Instant::now();
        let gateway = upstream.gateway();
        let answer = gateway.get("/incidents?complete=true", "identity");
        times[1].push(started.elapsed());
        assert!(answer.is_complete, "the first answer is not complete");
        assert!(answer.body.len() >= upstream.bytes, "not all records are there");
        memory = memory.max(gateway.memory("VmHWM"));
    }
    let [floor, whole] = times.map(median).map(milliseconds);
    println!("a mapped list, {} records in {PAGES} pages, {megabytes:.1} MB", {
        PAGES * RECORDS_PER_PAGE
    });
    println!("bare client                      {floor:>6.0} ms");
    println!(
        "gateway, first complete answer   {whole:>6.0} ms   {:.2} times the bare client's",
        whole / floor
    );
    println!(
        "gateway, memory at its peak      {:>6.0} MB   {:.2} times the data",
        memory as f64 / 1e6,
        memory as f64 / 1e6 / megabytes
    );
}

/// The bare client: fetches the pages one after another, validates and keeps them.
pub(super) fn fetch(address: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pages = Vec::new();
        for page in 0..PAGES {
            let request = client.get(format!("http://{address}/list?page={page}"));
            let body = request.send().await.unwrap().bytes().await.unwrap();
            let validated = tokio::task::spawn_blocking(|| {
                let _: &RawValue = serde_json::from_slice(&body).unwrap();
                body
            });
            pages.push(validated.await.unwrap());
        }
        assert_eq!(pages.len(), PAGES);
    });
}

/// Prints the address and the size of the list, and serves until the process is killed.
pub(super) fn serve() {
    let pages: Arc<Vec<String>> = Arc::new((0..PAGES).map(page).collect());
    let bytes: usize = pages.iter().map(String::len).sum();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{} {bytes}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    for stream in listener.incoming() {
        let pages = Arc::clone(&pages);
        thread::spawn(move || converse(&stream.unwrap(), &pages));
    }
}

/// Records with values three levels deep and times of RFC 3339.
fn page(page: usize) -> String {
    let mut json = String::from("{\"value\":[");
    for index in 0..RECORDS_PER_PAGE {
        let number = page * RECORDS_PER_PAGE + index;
        let (person, severity) = (number % 997, number % 2 + 1);
        let comma = if index == 0 { "" } else { "," };
        let (minute, second) = (number / 60 % 60, number % 60);
        write!(
            json,
            "{comma}{{\"version\":3,\"event\":{{\"meta\":{{\"id\":\"e-{number}\",\"at\":\
             \"2026-03-02T11:{minute:02}:{second:02}.250Z\"}},\"rule\":{{\"title\":\"Rule \
             {person}\",\"severity\":{severity}}},\"actor\":{{\"mail\":\
             \"person{person}@corp.test\",\"tags\":[\"a\",\"b\"]}}}},\"detail\":\""
        )
        .unwrap();
        // Text as of a log line, which fills the record up.
        let start = json.len();
        while json.len() - start < RECORD_BYTES - 300 {
            write!(json, "process {number} of host-{person} wrote to file {start}; ").unwrap();
        }
        json.push_str("\"}");
    }
    let next = if page + 1 < PAGES { (page + 1).to_string() } else { "null".to_owned() };
    write!(json, "],\"next\":{next}}}").unwrap();
    json
}

fn people() -> String {
    let person = |person: usize| format!("{{\"id\":{person},\"name\":\"person{person}\"}}");
    format!("[{}]", (0..997).map(person).collect::<Vec<_>>().join(","))
}

/// Answers one request after another until the client leaves.
fn converse(mut stream: &TcpStream, pages: &[String]) {
    stream.set_nodelay(true).unwrap();
    let mut path = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("GET ") {
            rest.split(' ').next().unwrap().clone_into(&mut path);
        }
        if !line.is_empty() {
            continue;
        }
        let people = people();
        let number = path.split_once("page=").map_or(0, |(_, page)| page.parse().unwrap());
        let body: &str = if path == "/people" { &people } else { &pages[number] };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        if sent.is_err() {
            return;
        }
    }
}
