//! An HTTP/1.1 upstream over real sockets. The behaviour of each path is set by a script, which a
//! test may change at any time.
//!
//! The protocol is implemented by hand, since no HTTP library can violate it as the scripts do. The
//! upstream listens on a free port of 127.0.0.1, keeps connections alive unless a script ends them,
//! and records all requests.

mod script;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::script::{Reply, Script, gzip};
use self::script::{Wire, play};

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcceptMode {
    /// It is served.
    Serve,
    /// It is accepted and closed at once.
    Close,
    /// It is accepted and reset at once.
    Reset,
    /// Nothing listens, so it is refused.
    Refuse,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// `GET`, usually.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, of the announced length.
    pub body: String,
    /// When it had come.
    pub began: Instant,
    /// When it was answered, or the connection had ended.
    pub ended: Option<Instant>,
}

impl Seen {
    /// The first value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }
}

/// What a path does for a request.
type Decision = Box<dyn FnMut(&Seen) -> Script + Send>;

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, VecDeque<Script>>>,
    decisions: Mutex<HashMap<String, Decision>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    sent: AtomicUsize,
    alpn: Mutex<Vec<Vec<u8>>>,
}

impl Shared {
    /// What is to be done for this request.
    fn script(&self, seen: &Seen) -> Script {
        if let Some(decide) = self.decisions.lock().unwrap().get_mut(&seen.path) {
            return decide(seen);
        }
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.get_mut(&seen.path).and_then(|scripts| match scripts.len() {
            0 | 1 => scripts.front().cloned(),
            _ => scripts.pop_front(),
        });
        script.unwrap_or_else(|| Script::status(404))
    }
}

/// The upstream; it ends with all its connections when dropped.
pub struct ScriptedUpstream {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    mode: watch::Sender<AcceptMode>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ScriptedUpstream {
    /// Listens on a free port. A path without a script answers 404.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// The same over TLS.
    pub async fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::listen(Some(config.into())).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (mode, shared) = (watch::Sender::new(AcceptMode::Serve), Arc::new(Shared::default()));
        let serving = tokio::spawn(accept(listener, tls, mode.subscribe(), Arc::clone(&shared)));
        Self { address, scheme, shared, mode, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`, or `https`.
    pub fn base_url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Sets what each call of this path does from now on.
    pub fn script(&self, path: &str, script: impl Into<Script>) {
        self.script_each(path, [script.into()]);
    }

    /// Sets what the calls of this path do from now on, one after another; the last one repeats.
    pub fn script_each(&self, path: &str, scripts: impl IntoIterator<Item = Script>) {
        self.shared.scripts.lock().unwrap().insert(path.to_owned(), scripts.into_iter().collect());
    }

    /// Lets a function decide from now on what each call of this path does, in spite of scripts.
    pub fn decide(&self, path: &str, decision: impl FnMut(&Seen) -> Script + Send + 'static) {
        self.shared.decisions.lock().unwrap().insert(path.to_owned(), Box::new(decision));
    }

    /// Sets what happens to new connections; open ones are not affected. Returns when the change
    /// has taken effect.
    pub async fn set_accept_mode(&self, mode: AcceptMode) {
        let before = self.mode.send_replace(mode);
        // The serving task closes or binds the port, which takes a moment.
        while before != mode
            && (before == AcceptMode::Refuse || mode == AcceptMode::Refuse)
            && TcpStream::connect(self.address).await.is_err() != (mode == AcceptMode::Refuse)
        {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Every request so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many calls of a path there were.
    pub fn calls(&self, path: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.path == path).count()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most calls that were in flight at once.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    /// How many calls are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// How many bytes of endless bodies were sent.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// The protocols that the last TLS client offered.
    pub fn alpn_offered(&self) -> Vec<Vec<u8>> {
        self.shared.alpn.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut mode: watch::Receiver<AcceptMode>,
    shared: Arc<Shared>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *mode.borrow_and_update();
        if now == AcceptMode::Refuse {
            listener = None;
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.expect("the port is still free"));
        }
        let accepted = tokio::select! {
            accepted = listener.as_ref().unwrap().accept() => accepted,
            _ = mode.changed() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        match *mode.borrow() {
            AcceptMode::Serve => {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connect(stream, tls.clone(), number, Arc::clone(&shared)));
            }
            AcceptMode::Close | AcceptMode::Refuse => drop(stream),
            AcceptMode::Reset => stream.reset(),
        }
    }
}

async fn connect(stream: TcpStream, tls: Option<TlsAcceptor>, number: usize, shared: Arc<Shared>) {
    // Errors of a connection are expected: the tests observe them on the client's side.
    let _ = stream.set_nodelay(true);
    let _ = match tls {
        None => serve(stream, number, &shared).await,
        Some(tls) => match handshake(stream, &tls, &shared).await {
            Ok(stream) => serve(stream, number, &shared).await,
            Err(error) => Err(error),
        },
    };
}

async fn handshake(
    stream: TcpStream,
    tls: &TlsAcceptor,
    shared: &Shared,
) -> io::Result<TlsStream<TcpStream>> {
    let start =
        tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let offered = start.client_hello().alpn().map(|names| names.map(<[u8]>::to_vec).collect());
    *shared.alpn.lock().unwrap() = offered.unwrap_or_default();
    start.into_stream(Arc::clone(tls.config())).await
}

struct InFlight<'a> {
    shared: &'a Shared,
    /// Its place in what was seen.
    index: usize,
}

impl<'a> InFlight<'a> {
    fn new(shared: &'a Shared, seen: Seen) -> Self {
        let index = {
            let mut all = shared.seen.lock().unwrap();
            all.push(seen);
            all.len() - 1
        };
        let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Self { shared, index }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.shared.seen.lock().unwrap()[self.index].ended = Some(Instant::now());
    }
}

async fn serve(mut wire: impl Wire, connection: usize, shared: &Shared) -> io::Result<()> {
    let mut unread = Vec::new();
    while let Some(seen) = read_request(&mut wire, &mut unread, connection).await? {
        let script = shared.script(&seen);
        let in_flight = InFlight::new(shared, seen);
        match play(wire, script, &shared.sent).await? {
            Some(kept) => wire = kept,
            None => return Ok(()),
        }
        drop(in_flight);
    }
    Ok(())
}

/// Reads the next request of a connection; `None` once the client has closed it. A body must have a
/// `Content-Length`.
async fn read_request(
    wire: &mut impl Wire,
    unread: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Seen>> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if wire.read_buf(unread).await? == 0 {
            return Ok(None);
        }
        if !unread[0].is_ascii_uppercase() {
            // Not HTTP, but perhaps TLS. Servers answer this at once.
            wire.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await?;
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    unread.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let method = request.next().unwrap_or_default().to_owned();
    let path = request.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let (body, began, ended) = (String::new(), Instant::now(), None);
    let mut seen = Seen { connection, method, path, headers, body, began, ended };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while unread.len() < length {
        if wire.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = String::from_utf8(unread.drain(..length).collect()).unwrap();
    seen.began = Instant::now();
    Ok(Some(seen))
}
