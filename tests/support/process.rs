//! The built binary as a separate process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const BINARY: &str = env!("CARGO_BIN_EXE_incident-gateway");

/// A server; killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    pub admin_address: SocketAddr,
    child: Child,
    /// The log, if it must stay open but not be read.
    unread: Option<Lines<BufReader<ChildStderr>>>,
}

impl Process {
    /// Starts a gateway on free ports that fetches from `base_url`, with these environment
    /// variables (named without their prefix).
    pub async fn serve(base_url: &str, variables: &[(&str, &str)]) -> Self {
        Self::start(Command::new(BINARY), base_url, variables).await
    }

    /// The same with a log that is not read after the line `listening`.
    pub async fn serve_unread(base_url: &str, variables: &[(&str, &str)]) -> Self {
        let (mut process, log) = Self::listening(Command::new(BINARY), base_url, variables).await;
        process.unread = Some(log);
        process
    }

    /// The same, trusting the certificate authorities in this file.
    pub async fn serve_trusting(
        authorities: &Path,
        base_url: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("SSL_CERT_FILE='{}' exec {BINARY}", authorities.display()));
        Self::start(shell, base_url, variables).await
    }

    /// The same with a limit on open files.
    pub async fn serve_with_files(
        files: usize,
        base_url: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {files}; exec {BINARY}"));
        Self::start(shell, base_url, variables).await
    }

    async fn start(command: Command, base_url: &str, variables: &[(&str, &str)]) -> Self {
        let (process, mut log) = Self::listening(command, base_url, variables).await;
        // The rest of the log is discarded, but the process must be able to write it.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        process
    }

    async fn listening(
        mut command: Command,
        base_url: &str,
        variables: &[(&str, &str)],
    ) -> (Self, Lines<BufReader<ChildStderr>>) {
        set_environment(&mut command, base_url, variables);
        let free_ports = [("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0")];
        add_variables(&mut command, &free_ports);
        Self::spawn(command).await
    }

    /// Starts a gateway with these flags and exactly these environment variables, and returns it
    /// with its log after the line `listening`.
    pub async fn serve_with(
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> (Self, Lines<BufReader<ChildStderr>>) {
        let mut command = Command::new(BINARY);
        command.args(flags).env_clear().envs(variables.iter().copied());
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> (Self, Lines<BufReader<ChildStderr>>) {
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = timeout(Duration::from_secs(20), event(&mut log, "listening"))
            .await
            .expect("it listens");
        let address = |field: &str| listening[field].as_str().unwrap().parse().unwrap();
        let process = Self {
            address: address("address"),
            admin_address: address("admin_address"),
            child,
            unread: None,
        };
        (process, log)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it runs").try_into().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the process exits, which it must do within this time.
    pub async fn ends_within(&mut self, most: Duration) -> ExitStatus {
        timeout(most, self.child.wait()).await.expect("the process ends in time").unwrap()
    }

    /// The peak of its resident memory, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.status("VmHWM:").strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    /// Its resident memory now, in bytes.
    pub fn memory(&self) -> usize {
        self.status("VmRSS:").strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.status("Threads:").parse().unwrap()
    }

    /// How many files it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid().as_raw_nonzero())
    }

    fn status(&self, field: &str) -> String {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().to_owned()
    }
}

/// Starts the command `forward`, which fetches from `base_url`, with these environment variables
/// (named without their prefix); killed when dropped.
pub fn spawn_forward(base_url: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(BINARY);
    command.arg("forward").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    set_environment(&mut command, base_url, variables);
    command.kill_on_drop(true).spawn().unwrap()
}

fn set_environment(command: &mut Command, base_url: &str, variables: &[(&str, &str)]) {
    command
        .env_clear()
        .env("ELEVATE_BASE_URL", base_url)
        .env("ELEVATE_USERNAME", "reader")
        .env("ELEVATE_PASSWORD", "secret");
    add_variables(command, variables);
}

fn add_variables(command: &mut Command, variables: &[(&str, &str)]) {
    for (name, value) in variables {
        command.env(format!("INCIDENT_GATEWAY__{name}"), value);
    }
}

/// The fields of the log's next event with this message.
async fn event(log: &mut Lines<BufReader<ChildStderr>>, message: &str) -> Value {
    while let Some(line) = log.next_line().await.unwrap() {
        let Ok(event) = serde_json::from_str::<Value>(&line) else { panic!("not JSON: {line}") };
        let fields = event.get("fields").unwrap_or(&event);
        if fields["message"] == message {
            return fields.clone();
        }
    }
    panic!("the log ended before `{message}`");
}
