//! A hand-written HTTP/1.1 client, which can misbehave as no HTTP library can. It speaks over TCP,
//! or over any other stream.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The time from before the request was sent.
    pub took: Duration,
}

impl Answer {
    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(its, _)| its == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The last part of a problem's type; panics if the body is not problem+json.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:incident-gateway:problem:")
            .unwrap()
            .to_owned()
    }
}

/// A connection.
pub struct Client<S = TcpStream> {
    pub stream: S,
    unread: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Connects from this address.
    pub async fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Reads the next response; `UnexpectedEof` if the server closes the connection instead.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        self.read_answer(true).await
    }

    /// The same for the response to `HEAD`.
    pub async fn head_answer(&mut self) -> io::Result<Answer> {
        self.read_answer(false).await
    }

    async fn read_answer(&mut self, has_body: bool) -> io::Result<Answer> {
        let began = Instant::now();
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {head}")))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or("0", |(_, value)| value);
        let length: usize = if status == 304 || !has_body {
            0
        } else {
            length.parse().map_err(io::Error::other)?
        };
        while self.unread.len() < length {
            self.more().await?;
        }
        let rest = self.unread.split_off(length);
        let body = std::mem::replace(&mut self.unread, rest);
        Ok(Answer { status, headers, body, took: began.elapsed() })
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let began = Instant::now();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        self.send(request + "\r\n").await?;
        let answer = self.answer().await?;
        Ok(Answer { took: began.elapsed(), ..answer })
    }

    /// Reads until the server ends the connection; returns whether it did within the time.
    pub async fn is_ended_within(&mut self, most: Duration) -> bool {
        let drain = async { while self.more().await.is_ok() {} };
        tokio::time::timeout(most, drain).await.is_ok()
    }

    /// The received bytes that are not part of a response read so far.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }
}

/// Sends a request over a new connection.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, &[]).await
}

pub async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let began = Instant::now();
    let mut client = Client::connect(address).await.unwrap();
    let answer = client.get(path, headers).await.unwrap();
    Answer { took: began.elapsed(), ..answer }
}
