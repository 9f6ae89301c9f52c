//! Traces reach a collector: the built binary, and a stub that takes what it sends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Takes requests and passes their bodies on.
fn collector() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bodies, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let bodies = bodies.clone();
            thread::spawn(move || while take(stream.as_ref().unwrap(), &bodies).is_some() {});
        }
    });
    (port, received)
}

fn take(mut stream: &TcpStream, bodies: &mpsc::Sender<Vec<u8>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )
        .ok()?;
    bodies.send(body).ok()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn spans_of_a_request_and_of_upstream_calls_reach_the_collector_in_the_callers_trace() {
    let (port, received) = collector();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_incident-gateway"))
        .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("INCIDENT_GATEWAY__OTLP__ENDPOINT", format!("http://127.0.0.1:{port}/v1/traces"))
        .env("INCIDENT_GATEWAY__LOG_FORMAT", "json")
        .env("INCIDENT_GATEWAY__CACHE__TTL", "1s")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = log
        .find_map(|line| Some(line.split_once("\"address\":\"")?.1.split_once('"')?.0.to_owned()))
        .expect("the log says where it listens");
    let drain = thread::spawn(move || log.count());

    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /incidents HTTP/1.1\r\nhost: gateway\r\ntraceparent: \
         00-{TRACE}-00f067aa0ba902b7-01\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(&format!("traceparent: 00-{TRACE}-")), "{answer}");

    let trace: Vec<u8> = (0..16)
        .map(|byte| u8::from_str_radix(&TRACE[2 * byte..2 * byte + 2], 16).unwrap())
        .collect();
    let (mut request_seen, mut call_seen) = (false, false);
    while !(request_seen && call_seen) {
        let body = received.recv_timeout(Duration::from_secs(30)).expect("a batch of spans comes");
        let ours = contains(&body, &trace) && contains(&body, b"incident-gateway");
        request_seen |= ours && contains(&body, b"/incidents");
        call_seen |= ours && contains(&body, b"upstream call");
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    drain.join().unwrap();
}
