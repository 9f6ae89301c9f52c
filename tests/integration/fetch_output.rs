//! `fetch --output`: what becomes of the file, whatever stood there and however the command ends.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::cli::command;

const RECORD: &str = r#"{"employee_id":7,"priority":"low","timestamp":1}"#;

/// Answers every request at once: identities are empty, each source has 250 kB of records.
fn answering_upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(&stream.unwrap()));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let body = if request.contains("/identities/") {
        "{}".to_owned()
    } else {
        format!("{{\"results\":[{}]}}", vec![RECORD; 5000].join(","))
    };
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").ok()
}

fn fetch(base_url: &str, output: &Path) -> Command {
    let variables = [
        ("ELEVATE_BASE_URL", base_url),
        ("ELEVATE_USERNAME", "alice"),
        ("ELEVATE_PASSWORD", "hunter2"),
        ("INCIDENT_GATEWAY__UPSTREAM__RETRIES", "0"),
        ("INCIDENT_GATEWAY__SOURCES", "[{name: misuse, path: /misuse/, identity: employee_id}]"),
    ];
    let mut fetch = command(&["fetch", "--output"], &variables);
    fetch.arg(output).stdout(Stdio::piped()).stderr(Stdio::piped());
    fetch
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_existing_file_behind_a_link_keeps_its_mode_and_the_link_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("data.json"), directory.path().join("link.json"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    symlink("data.json", &link).unwrap();
    let output = fetch(&answering_upstream(), &link).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(link.is_symlink());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().starts_with("{\"7\":"));
    assert_eq!(file_names(directory.path()), ["data.json", "link.json"]);
}

#[test]
fn stdout_is_written_by_all_its_names() {
    let base_url = answering_upstream();
    for name in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let output = fetch(&base_url, Path::new(name)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
        assert!(output.stdout.starts_with(b"{\"7\":"), "{name}");
    }
    // With `>>` what stands in the file already stays.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("appended");
    fs::write(&path, "before\n").unwrap();
    let appended = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let status = fetch(&base_url, Path::new("/dev/stdout")).stdout(appended).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(fs::read_to_string(&path).unwrap().starts_with("before\n{\"7\":"));
}

#[test]
fn a_fan_out_without_an_answer_leaves_the_file_as_it_was() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    fs::write(&path, "old").unwrap();
    let output = fetch(&format!("http://{closed}"), &path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("error: no source answered; nothing was written\n"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(file_names(directory.path()), ["out.json"]);
}

#[test]
fn a_signal_during_the_fan_out_leaves_the_file_as_it_was() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", silent.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        fs::write(&path, "old").unwrap();
        let child = fetch(&base_url, &path).spawn().unwrap();
        // Once it has connected it waits for an answer.
        let _call = silent.accept().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(file_names(directory.path()), ["out.json"]);
    }
}

#[test]
fn a_signal_ends_a_write_whose_reader_has_stopped_reading() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut child = fetch(&answering_upstream(), &fifo).spawn().unwrap();
    // Opening waits for the writer; the document does not fit into the FIFO.
    let mut reader = fs::File::open(&fifo).unwrap();
    reader.read_exact(&mut [0]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Users other than root cannot write everywhere; only root can become another user.
#[test]
fn a_writable_file_in_a_directory_without_write_permission_is_written_in_place() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let base_url = answering_upstream();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    // A copy, since other users may not reach the directory that the binary was built in.
    fs::copy(env!("CARGO_BIN_EXE_incident-gateway"), at("incident-gateway")).unwrap();
    for (name, mode) in [("writable", 0o666), ("read-only", 0o644)] {
        fs::write(at(name), "old").unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let run = |name: &str| {
        let template = fetch(&base_url, &at(name));
        let mut command = Command::new(at("incident-gateway"));
        command.args(template.get_args()).env_clear();
        command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(65_534).gid(65_534).output().unwrap()
    };
    let output = run("writable");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::read_to_string(at("writable")).unwrap().starts_with("{\"7\":"));
    for name in ["read-only", "new"] {
        let output = run(name);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let remedy = "permission denied; name a file that this user may write to\n";
        assert!(stderr(&output).ends_with(remedy), "{}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(at("read-only")).unwrap(), "old");
    assert_eq!(file_names(directory.path()), ["incident-gateway", "read-only", "writable"]);
}
