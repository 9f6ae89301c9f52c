//! The flags of `demo-upstream`.

mod faults;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::{StringValueParser, TypedValueParser as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::generate::Plan;
use super::options::{CONTENTION, PASSWORD, USERNAME};
use super::{Data, Options};
use faults::FaultArgs;

pub use faults::TwoFaults;

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
    #[arg(
        long,
        value_name = "PASSWORD",
        default_value = PASSWORD,
        value_parser = StringValueParser::new().map(SecretString::from),
    )]
    password: SecretString,

    /// Serve the files DIR/<source>.json as they are
    #[arg(long, value_name = "DIR", group = "data")]
    fixtures: Option<PathBuf>,
    /// Serve N records, as many for each of the seven sources, that never change
    #[arg(long, value_name = "N", group = "data")]
    incidents: Option<u64>,
    /// Serve the odd ids, addresses, numbers and shapes of the gateway's own tests
    #[arg(long, group = "data")]
    quirks: bool,
    /// How many employees the generated records are about, 1 to 900000 [default: by the number of
    /// records]
    #[arg(
        long,
        value_name = "N",
        requires = "incidents",
        value_parser = clap::value_parser!(u64).range(1..=Plan::MAX_EMPLOYEES),
    )]
    employees: Option<u64>,
    /// The seed of the data, the jitter and the failures
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compress for clients that accept gzip
    #[arg(long)]
    gzip: bool,

    /// How long a call takes when no other is in flight
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1500ms",
        value_parser = humantime::parse_duration,
    )]
    latency: Duration,
    /// How much calls slow each other down: n at once take LATENCY × (1 + F × (n − 1)²) each
    #[arg(
        long,
        value_name = "F",
        default_value_t = CONTENTION,
        allow_negative_numbers = true,
        value_parser = factor,
    )]
    contention: f64,
    /// The jitter of each call's latency, up or down, as a share of it, 0 to 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_parser = share,
    )]
    jitter: f64,
    /// The share of calls that are answered with 500, 0 to 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_parser = share,
    )]
    fail: f64,
    /// Send Retry-After with every 429 and 503
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,

    #[command(flatten)]
    faults: FaultArgs,
}

impl Args {
    /// The argument for `curl -u`. A password that the user chose is omitted, since it must not be
    /// printed; curl then prompts for it.
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
            faults: args.faults.by_endpoint()?,
        })
    }
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
