//! `healthcheck`: is the gateway on this machine ready? For Docker's `HEALTHCHECK` and exec probes.
//!
//! Plain sockets and one HTTP/1.0 request: a probe that runs every few seconds should cost a
//! container nothing, and HTTP/1.0 answers come unchunked and end with the connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde::Deserialize;

use crate::config::{self, ConfigErrors, Environment, Overrides};

/// How long the whole check may take.
const LIMIT: Duration = Duration::from_secs(2);

/// As much of an answer as is looked at.
const LONGEST_ANSWER: u64 = 16 << 10;

/// The flags of `healthcheck`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The configuration file (else `CONFIG_PATH`, else none), of which only `admin_listen` matters
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub config: Option<PathBuf>,
    /// What to ask instead of `/readyz` at `admin_listen`; no configuration is read
    // Text, because the parser's own complaint would show a password in it.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Exit code 0 if the gateway says that it is ready; else 1, and one line on stderr that says why
/// not.
///
/// # Errors
///
/// The faults of the configuration that keep the address from being known; none if a URL is given.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let url = match &args.url {
        Some(text) => target(text).map_err(|reason| format!("--url: {reason}")),
        None => at_admin_listen(args.config, environment)?,
    };
    let url = match url {
        Ok(url) => url,
        Err(reason) => {
            super::say(&format!("error: {reason}"));
            return Ok(ExitCode::from(super::BAD_USAGE));
        }
    };
    Ok(match probe(&url, LIMIT) {
        Ok(()) => ExitCode::SUCCESS,
        Err(illness) => {
            super::say(&format!("unhealthy: {url}: {illness}"));
            ExitCode::FAILURE
        }
    })
}

/// The URL to ask by the configuration, or why it names none.
fn at_admin_listen(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<Result<Url, String>, ConfigErrors> {
    let overrides = Overrides { config: file, ..Overrides::default() };
    let address = reachable(config::admin_listen(&overrides, environment)?);
    let url = Url::parse(&format!("http://{address}/readyz")).ok().filter(|_| address.port() != 0);
    Ok(url.ok_or_else(|| {
        format!("`admin_listen` ({address}) is no address to ask; give one with --url")
    }))
}

/// The URL to ask; one without a path means `/readyz`.
fn target(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)
        .map_err(|error| format!("{error}; write it as http://127.0.0.1:9001/readyz"))?;
    if url.scheme() != "http" {
        return Err("only http is asked here; write it as http://127.0.0.1:9001/readyz".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`/readyz` asks for no user or password; leave them out".to_owned());
    }
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    Ok(url)
}

/// Where a listener bound to `address` answers on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Why the gateway does not count as ready.
#[derive(Debug, Eq, PartialEq)]
enum Illness {
    Unresolved(String),
    Refused,
    Timeout(Duration),
    Broken(String),
    NotHttp,
    Status { line: String, detail: Option<String> },
}

impl fmt::Display for Illness {
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
                write!(f, "what answers there is not HTTP; is this the admin address?")
            }
            Self::Status { line, detail: None } => write!(f, "{line}"),
            Self::Status { line, detail: Some(detail) } => write!(f, "{line}: {detail}"),
        }
    }
}

/// Asks once, and takes at most `limit`.
fn probe(url: &Url, limit: Duration) -> Result<(), Illness> {
    let deadline = Instant::now() + limit;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Illness::Timeout(limit)),
        left => Ok(left),
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Illness::Timeout(limit),
        io::ErrorKind::ConnectionRefused => Illness::Refused,
        kind => Illness::Broken(kind.to_string()),
    };

    let addresses =
        url.socket_addrs(|| None).map_err(|error| Illness::Unresolved(error.to_string()))?;
    let mut connected = Err(Illness::Unresolved("it has no address".to_owned()));
    for address in addresses {
        connected = TcpStream::connect_timeout(&address, left()?).map_err(failed);
        if connected.is_ok() {
            break;
        }
    }
    let mut stream = connected?;

    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let request = format!(
        "GET {}{query} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: incident-gateway-healthcheck\r\n\r\n",
        url.path()
    );
    stream.set_write_timeout(Some(left()?)).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;

    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    // Being ready is known from the first line; only what is wrong is worth reading on for.
    while answer.len() as u64 <= LONGEST_ANSWER && !is_ready(&answer) {
        stream.set_read_timeout(Some(left()?)).map_err(failed)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            // An answer that has come in part says more than the error.
            Err(error) if answer.is_empty() => return Err(failed(error)),
            Err(_) => break,
        }
    }
    judge(&answer)
}

fn is_ready(answer: &[u8]) -> bool {
    status_line(answer).is_some_and(|line| line.starts_with("200"))
}

/// The status and its phrase, once the first line is whole.
fn status_line(answer: &[u8]) -> Option<&str> {
    let end = answer.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&answer[..end]).ok()?.trim_end();
    line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))
}

fn judge(answer: &[u8]) -> Result<(), Illness> {
    if is_ready(answer) {
        return Ok(());
    }
    let line = status_line(answer).ok_or(Illness::NotHttp)?;
    let body = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map_or(&[][..], |head| &answer[head + 4..]);
    Err(Illness::Status { line: one_line(line), detail: detail(body) })
}

/// What a problem document, or any text, says in one line.
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

/// `text` as it may stand in one line of a log.
fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests;
