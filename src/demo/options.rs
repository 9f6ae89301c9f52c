//! How the demo upstream behaves.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::{Data, Endpoint, Fault, generate};

/// The default Basic auth user.
pub const USERNAME: &str = "demo";
/// The default password.
pub const PASSWORD: &str = "demo";
/// The default latency of a call when no other is in flight.
pub const LATENCY: Duration = Duration::from_millis(1500);
/// The default of [`Options::contention`]; with it, seven concurrent calls take 4.0 s each.
pub const CONTENTION: f64 = 0.0463;

/// How the demo upstream behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The Basic auth user.
    pub username: String,
    /// That user's password.
    pub password: SecretString,
    /// The data that it serves.
    pub data: Data,
    /// The wall-clock time at the start. Later times are this plus the time elapsed on tokio's
    /// clock, which tests can pause.
    pub started_at: SystemTime,
    /// How long a call takes when no other is in flight.
    pub latency: Duration,
    /// How much calls slow each other down: `n` concurrent calls take
    /// `latency × (1 + contention × (n − 1)²)` each.
    pub contention: f64,
    /// The jitter of each call's latency, up or down, as a share of it, 0 to 1.
    pub jitter: f64,
    /// The share of calls that are answered with 500, 0 to 1.
    pub fail: f64,
    /// The `Retry-After` of 429 and 503 answers, in seconds.
    pub retry_after: Option<u32>,
    /// Whether to compress for clients that accept gzip.
    pub gzip: bool,
    /// The seed of [`Options::jitter`] and [`Options::fail`].
    pub seed: u64,
    /// The faults, at most one for each endpoint.
    pub faults: HashMap<Endpoint, Fault>,
}

impl Default for Options {
    /// The known behaviour of the real upstream: slow, slower with concurrent calls, no faults.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            username: USERNAME.to_owned(),
            password: PASSWORD.into(),
            data: Data::default(),
            started_at: SystemTime::now(),
            latency: LATENCY,
            contention: CONTENTION,
            jitter: 0.0,
            fail: 0.0,
            retry_after: None,
            gzip: false,
            seed: 0,
            faults: HashMap::new(),
        }
    }
}

impl Options {
    /// Refuses numbers that are out of range.
    pub(super) fn check(&self) -> io::Result<()> {
        let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !(self.contention.is_finite() && self.contention >= 0.0) {
            return refuse(format!(
                "contention is {}; it must be a number from 0 up",
                self.contention
            ));
        }
        for (name, share) in [("jitter", self.jitter), ("fail", self.fail)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(format!("{name} is {share}; it must be from 0 to 1"));
            }
        }
        if let Data::Generated(generate::Plan { employees, .. }) = self.data
            && !(1..=generate::Plan::MAX_EMPLOYEES).contains(&employees)
        {
            return refuse(format!(
                "employees is {employees}; it must be from 1 to {}",
                generate::Plan::MAX_EMPLOYEES
            ));
        }
        Ok(())
    }
}
