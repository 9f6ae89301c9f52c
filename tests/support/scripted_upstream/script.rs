//! The possible behaviours of a path, and their execution.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;

/// What a path does when it is called.
#[derive(Clone, Debug)]
pub enum Script {
    /// Sends a valid response.
    Respond(Reply),
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request and resets the connection.
    ResetBeforeHeaders,
    /// Sends half of the headers and resets the connection.
    ResetInHeaders,
    /// Sends the headers and half of the body, and resets the connection.
    ResetInBody(Vec<u8>),
    /// Reads the request and sends nothing.
    HangBeforeHeaders,
    /// Sends half of the headers and then nothing.
    HangInHeaders,
    /// Sends the headers and half of the body and then nothing.
    HangInBody(Vec<u8>),
    /// Sends the body byte by byte.
    Drip {
        /// What is sent.
        body: Vec<u8>,
        /// How long it waits before each byte.
        every: Duration,
    },
    /// Announces more bytes than it sends, and closes the connection.
    CutOff(Vec<u8>),
    /// A chunked body that ends in the middle of a chunk.
    CutOffInChunk(Vec<u8>),
    /// Sends more bytes than it announces: this many are announced.
    TooLong {
        /// What is sent.
        body: Vec<u8>,
        /// What `Content-Length` says.
        announced: usize,
    },
    /// Announces this many bytes, sends one, and hangs.
    Announce(u64),
    /// A chunked body that never ends, as fast as it is read.
    Endless,
    /// This many zeros, compressed with gzip.
    GzipBomb(usize),
    /// This many zeros, compressed with zstd.
    ZstdBomb(u64),
    /// Bytes that claim to be gzip and are not.
    BadGzip,
    /// A gzip body that ends early though its length is as announced.
    CutOffGzip(Vec<u8>),
    /// A redirect (302) to this location.
    Redirect(String),
    /// Exactly these bytes, and then the connection is closed.
    Raw(Vec<u8>),
}

impl Script {
    /// 200 with this JSON.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Respond(Reply::json(body))
    }

    /// This status with a short body.
    pub fn status(status: u16) -> Self {
        Self::Respond(Reply { status, ..Reply::json("{}") })
    }

    /// A redirect to its own path, for ever.
    pub fn redirect_loop(path: &str) -> Self {
        Self::Redirect(path.to_owned())
    }
}

/// A valid response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers in addition to `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The delay before it is sent.
    pub delay: Duration,
}

impl Reply {
    /// 200 with this JSON.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { status: 200, headers, body: body.into(), delay: Duration::ZERO }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same after this long.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

impl From<Reply> for Script {
    fn from(reply: Reply) -> Self {
        Self::Respond(reply)
    }
}

/// A connection that can be reset (RST) instead of closed.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn reset(self);
}

impl Wire for TcpStream {
    fn reset(self) {
        let _ = socket2::SockRef::from(&self).set_linger(Some(Duration::ZERO));
    }
}

impl Wire for TlsStream<TcpStream> {
    fn reset(self) {
        self.into_inner().0.reset();
    }
}

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

fn with_length(body: &[u8], announced: u64) -> Vec<u8> {
    [format!("{JSON}Content-Length: {announced}\r\n\r\n").as_bytes(), body].concat()
}

fn with_coding(body: &[u8], coding: &str) -> Vec<u8> {
    [
        format!("{JSON}Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len())
            .as_bytes(),
        body,
    ]
    .concat()
}

fn len(body: &[u8]) -> u64 {
    body.len().try_into().unwrap()
}

/// Executes a script for one request. Returns the connection if it can be reused. Adds the bytes of
/// endless bodies to `sent`.
pub(super) async fn play<W: Wire>(
    mut wire: W,
    script: Script,
    sent: &AtomicUsize,
) -> io::Result<Option<W>> {
    match script {
        Script::Respond(reply) => {
            sleep(reply.delay).await;
            wire.write_all(&render(&reply)).await?;
            return Ok(Some(wire));
        }
        Script::Redirect(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            wire.write_all(head.as_bytes()).await?;
            return Ok(Some(wire));
        }
        Script::GzipBomb(size) => {
            wire.write_all(&with_coding(&gzip(&vec![0; size]), "gzip")).await?;
            return Ok(Some(wire));
        }
        Script::ZstdBomb(size) => {
            let mut zeros = std::io::Read::take(std::io::repeat(0), size);
            let body = zstd::stream::encode_all(&mut zeros, 3).unwrap();
            wire.write_all(&with_coding(&body, "zstd")).await?;
            return Ok(Some(wire));
        }
        Script::BadGzip => {
            wire.write_all(&with_coding(b"this is no gzip at all, whatever they say", "gzip"))
                .await?;
            return Ok(Some(wire));
        }
        Script::CutOffGzip(body) => {
            let packed = gzip(&body);
            wire.write_all(&with_coding(&packed[..packed.len() / 2], "gzip")).await?;
            return Ok(Some(wire));
        }
        Script::Close => wire.shutdown().await?,
        Script::ResetBeforeHeaders => wire.reset(),
        Script::ResetInHeaders => {
            send_and_settle(&mut wire, JSON.as_bytes()).await?;
            wire.reset();
        }
        Script::ResetInBody(body) => {
            send_and_settle(&mut wire, &with_length(&body[..body.len() / 2], len(&body))).await?;
            wire.reset();
        }
        Script::HangBeforeHeaders => linger(&mut wire).await,
        Script::HangInHeaders => {
            wire.write_all(JSON.as_bytes()).await?;
            linger(&mut wire).await;
        }
        Script::HangInBody(body) => {
            wire.write_all(&with_length(&body[..body.len() / 2], len(&body))).await?;
            linger(&mut wire).await;
        }
        Script::Drip { body, every } => {
            wire.write_all(&with_length(&[], len(&body))).await?;
            for byte in body {
                sleep(every).await;
                wire.write_all(&[byte]).await?;
            }
            return Ok(Some(wire));
        }
        Script::CutOff(body) => {
            wire.write_all(&with_length(&body, len(&body) * 2)).await?;
            wire.shutdown().await?;
        }
        Script::CutOffInChunk(body) => {
            let head = format!("{JSON}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len() * 2);
            wire.write_all(&[head.as_bytes(), &body].concat()).await?;
            wire.shutdown().await?;
        }
        Script::TooLong { body, announced } => {
            wire.write_all(&with_length(&body, announced.try_into().unwrap())).await?;
            wire.shutdown().await?;
        }
        Script::Announce(size) => {
            wire.write_all(&with_length(b"[", size)).await?;
            linger(&mut wire).await;
        }
        Script::Endless => {
            wire.write_all(format!("{JSON}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
            let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
            loop {
                wire.write_all(&chunk).await?;
                sent.fetch_add(0x4000, Ordering::SeqCst);
            }
        }
        Script::Raw(bytes) => {
            wire.write_all(&bytes).await?;
            wire.shutdown().await?;
        }
    }
    Ok(None)
}

/// Sends bytes and gives the client time to read them, since a reset discards unread data.
async fn send_and_settle(wire: &mut impl Wire, bytes: &[u8]) -> io::Result<()> {
    wire.write_all(bytes).await?;
    wire.flush().await?;
    sleep(Duration::from_millis(20)).await;
    Ok(())
}

/// Sends nothing until the client closes the connection.
async fn linger(wire: &mut impl Wire) {
    let mut ignored = [0; 1024];
    while wire.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

fn render(reply: &Reply) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {} Scripted\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        answer.extend(format!("{name}: {value}\r\n").bytes());
    }
    // Responses with these statuses have no body.
    if reply.status == 204 || reply.status == 304 {
        answer.extend(b"\r\n");
    } else {
        answer.extend(format!("Content-Length: {}\r\n\r\n", reply.body.len()).bytes());
        answer.extend(&reply.body);
    }
    answer
}

/// Compresses to a single gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut packed).unwrap();
    packed.truncate(length);
    packed
}
