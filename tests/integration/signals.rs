//! How the servers take signals, and what they warn of when they start.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::cli::command;

/// A running command and the lines of its stderr.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments, &[]).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stderr }
    }

    /// The lines up to the first that contains `text`.
    fn lines_until(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.stderr.by_ref() {
            lines.push(line.unwrap());
            if lines.last().unwrap().contains(text) {
                return lines;
            }
        }
        panic!("stderr ended without {text:?}: {lines:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(listen: &str) -> Running {
    Running::start(&["serve", "--demo", "--listen", listen, "--admin-listen", "127.0.0.1:0"])
}

#[test]
fn servers_survive_a_hangup_and_log_what_it_did() {
    let demo_upstream = Running::start(&["demo-upstream", "--listen", "127.0.0.1:0"]);
    let gateway = serve("127.0.0.1:0");
    for (mut server, log) in
        [(gateway, "SIGHUP: nothing has changed"), (demo_upstream, "ignored SIGHUP")]
    {
        server.lines_until("listening");
        for _ in 0..2 {
            server.signal(Signal::HUP);
            server.lines_until(log);
        }
        server.signal(Signal::TERM);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_listener_beyond_loopback_is_warned_of_before_it_listens() {
    for listen in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        let lines = serve(listen).lines_until("\"listening\"");
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains("\"WARN\"")).collect();
        let [warning] = warnings[..] else { panic!("{listen}: {lines:?}") };
        let address = listen.parse::<std::net::SocketAddr>().unwrap().to_string();
        for part in [address.as_str(), "loopback", "proxy"] {
            assert!(warning.contains(part), "{warning}");
        }
    }
    for listen in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let lines = serve(listen).lines_until("\"listening\"");
        assert!(!lines.iter().any(|line| line.contains("\"WARN\"")), "{lines:?}");
    }
}

#[test]
fn credentials_over_plain_http_and_empty_files_are_warned_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let tokens = write("tokens", format!("a:{}\n", "5a".repeat(32)));
    let users = write("users", "# nobody yet\n".to_owned());
    let reachable = write("reachable.yaml", format!("auth: {{ tokens_file: {tokens} }}\n"));
    let nobody = write("nobody.yaml", format!("auth: {{ users_file: {users} }}\n"));
    for (config, listen, parts) in [
        (reachable, "0.0.0.0:0", ["credentials come to 0.0.0.0:0 over plain HTTP", "set `tls`"]),
        (nobody, "127.0.0.1:0", ["`auth.users_file`: ", "has no entry, so that nobody can sign"]),
    ] {
        let arguments = ["serve", "--demo", "--config", &config, "--listen", listen];
        let arguments = [&arguments[..], &["--admin-listen", "127.0.0.1:0"]].concat();
        let lines = Running::start(&arguments).lines_until("\"listening\"");
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains("\"WARN\"")).collect();
        let [warning] = warnings[..] else { panic!("{listen}: {lines:?}") };
        assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
    }
}
