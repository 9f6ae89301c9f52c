//! `healthcheck`: asks a gateway whether it is ready. For Docker's `HEALTHCHECK` and exec probes.
//!
//! It sends one HTTP/1.0 request over a plain socket, or over TLS where the admin listener speaks
//! it: a probe that runs every few seconds should cost a container next to nothing, and an HTTP/1.0
//! answer is not chunked and ends with the connection.

mod stream;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Url;
use rustls::InvalidMessage;
use serde::Deserialize;

use self::stream::{DeadlineStream, Stream};
use crate::config::{self, AdminEndpoint, ConfigErrors, Environment, Overrides};

/// How long the whole check may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that is read of an answer.
const MAX_ANSWER_BYTES: u64 = 16 << 10;

/// The flags of `healthcheck`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none), of which only `admin_listen` and
    /// `admin.tls` matter
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub config: Option<PathBuf>,
    /// What to ask instead of `/readyz` at `admin_listen`; no configuration is read
    // Not parsed by clap, whose error message would show a password in the URL.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Exit code 0 if the gateway says that it is ready; else 1, and one line on stderr that says why
/// not.
///
/// # Errors
///
/// The errors of the configuration that leave the address unknown; none if a URL is given.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let url = match &args.url {
        Some(text) => parse_url(text).map_err(|reason| format!("--url: {reason}")),
        None => at_admin_listen(args.config, environment)?,
    };
    let url = match url {
        Ok(url) => url,
        Err(reason) => return Ok(super::fail_usage(&reason)),
    };
    Ok(match probe(&url, PROBE_TIMEOUT) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::print_stderr(&format!("unhealthy: {url}: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// The URL of `/readyz` at the configured `admin_listen`, or why it has none.
fn at_admin_listen(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<Result<Url, String>, ConfigErrors> {
    let overrides = Overrides { config: file, ..Overrides::default() };
    let AdminEndpoint { address, tls } = config::admin_endpoint(&overrides, environment)?;
    let address = reachable(address);
    let scheme = if tls { "https" } else { "http" };
    let url =
        Url::parse(&format!("{scheme}://{address}/readyz")).ok().filter(|_| address.port() != 0);
    Ok(url.ok_or_else(|| {
        format!("`admin_listen` ({address}) has no fixed port; give the address with --url")
    }))
}

/// Parses the URL of `--url`; its path defaults to `/readyz`.
fn parse_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| {
        format!("not a URL ({error}); write it as http://127.0.0.1:9001/readyz")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https are asked here; write it as \
                    http://127.0.0.1:9001/readyz"
            .to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`/readyz` asks for no user or password; leave them out".to_owned());
    }
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    Ok(url)
}

/// The address at which this machine reaches a listener bound to `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Why the gateway is not known to be ready.
#[derive(Debug, Eq, PartialEq)]
enum ProbeError {
    Unresolved(String),
    Refused,
    Timeout(Duration),
    Broken(String),
    NotHttp,
    /// The server speaks TLS, and was asked by plain HTTP.
    SpeaksTls,
    /// The server speaks plain HTTP, or something else, and was asked by TLS.
    SpeaksNoTls,
    Tls(String),
    Status {
        line: String,
        detail: Option<String>,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(reason) => write!(f, "no such host ({reason})"),
            Self::Refused => write!(
                f,
                "connection refused; is the gateway running, and is this its admin address?"
            ),
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
            Self::Broken(reason) => write!(f, "the connection broke ({reason})"),
            Self::NotHttp => {
                write!(f, "the answer is not HTTP; is this the admin address?")
            }
            Self::SpeaksTls => write!(
                f,
                "this address speaks TLS; ask it by https, or set `admin.tls` as the gateway has it"
            ),
            Self::SpeaksNoTls => write!(
                f,
                "this address does not speak TLS; ask it by http, or set `admin.tls` as the \
                 gateway has it"
            ),
            Self::Tls(reason) => write!(f, "the TLS handshake failed ({reason})"),
            Self::Status { line, detail: None } => write!(f, "{line}"),
            Self::Status { line, detail: Some(detail) } => write!(f, "{line}: {detail}"),
        }
    }
}

/// Sends one request, and gives up after `limit`, name resolution included.
fn probe(url: &Url, limit: Duration) -> Result<(), ProbeError> {
    let deadline = Instant::now() + limit;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ProbeError::Timeout(limit)),
        left => Ok(left),
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ProbeError::Timeout(limit),
        io::ErrorKind::ConnectionRefused => ProbeError::Refused,
        kind => match error.downcast::<rustls::Error>() {
            Ok(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                ProbeError::SpeaksNoTls
            }
            Ok(error) => ProbeError::Tls(error.to_string()),
            Err(_) => ProbeError::Broken(kind.to_string()),
        },
    };

    let resolved = match url.domain() {
        // The system's resolver may take far longer than the check.
        Some(_) => {
            let url = url.clone();
            run_within(left()?, move || url.socket_addrs(|| None))
                .ok_or(ProbeError::Timeout(limit))?
        }
        None => url.socket_addrs(|| None),
    };
    let addresses = resolved.map_err(|error| ProbeError::Unresolved(error.to_string()))?;
    let mut connected = Err(ProbeError::Unresolved("it has no address".to_owned()));
    for address in addresses {
        connected = TcpStream::connect_timeout(&address, left()?).map_err(failed);
        if connected.is_ok() {
            break;
        }
    }
    let stream = DeadlineStream::new(connected?, deadline);
    let answer = if url.scheme() == "https" {
        stream.with_tls().and_then(|stream| exchange(stream, url))
    } else {
        exchange(stream, url)
    };
    check_answer(&answer.map_err(failed)?)
}

/// Sends the request, and reads of the answer what matters.
fn exchange(mut stream: impl Stream, url: &Url) -> io::Result<Vec<u8>> {
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let request = format!(
        "GET {}{query} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: \
         incident-gateway-healthcheck\r\n\r\n",
        url.path()
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    // The first line says whether the gateway is ready; the rest says why not.
    while answer.len() as u64 <= MAX_ANSWER_BYTES && !is_ready(&answer) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            // What was received of the answer explains more than the error.
            Err(error) if answer.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(answer)
}

/// The result of `work`, or `None` if it takes longer than `limit`. It then goes on in its own
/// thread, which ends with the process.
fn run_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || sender.send(work())).ok()?;
    receiver.recv_timeout(limit).ok()
}

fn is_ready(answer: &[u8]) -> bool {
    status_line(answer).is_some_and(|line| line.split(' ').next() == Some("200"))
}

/// The status and its phrase, once the first line is whole.
fn status_line(answer: &[u8]) -> Option<&str> {
    let end = answer.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&answer[..end]).ok()?.trim_end();
    line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))
}

fn check_answer(answer: &[u8]) -> Result<(), ProbeError> {
    if is_ready(answer) {
        return Ok(());
    }
    // An alert record of TLS.
    if answer.starts_with(&[0x15, 0x03]) {
        return Err(ProbeError::SpeaksTls);
    }
    let line = status_line(answer).ok_or(ProbeError::NotHttp)?;
    let body = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map_or(&[][..], |head| &answer[head + 4..]);
    Err(ProbeError::Status { line: one_line(line), detail: detail(body) })
}

/// The detail of a problem document, or any text, as one line.
fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(Problem { detail }) => detail,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    Some(one_line(&text)).filter(|line| !line.is_empty())
}

/// `text` in one line, shortened, without control characters.
fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests;
