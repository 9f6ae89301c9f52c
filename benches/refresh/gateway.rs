//! The gateway's process, and a client of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::NamedTempFile;

use super::Upstream;

pub(crate) struct Gateway {
    child: Child,
    /// Its configuration, if that is a file.
    _config: Option<NamedTempFile>,
    address: SocketAddr,
    admin: SocketAddr,
}

/// What the benches use of an answer.
pub(crate) struct Answer {
    pub(crate) is_complete: bool,
    pub(crate) body: Vec<u8>,
}

#[allow(dead_code, reason = "each bench uses its own part")]
impl Gateway {
    /// Starts it and waits until it listens.
    pub(crate) fn start(upstream: &Upstream, ttl: &str) -> Self {
        Self::start_with(upstream, ttl, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(upstream: &Upstream, ttl: &str, more: &[(&str, &str)]) -> Self {
        let base_url = format!("http://{}", upstream.address);
        let variables = [
            ("INCIDENT_GATEWAY__CACHE__TTL", ttl),
            ("ELEVATE_BASE_URL", &base_url),
            ("ELEVATE_USERNAME", "bench"),
            ("ELEVATE_PASSWORD", "bench"),
        ];
        Self::spawn(&[&variables, more].concat(), None)
    }

    /// Starts it with this configuration, and waits until it listens.
    pub(crate) fn configured(config: &str) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(config.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        Self::spawn(&[("CONFIG_PATH", &path)], Some(file))
    }

    fn spawn(variables: &[(&str, &str)], config: Option<NamedTempFile>) -> Self {
        let [address, admin] = [(); 2].map(|()| {
            // A port that was free a moment ago is most likely free still.
            TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
        });
        let child = Command::new(env!("CARGO_BIN_EXE_incident-gateway"))
            .env("INCIDENT_GATEWAY__LISTEN", address.to_string())
            .env("INCIDENT_GATEWAY__ADMIN_LISTEN", admin.to_string())
            .envs(variables.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_micros(200));
        }
        Self { child, _config: config, address, admin }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn get(&self, target: &str, coding: &str) -> Answer {
        self.get_as(target, "*/*", coding)
    }

    pub(crate) fn get_as(&self, target: &str, accept: &str, coding: &str) -> Answer {
        let headers = format!("accept: {accept}\r\naccept-encoding: {coding}\r\n");
        get(self.address, target, &headers)
    }

    /// The number of refreshes that have ended.
    pub(crate) fn refreshes(&self) -> u64 {
        self.count("incident_gateway_refresh_duration_seconds_count")
    }

    /// The value of a counter without labels.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let page = String::from_utf8(get(self.admin, "/metrics", "").body).unwrap();
        let mut values = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().map_or(0, |count| count.parse().unwrap())
    }

    /// The processor time of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        /// Of the fields after the name, the user time; the system time follows.
        const USER_TIME: usize = 11;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks = fields.skip(USER_TIME).take(2).map(|field| field.parse::<u64>().unwrap());
        let ticks_each_second = rustix::param::clock_ticks_per_second();
        Duration::from_secs_f64(ticks.sum::<u64>() as f64 / ticks_each_second as f64)
    }

    /// Ends it by SIGTERM.
    pub(crate) fn stop(mut self) {
        let id = Pid::from_child(&self.child);
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// A value of `/proc/<pid>/status`, in bytes.
    pub(crate) fn memory(&self, line: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line =
            status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, target: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n").unwrap();
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let (mut is_complete, mut length, mut line) = (false, 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("incident-completeness", value)) => is_complete = value == "complete",
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer { is_complete, body }
}
