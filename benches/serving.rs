//! Compares cached responses of the gateway with a bare hyper server that sends the same bytes and
//! headers, both without TLS or both with it (hyper and rustls).
//!
//! `cargo bench --bench serving` prints, for answers of 15 kB to 13 MB, two codings and two numbers
//! of connections, or 64 over TLS, what a request costs the gateway as a multiple of what it costs
//! the bare server: processor time of the server's process, requests per second and the 99th
//! percentile of latency, as medians of interleaved rounds. Each server is a process of its own,
//! this bench started again; the load comes from this process, over loopback. Words such as `tls`,
//! `1000`, `gzip` or `64` after `--` select some of the cases.

#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/server.rs"]
mod server;
#[path = "support/tls.rs"]
mod tls;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use exchange::exchange;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use incident_gateway::memory::{Allocator, keep_heaps_small};
use server::{Server, announce, median, read_answer, serve_gateway};
use tls::{Certificate, Connection, secured};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// The same as in production.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// How often both servers are restarted: the placement of a process's memory changes its figures by
/// up to a tenth.
const STARTS: usize = 5;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(500);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("serve-gateway") => {
            keep_heaps_small();
            let tls = certificate(arguments.get(3)).map(|certificate| certificate.of_gateway());
            runtime().block_on(serve_gateway(arguments[2].parse().unwrap(), tls));
        }
        Some("serve-bare") => {
            runtime().block_on(serve_bare(&arguments[2], certificate(arguments.get(3)).as_ref()));
        }
        _ => runtime().block_on(compare(&arguments[1..])),
    }
}

/// The certificate in this folder, for a server over TLS.
fn certificate(folder: Option<&String>) -> Option<Certificate> {
    folder.map(|folder| Certificate::at(Path::new(folder)))
}

/// The floor: fetches one response from the gateway and serves it from memory.
async fn serve_bare(origin: &str, certificate: Option<&Certificate>) {
    let (address, coding) = origin.split_once('/').unwrap();
    let connector = certificate.map(Certificate::connector);
    let mut stream = secured(TcpStream::connect(address).await.unwrap(), connector.as_ref()).await;
    stream.write_all(request(coding).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let (headers, body) = read_answer(&mut stream).await;
    let answers: Arc<(HeaderMap, Bytes)> = Arc::new((headers, body));
    let acceptor = certificate.map(Certificate::acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    announce(listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let answers = Arc::clone(&answers);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => serve_answer(stream, answers).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve_answer(stream, answers).await;
                    }
                }
            }
        });
    }
}

/// Answers each request of a connection with the same.
async fn serve_answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answers: Arc<(HeaderMap, Bytes)>,
) {
    let service = service_fn(move |_| {
        let mut response = Response::new(Full::new(answers.1.clone()));
        response.headers_mut().clone_from(&answers.0);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = http1::Builder::new();
    let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn request(coding: &str) -> String {
    format!("GET /incidents HTTP/1.1\r\nhost: gateway\r\naccept-encoding: {coding}\r\n\r\n")
}

/// What one round cost.
struct Cost {
    /// In microseconds.
    cpu_per_request: f64,
    per_second: f64,
    p99: f64,
}

/// Keeps `connections` busy for a round, each with one request after another.
async fn load(
    server: &Server,
    connector: Option<&TlsConnector>,
    coding: &'static str,
    connections: usize,
) -> Cost {
    // All are connected before the clock starts: a full queue of the listener's would cost a second
    // of waiting.
    let mut streams: Vec<Connection> = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(server.address).await.unwrap();
        streams.push(secured(stream, connector).await);
    }
    let (before, started) = (server.cpu_nanos(), Instant::now());
    let clients = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let (request, mut buffer) = (request(coding), vec![0; 256 << 10]);
            let mut latencies = Vec::new();
            while started.elapsed() < ROUND {
                latencies.push(
                    exchange(&mut stream, request.as_bytes(), &mut buffer).await.as_secs_f64(),
                );
            }
            latencies
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.unwrap());
    }
    let (seconds, cpu) =
        (started.elapsed().as_secs_f64(), server.cpu_nanos().saturating_sub(before));
    latencies.sort_by(f64::total_cmp);
    Cost {
        cpu_per_request: cpu as f64 / latencies.len() as f64 / 1e3,
        per_second: latencies.len() as f64 / seconds,
        p99: latencies[latencies.len() * 99 / 100],
    }
}

/// Whether a case is selected: no words select any value of its kind, or one selects this value.
fn is_wanted<T: ToString>(words: &[String], others: &[T], case: &T) -> bool {
    let names = |case: &T| words.contains(&case.to_string());
    names(case) || !others.iter().any(names)
}

async fn compare(words: &[String]) {
    // As JSON 0.1, 1, 10 and 74 MB; as gzip a sixth of it.
    const RECORDS: [u64; 4] = [1_000, 10_000, 100_000, 700_000];
    const CODINGS: [&str; 2] = ["identity", "gzip"];
    const CONNECTIONS: [usize; 2] = [64, 256];
    const TRANSPORTS: [&str; 2] = ["plain", "tls"];
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new(folder.path());
    println!(
        "{:>9} {:>9} {:>5} {:>5} | {:>11} {:>9} {:>9} {:>9} {:>9} | gateway beside bare: cpu, \
         requests/s, p99",
        "records", "coding", "over", "conns", "bytes", "bare/s", "gateway/s", "bare us", "ours us"
    );
    for transport in TRANSPORTS.into_iter().filter(|its| is_wanted(words, &TRANSPORTS, its)) {
        let certificate = (transport == "tls").then_some(&certificate);
        for records in RECORDS.into_iter().filter(|records| is_wanted(words, &RECORDS, records)) {
            for coding in CODINGS.into_iter().filter(|coding| is_wanted(words, &CODINGS, coding)) {
                for connections in
                    CONNECTIONS.into_iter().filter(|number| is_wanted(words, &CONNECTIONS, number))
                {
                    // The largest size is only of interest with gzip, and connections cost the same
                    // over TLS, however many they are.
                    let is_of_interest = (records != 700_000 || coding == "gzip")
                        && (certificate.is_none() || connections == CONNECTIONS[0]);
                    if is_of_interest {
                        compare_one(certificate, transport, records, coding, connections).await;
                    }
                }
            }
        }
    }
}

/// Prints one row.
async fn compare_one(
    certificate: Option<&Certificate>,
    transport: &str,
    records: u64,
    coding: &'static str,
    connections: usize,
) {
    let connector = certificate.map(Certificate::connector);
    let connector = connector.as_ref();
    let start = |kind: &str, of: &str| match certificate {
        None => Server::start(&[kind, of]),
        Some(certificate) => Server::start(&[kind, of, certificate.folder()]),
    };
    let (mut rounds, mut bytes) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let gateway = start("serve-gateway", &records.to_string());
        bytes = warm(&gateway, connector, coding).await;
        let bare = start("serve-bare", &format!("{}/{coding}", gateway.address));
        for round in 0..ROUNDS {
            // In turn, and not always the same one first.
            let pair = if round % 2 == 0 {
                let floor = load(&bare, connector, coding, connections).await;
                (load(&gateway, connector, coding, connections).await, floor)
            } else {
                let ours = load(&gateway, connector, coding, connections).await;
                (ours, load(&bare, connector, coding, connections).await)
            };
            rounds.push(pair);
        }
    }
    println!(
        "{records:>9} {coding:>9} {transport:>5} {connections:>5} | {bytes:>11} {:>9.0} {:>9.0} \
         {:>9.1} {:>9.1} | {:.2} {:.2} {:.2}",
        median(rounds.iter().map(|(_, bare)| bare.per_second)),
        median(rounds.iter().map(|(ours, _)| ours.per_second)),
        median(rounds.iter().map(|(_, bare)| bare.cpu_per_request)),
        median(rounds.iter().map(|(ours, _)| ours.cpu_per_request)),
        median(rounds.iter().map(|(ours, bare)| ours.cpu_per_request / bare.cpu_per_request)),
        median(rounds.iter().map(|(ours, bare)| ours.per_second / bare.per_second)),
        median(rounds.iter().map(|(ours, bare)| ours.p99 / bare.p99)),
    );
}

/// Waits for the whole document, has it rendered, and returns its size.
async fn warm(gateway: &Server, connector: Option<&TlsConnector>, coding: &str) -> usize {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut stream = secured(stream, connector).await;
    loop {
        stream.write_all(request(coding).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let (headers, body) = read_answer(&mut stream).await;
        if headers.get("incident-completeness").is_some_and(|value| value == "complete") {
            return body.len();
        }
    }
}
