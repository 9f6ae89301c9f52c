//! An HTTP/2 upstream that writes frames directly. It ends connections as proxies do, which an
//! HTTP/2 library does not allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const BODY: &[u8] = br#"{"results":[]}"#;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` as HPACK's static table has it.
const STATUS_200: &[u8] = &[0x88];

/// What happens to a connection's requests beyond those that are answered.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// `GOAWAY` with the last answered stream, as nginx sends after `keepalive_requests`.
    GoAway(Reason),
    /// Each further stream is refused.
    Refuse,
    /// The connection is closed without `GOAWAY` when the next request arrives.
    Close,
}

/// The upstream; it ends when dropped.
pub struct H2FramesUpstream {
    port: u16,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for H2FramesUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl H2FramesUpstream {
    /// Answers the first `answered` requests of each connection, regardless of their paths.
    pub async fn start(tls: Arc<rustls::ServerConfig>, answered: usize, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (seen, opened) = (Arc::clone(&requests), Arc::clone(&connections));
        let tls = TlsAcceptor::from(tls);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, seen, opened) = (tls.clone(), Arc::clone(&seen), Arc::clone(&opened));
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        opened.fetch_add(1, Ordering::SeqCst);
                        // The client may end the connection at any time.
                        let _ = serve(stream, answered, then, &seen).await;
                    }
                });
            }
        });
        Self { port, requests, connections, serving }
    }

    pub fn base_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The number of requests so far, answered or not.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TlsStream<TcpStream>,
    answered: usize,
    then: Then,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    send(&mut stream, SETTINGS, 0, 0, &[]).await?;
    let mut left = answered;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await?;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes(head[5..].try_into().unwrap());
        match kind {
            SETTINGS if flags & ACK == 0 => send(&mut stream, SETTINGS, ACK, 0, &[]).await?,
            PING if flags & ACK == 0 => send(&mut stream, PING, ACK, 0, &payload).await?,
            HEADERS => {
                requests.fetch_add(1, Ordering::SeqCst);
                if left > 0 {
                    send(&mut stream, HEADERS, END_HEADERS, id, STATUS_200).await?;
                    send(&mut stream, DATA, END_STREAM, id, BODY).await?;
                    left -= 1;
                    if let (0, Then::GoAway(reason)) = (left, then) {
                        let payload = [id, u32::from(reason)].map(u32::to_be_bytes).concat();
                        send(&mut stream, GOAWAY, 0, 0, &payload).await?;
                    }
                    continue;
                }
                match then {
                    Then::GoAway(_) => {}
                    Then::Refuse => {
                        let payload = u32::from(Reason::REFUSED_STREAM).to_be_bytes();
                        send(&mut stream, RST_STREAM, 0, id, &payload).await?;
                    }
                    Then::Close => return Ok(()),
                }
            }
            _ => {}
        }
    }
}

async fn send(
    stream: &mut TlsStream<TcpStream>,
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat()).await?;
    stream.flush().await
}
