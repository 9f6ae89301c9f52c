//! The flags of `demo-upstream`.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::{StringValueParser, TypedValueParser as _};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use super::endpoint::UnknownSource;
use super::fault::{Garbage, UnknownGarbage};
use super::generate::Plan;
use super::options::{CONTENTION, PASSWORD, USERNAME};
use super::{Data, Endpoint, Fault, Options};

/// The flags of `demo-upstream`; [`Options`] are made from them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The address to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// The Basic auth user
    #[arg(long, value_name = "NAME", default_value = USERNAME)]
    username: String,
    /// That user's password
    #[arg(long, value_name = "PASSWORD", default_value = PASSWORD, value_parser = StringValueParser::new().map(SecretString::from))]
    password: SecretString,

    /// Serve the files DIR/<source>.json as they are
    #[arg(long, value_name = "DIR", group = "data")]
    fixtures: Option<PathBuf>,
    /// Serve N records, as many for each of the seven sources, that never change
    #[arg(long, value_name = "N", group = "data")]
    incidents: Option<u64>,
    /// Serve the records of the gateway's own tests, of 2021: odd ids, addresses, numbers and shapes
    #[arg(long, group = "data")]
    quirks: bool,
    /// How many employees the generated records are about, 1 to 900000 [default: by the number of
    /// records]
    #[arg(long, value_name = "N", requires = "incidents", value_parser = clap::value_parser!(u64).range(1..=Plan::MAX_EMPLOYEES))]
    employees: Option<u64>,
    /// The seed of the data, the jitter and the failures
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compress for clients that accept gzip
    #[arg(long)]
    gzip: bool,

    /// How long a call takes when no other is in flight
    #[arg(long, value_name = "DURATION", default_value = "1500ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// How much calls slow each other down: n at once take LATENCY × (1 + F × (n − 1)²) each
    #[arg(long, value_name = "F", default_value_t = CONTENTION, allow_negative_numbers = true, value_parser = factor)]
    contention: f64,
    /// The jitter of each call's latency, up or down, as a share of it, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true, value_parser = share)]
    jitter: f64,
    /// The share of calls that are answered with 500, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true, value_parser = share)]
    fail: f64,
    /// Send Retry-After with every 429 and 503
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,

    /// Never answer
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Hang))]
    hang: Vec<SourceFault>,
    /// Stop in the middle of the body, with the connection open
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Stall))]
    stall: Vec<SourceFault>,
    /// Close the connection in the middle of the body
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::CutOff))]
    cut_off: Vec<SourceFault>,
    /// Send the body at this many bytes per second [default: 100]
    #[arg(long, value_name = "SOURCE[=BYTES]", help_heading = FAULTS, value_parser = drip)]
    drip: Vec<SourceFault>,
    /// Answer with this status, 201 to 599
    #[arg(long, value_name = "SOURCE=CODE", help_heading = FAULTS, value_parser = status)]
    status: Vec<SourceFault>,
    /// Redirect (302) to this URL; the source's own path makes a loop
    #[arg(long, value_name = "SOURCE=URL", help_heading = FAULTS, value_parser = redirect)]
    redirect: Vec<SourceFault>,
    /// Answer 200 with the wrong body: html, json (half of it), shape, utf8 or deep [default: html]
    #[arg(long, value_name = "SOURCE[=KIND]", help_heading = FAULTS, value_parser = garbage)]
    garbage: Vec<SourceFault>,
    /// Answer 200 with an empty body
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Empty))]
    empty: Vec<SourceFault>,
    /// Send a body without end
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Endless))]
    endless: Vec<SourceFault>,
    /// Send a little gzip that decompresses to 256 MiB
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Bomb))]
    bomb: Vec<SourceFault>,
    /// Answer every second call with 500
    #[arg(long, value_name = "SOURCE", help_heading = FAULTS, value_parser = |text: &str| plain(text, Fault::Flap))]
    flap: Vec<SourceFault>,
}

const FAULTS: &str = "Faults (repeat a flag for several sources; one fault a source)";

/// A fault and the endpoint that has it.
type SourceFault = (Endpoint, Fault);

impl Args {
    /// The argument for `curl -u`. It leaves out a password that the user chose, since that must not
    /// be printed; curl asks for it then.
    pub(super) fn curl_user(&self) -> String {
        let has_known_password = self.password.expose_secret() == PASSWORD;
        if has_known_password {
            format!("{}:{PASSWORD}", self.username)
        } else {
            self.username.clone()
        }
    }
}

impl TryFrom<Args> for Options {
    type Error = TwoFaults;

    fn try_from(args: Args) -> Result<Self, TwoFaults> {
        let data = if args.quirks {
            Data::Fixtures
        } else if let Some(directory) = args.fixtures {
            Data::Directory(directory)
        } else if let Some(incidents) = args.incidents {
            let employees = args.employees.unwrap_or_else(|| Plan::usual_employees(incidents));
            Data::Generated(Plan { incidents, employees, seed: args.seed })
        } else {
            Data::Live { seed: args.seed }
        };
        let mut faults = HashMap::new();
        let requested = [
            args.hang,
            args.stall,
            args.cut_off,
            args.drip,
            args.status,
            args.redirect,
            args.garbage,
            args.empty,
            args.endless,
            args.bomb,
            args.flap,
        ];
        for (endpoint, fault) in requested.into_iter().flatten() {
            let second = fault.flag();
            if let Some(first) = faults.insert(endpoint, fault) {
                return Err(TwoFaults { endpoint, first: first.flag(), second });
            }
        }
        Ok(Self {
            listen: args.listen,
            username: args.username,
            password: args.password,
            data,
            started_at: SystemTime::now(),
            latency: args.latency,
            contention: args.contention,
            jitter: args.jitter,
            fail: args.fail,
            retry_after: args.retry_after,
            gzip: args.gzip,
            seed: args.seed,
            faults,
        })
    }
}

/// Two faults were requested for one source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TwoFaults {
    endpoint: Endpoint,
    first: &'static str,
    second: &'static str,
}

impl fmt::Display for TwoFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, first, second } = self;
        if first == second {
            write!(f, "{first} names {endpoint} twice; give it once")
        } else {
            write!(f, "both {first} and {second} name {endpoint}; a source has at most one fault")
        }
    }
}

impl std::error::Error for TwoFaults {}

fn plain(source: &str, fault: Fault) -> Result<SourceFault, UnknownSource> {
    Ok((source.parse()?, fault))
}

fn drip(text: &str) -> Result<SourceFault, String> {
    let (source, bytes) = text.split_once('=').unwrap_or((text, "100"));
    let per_second = bytes
        .parse()
        .map_err(|_| format!("{bytes:?} is not a number of bytes per second, from 1 up"))?;
    at_source(source, Fault::Drip(per_second))
}

fn status(text: &str) -> Result<SourceFault, String> {
    let (source, code) = text.split_once('=').ok_or("give a status, as in denial=503")?;
    let status =
        code.parse().ok().filter(|status| (201..600).contains(&StatusCode::as_u16(status)));
    at_source(
        source,
        Fault::Status(status.ok_or_else(|| format!("{code:?} is not a status from 201 to 599"))?),
    )
}

fn redirect(text: &str) -> Result<SourceFault, String> {
    let (source, url) =
        text.split_once('=').ok_or("give a URL, as in denial=http://127.0.0.1:9/")?;
    let url =
        HeaderValue::from_str(url).map_err(|_| format!("{url:?} is not a valid header value"))?;
    at_source(source, Fault::Redirect(url))
}

fn garbage(text: &str) -> Result<SourceFault, String> {
    let (source, kind) = text.split_once('=').unwrap_or((text, "html"));
    let kind: Garbage = kind.parse().map_err(|error: UnknownGarbage| error.to_string())?;
    at_source(source, Fault::Garbage(kind))
}

fn at_source(source: &str, fault: Fault) -> Result<SourceFault, String> {
    plain(source, fault).map_err(|error| error.to_string())
}

fn factor(text: &str) -> Result<f64, &'static str> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor >= 0.0);
    factor.ok_or("must be a number from 0 up")
}

fn share(text: &str) -> Result<f64, &'static str> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or("must be a number from 0 to 1")
}

#[cfg(test)]
mod tests;
