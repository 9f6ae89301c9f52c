//! A real PostgreSQL server: Debian's binaries, in a directory of its own, without root.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The superuser of every server here.
pub const USER: &str = "gateway";

/// The name of the Unix socket, and the port unless TCP is asked for.
const DEFAULT_PORT: u16 = 5432;

const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs a server until the test process ends, in whatever way: then its end of the pipe is closed.
/// `keep` on the pipe keeps the directory.
const WATCHED_SERVER: &str = r#"
trap '' INT TERM HUP
directory=$1; shift
"$@" </dev/null >>"$directory/log" 2>&1 &
server=$!
echo "$server"
read -r command
kill -QUIT "$server" 2>/dev/null
kill -TERM "$server" 2>/dev/null
kill -CONT "$server" $(cat "/proc/$server/task/$server/children" 2>/dev/null) 2>/dev/null
wait "$server"
[ "$command" = keep ] || rm -rf "$directory"
"#;

/// How a server can be reached, beside its Unix socket without a password.
#[derive(Clone, Debug, Default)]
pub struct Settings<'a> {
    /// By TCP too: on 127.0.0.1 and a free port.
    pub tcp: bool,
    /// By TCP over TLS alone, with this certificate and its key, as PEM.
    pub tls: Option<(&'a str, &'a str)>,
    /// By TCP with a password alone.
    pub requires_password: bool,
    /// Lines of `postgresql.conf`.
    pub configuration: &'a [&'a str],
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// It ends the sessions and stops in order.
    Fast,
    /// As if it had crashed.
    Immediate,
}

/// A server. It ends when it is dropped, or with the process.
pub struct PostgresServer {
    directory: TempDir,
    port: u16,
    tools: &'static Tools,
    running: Mutex<Option<Running>>,
    databases: AtomicU32,
}

struct Running {
    watcher: Child,
    server: Pid,
}

/// The programs, and who runs them.
struct Tools {
    binaries: PathBuf,
    /// The user and group that run them; `None` as long as the tests do not run as root.
    user: Option<(u32, u32)>,
    /// A directory that `initdb` has made, which servers copy.
    template: TempDir,
}

static TOOLS: LazyLock<Option<Tools>> = LazyLock::new(Tools::find);

static SHARED: LazyLock<Option<PostgresServer>> =
    LazyLock::new(|| PostgresServer::run(&Settings { tcp: true, ..Settings::default() }));

impl PostgresServer {
    /// The server of all tests of this process that create a database of their own and do not
    /// disturb others. `None`, with a message on stderr, if PostgreSQL is not installed; with
    /// `INCIDENT_GATEWAY_NO_SKIP`, as in CI, the test fails then.
    pub fn shared(test: &str) -> Option<&'static Self> {
        let server = SHARED.as_ref();
        if server.is_none() {
            skip(test, "postgresql");
        }
        server
    }

    /// A server of the test's own, or `None` as for [`Self::shared`].
    pub fn start(test: &str, settings: &Settings<'_>) -> Option<Self> {
        let server = Self::run(settings);
        if server.is_none() {
            skip(test, "postgresql");
        }
        server
    }

    fn run(settings: &Settings<'_>) -> Option<Self> {
        let tools = TOOLS.as_ref()?;
        let directory = tempfile::Builder::new().prefix("postgres-").tempdir().unwrap();
        tools.give(directory.path());
        let mut copy = tools.command("cp");
        copy.arg("-r").arg(tools.template.path().join("data")).arg(directory.path());
        assert!(copy.status().unwrap().success(), "the template can be copied");
        let port = if settings.tcp || settings.tls.is_some() { free_port() } else { DEFAULT_PORT };
        let server = Self {
            directory,
            port,
            tools,
            running: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.configure(settings);
        server.restart();
        Some(server)
    }

    fn configure(&self, settings: &Settings<'_>) {
        let data = self.data();
        let mut lines = vec![
            format!("port = {}", self.port),
            format!("unix_socket_directories = '{}'", self.directory.path().display()),
            "fsync = off".to_owned(),
            "full_page_writes = off".to_owned(),
            "max_connections = 200".to_owned(),
            "shared_buffers = 32MB".to_owned(),
        ];
        let has_tcp = settings.tcp || settings.tls.is_some();
        lines.push(format!("listen_addresses = '{}'", if has_tcp { "127.0.0.1" } else { "" }));
        if let Some((certificate, key)) = settings.tls {
            self.tools.write(&data.join("server.crt"), certificate);
            self.tools.write(&data.join("server.key"), key);
            lines.push("ssl = on".to_owned());
        }
        lines.extend(settings.configuration.iter().map(ToString::to_string));
        let kind = if settings.tls.is_some() { "hostssl" } else { "host" };
        let method = if settings.requires_password { "scram-sha-256" } else { "trust" };
        let access = format!("local all all trust\n{kind} all all 127.0.0.1/32 {method}\n");
        self.tools.write(&data.join("pg_hba.conf"), &access);
        self.tools.write(&data.join("postgresql.auto.conf"), &(lines.join("\n") + "\n"));
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its port, of the Unix socket and of TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A value of `store.url` for this database, over the Unix socket.
    pub fn url(&self, database: &str) -> String {
        let (directory, port) = (self.directory.path().display(), self.port);
        format!("postgres://{USER}@/{database}?host={directory}&port={port}")
    }

    /// A value of `store.url` for this database, over TCP without TLS.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Creates an empty database, and returns its name.
    pub async fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("CREATE DATABASE {name}")).await;
        name
    }

    /// A connection over the Unix socket, without anything of the gateway.
    pub async fn connect(&self, database: &str) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.directory.path()).port(self.port).user(USER).dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The rows of a query, as text.
    pub async fn query(&self, database: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.connect(database).await.simple_query(sql).await.unwrap();
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }

    /// The first value of a query's first row, which must not be null.
    pub async fn value(&self, database: &str, sql: &str) -> String {
        let rows = self.query(database, sql).await;
        rows.into_iter().flatten().next().flatten().expect("a value")
    }

    /// Stops it. [`Self::restart`] starts it again with its data.
    pub fn stop(&self, stop: Stop) {
        let Some(mut running) = self.running.lock().unwrap().take() else { return };
        let signal = if stop == Stop::Fast { Signal::INT } else { Signal::QUIT };
        kill_process(running.server, signal).unwrap();
        let ended = || !Path::new("/proc").join(running.server.to_string()).join("exe").exists();
        wait_until("the server has stopped", ended);
        running.watcher.stdin.take().unwrap().write_all(b"keep\n").unwrap();
        running.watcher.wait().unwrap();
    }

    /// Starts it, or stops and starts it.
    pub fn restart(&self) {
        self.stop(Stop::Fast);
        let (binary, data) = (self.tools.binaries.join("postgres"), self.data());
        let command = [binary.as_path(), Path::new("-D"), data.as_path()];
        let (watcher, server) = self.tools.watched(self.directory.path(), &command);
        let is_ready = || {
            let pid_file = fs::read_to_string(self.data().join("postmaster.pid"));
            let lines = pid_file.unwrap_or_default();
            let mut lines = lines.lines().map(str::trim);
            lines.next() == Some(server.as_str()) && lines.next_back() == Some("ready")
        };
        let server_pid = Pid::from_raw(server.parse().unwrap()).unwrap();
        *self.running.lock().unwrap() = Some(Running { watcher, server: server_pid });
        wait_until("the server is ready", is_ready);
    }

    /// Stops all its processes where they are, as a machine that is frozen.
    pub fn pause(&self) {
        let server = self.server();
        kill_process(server, Signal::STOP).unwrap();
        for child in children(server) {
            // A session may have ended meanwhile.
            let _ = kill_process(child, Signal::STOP);
        }
    }

    /// Lets all its processes go on.
    pub fn resume(&self) {
        let server = self.server();
        for child in children(server) {
            let _ = kill_process(child, Signal::CONT);
        }
        kill_process(server, Signal::CONT).unwrap();
    }

    fn server(&self) -> Pid {
        self.running.lock().unwrap().as_ref().expect("it runs").server
    }

    /// Starts pgbouncer before it, in transaction mode with few connections. `None` if it is not
    /// installed, as for [`Self::shared`].
    pub fn start_pgbouncer(&self, test: &str) -> Option<PgBouncer> {
        let binary = Path::new("/usr/sbin/pgbouncer");
        if !binary.exists() {
            skip(test, "pgbouncer");
            return None;
        }
        let directory = self.directory.path().join("pgbouncer");
        fs::create_dir(&directory).unwrap();
        self.tools.give(&directory);
        let port = free_port();
        let (server, path) = (self.directory.path().display(), directory.display());
        let configuration = format!(
            "[databases]\n* = host={server} port={} user={USER}\n[pgbouncer]\n\
             unix_socket_dir = {path}\nlisten_port = {port}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n",
            self.port
        );
        let file = directory.join("pgbouncer.ini");
        self.tools.write(&file, &configuration);
        let (watcher, _) = self.tools.watched(&directory, &[binary, file.as_path()]);
        let socket = directory.join(format!(".s.PGSQL.{port}"));
        wait_until("pgbouncer is ready", || socket.exists());
        Some(PgBouncer { directory, port, watcher })
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.get_mut().unwrap().take() {
            drop(running.watcher.stdin.take());
            let _ = running.watcher.wait();
        }
    }
}

/// pgbouncer before a server. It ends when it is dropped, or with the process.
pub struct PgBouncer {
    directory: PathBuf,
    port: u16,
    watcher: Child,
}

impl PgBouncer {
    /// The directory of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

impl Tools {
    /// Finds the binaries and makes the template. `None` if there are none.
    fn find() -> Option<Self> {
        let binaries = glob::glob("/usr/lib/postgresql/*/bin").unwrap().filter_map(Result::ok);
        let binaries = binaries.filter(|path| path.join("initdb").exists()).max()?;
        let template = tempfile::Builder::new().prefix("postgres-template-").tempdir().unwrap();
        let user = rustix::process::getuid().is_root().then(unprivileged_user);
        let tools = Self { binaries, user, template };
        tools.give(tools.template.path());
        let mut initdb = tools.command(tools.binaries.join("initdb").to_str().unwrap());
        initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--username", USER, "--pgdata"]).arg(tools.template.path().join("data"));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        // The template is never dropped, because it is in a static.
        let mut cleaner = tools.command("sh");
        cleaner.args(["-c", "read -r _; rm -rf \"$1\"", "sh"]).arg(tools.template.path());
        let cleaner = cleaner.stdin(Stdio::piped()).spawn().unwrap();
        std::mem::forget(cleaner);
        Some(tools)
    }

    /// A command that is not run by root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("TZ", "UTC").current_dir("/");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs a server until the shell that is returned reads the end of its input; returns the
    /// server's process id, too. Its log is in this directory.
    fn watched(&self, directory: &Path, server: &[&Path]) -> (Child, String) {
        let mut command = self.command("sh");
        command.args(["-c", WATCHED_SERVER, "sh"]).arg(directory).args(server);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watcher = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (watcher, line.trim().to_owned())
    }

    /// Makes the user that runs the programs the owner of a file or directory.
    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// Writes a file that only the server can read.
    fn write(&self, path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        self.give(path);
    }
}

/// The user and group of Debian's package, or of `nobody`.
fn unprivileged_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).expect("a user beside root")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < START_TIMEOUT, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn skip(test: &str, package: &str) {
    assert!(
        std::env::var_os("INCIDENT_GATEWAY_NO_SKIP").is_none(),
        "{test}: no {package}; apt-get install {package}"
    );
    eprintln!("SKIPPED {test}: no {package}; apt-get install {package}");
}
