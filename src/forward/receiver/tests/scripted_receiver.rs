//! A receiver that answers its requests with the next bytes of a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is done with a request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// These bytes are sent; the connection stays open.
    Send(Vec<u8>),
    /// These bytes are sent, then one every 20 ms as long as the client stays.
    Trickle(Vec<u8>),
    /// The connection is closed.
    Close,
    /// Nothing.
    Silence,
}

/// A request: its head in lower case, and its body.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

pub(super) struct ScriptedReceiver {
    pub(super) url: Url,
    received: Arc<Mutex<Vec<Received>>>,
}

/// An answer with this status and body.
pub(super) fn answer(status: u16, body: &str) -> Step {
    answer_with(status, "", body.as_bytes())
}

/// An answer with these further header fields, each with its line break.
pub(super) fn answer_with(status: u16, fields: &str, body: &[u8]) -> Step {
    let head =
        format!("HTTP/1.1 {status} Reason\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    Step::Send([head.as_bytes(), body].concat())
}

impl ScriptedReceiver {
    /// Request i is answered by step i, and those beyond the script by the last one.
    pub(super) async fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in/_bulk?a=b", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, steps.clone(), Arc::clone(&log)));
            }
        });
        Self { url: url.parse().unwrap(), received }
    }

    /// Sends these bytes to each client as soon as it has sent something, and closes the
    /// connection.
    pub(super) async fn hasty(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.read_u8().await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        Self { url: url.parse().unwrap(), received: Arc::default() }
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, steps: Vec<Step>, log: Arc<Mutex<Vec<Received>>>) {
    while let Some(received) = read(&mut stream).await {
        let index = {
            let mut log = log.lock().unwrap();
            log.push(received);
            log.len() - 1
        };
        match &steps[index.min(steps.len() - 1)] {
            Step::Send(bytes) => stream.write_all(bytes).await.unwrap(),
            Step::Trickle(bytes) => {
                let mut sent = stream.write_all(bytes).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = stream.write_all(b"x").await;
                }
                return;
            }
            Step::Close => return,
            Step::Silence => std::future::pending().await,
        }
    }
}

/// Reads a request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(Received { head, body: bytes[end + 4..].to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
