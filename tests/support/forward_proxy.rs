//! A forward proxy that connects to one address, whatever it is asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The proxy; it ends with all its connections when dropped.
pub struct ForwardProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ForwardProxy {
    /// Tunnels and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        Self::listen(Some(target)).await
    }

    /// Refuses every request.
    pub async fn refusing() -> Self {
        Self::listen(None).await
    }

    async fn listen(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, target, Arc::clone(&seen)));
            }
        });
        Self { address, heads, serving }
    }

    pub fn url(&self) -> reqwest::Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// The heads of the requests so far; those of later requests on one connection are not seen.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Serves one connection. Errors are expected when it ends.
async fn serve(mut client: TcpStream, target: Option<SocketAddr>, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let Some(target) = target else {
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        return;
    };
    let mut server = TcpStream::connect(target).await.unwrap();
    let greeting = if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    } else {
        // The origin form of the request: `GET /path HTTP/1.1`.
        let (method, rest) = head.split_once(" http://").unwrap();
        let path = &rest[rest.find('/').unwrap()..];
        server.write_all(format!("{method} {path}").as_bytes()).await
    };
    if greeting.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
