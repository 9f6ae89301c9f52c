//! The built binary with a folder of files that it reads, and its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::process::Process;

/// The configuration file in the folder.
pub const CONFIG: &str = "gateway.yaml";

/// How long a reload may take before a test fails, far more than it needs on a loaded machine.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The message of a reload that took effect.
pub const RELOADED: &str = "configuration reloaded";

/// The message of a SIGHUP without a change.
const UNCHANGED: &str = "SIGHUP: nothing has changed in the configuration";

/// The same while the last change is refused.
const STILL_REFUSED: &str = "SIGHUP: the configuration has not changed since it was refused";

/// The message of a configuration that is in effect already, after an invalid one.
pub const SAME_AGAIN: &str = "the configuration is the one in effect again";

/// The message of settings that a reload cannot change.
pub const NEEDS_RESTART: &str = "these settings stay as they were until a restart";

/// The message of faults.
pub const INVALID: &str = "the changed configuration is invalid; the one before stays in effect";

/// The message of a configuration whose parts are valid each by itself.
pub const UNUSABLE: &str =
    "the changed configuration cannot be used; the one before stays in effect";

/// A folder with the files of a configuration.
pub struct Files(TempDir);

impl Files {
    /// A folder with this configuration. Listeners get free ports.
    pub fn new(config: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(CONFIG, config);
        files
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file, for a configuration.
    pub fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file, by rename.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.path(".new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Makes the symbolic link `name` point to `target`, by rename as Kubernetes does it.
    pub fn link(&self, name: &str, target: impl AsRef<Path>) {
        let new = self.path(".new-link");
        std::os::unix::fs::symlink(target, &new).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

/// An event of the log.
#[derive(Clone, Debug)]
pub struct Event {
    pub level: String,
    pub message: String,
    pub fields: Value,
    pub line: String,
}

impl Event {
    /// A field as text; empty if it is missing.
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }
}

/// A gateway that reads a folder of files.
pub struct Reloadable {
    pub process: Process,
    pub files: Files,
    log: Arc<Mutex<Vec<Event>>>,
    /// Notified of each line.
    lines: watch::Receiver<usize>,
}

impl Reloadable {
    /// Starts a gateway on free ports with these environment variables (by their whole names).
    pub async fn start(files: Files, variables: &[(&str, &str)]) -> Self {
        let free_ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        Self::start_with(files, &free_ports, variables).await
    }

    /// Starts a gateway with these flags and environment variables.
    pub async fn start_with(files: Files, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let config = files.name(CONFIG);
        let mut all = vec![("CONFIG_PATH", config.as_str())];
        all.extend(variables);
        let (process, mut lines) = Process::serve_with(flags, &all).await;
        let log: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (sender, receiver) = watch::channel(0);
        let written = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event: Value = serde_json::from_str(&line).unwrap();
                let fields = event.get("fields").unwrap_or(&event).clone();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (level, message) = (text(&event["level"]), text(&fields["message"]));
                written.lock().unwrap().push(Event { level, message, fields, line });
                sender.send_modify(|lines| *lines += 1);
            }
        });
        Self { process, files, log, lines: receiver }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }

    /// How many events there were so far.
    pub fn mark(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// Waits for an event after `mark` that is wanted, and returns it.
    pub async fn event_after(&self, mark: usize, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut lines = self.lines.clone();
        let find = async {
            loop {
                lines.borrow_and_update();
                if let Some(event) = self.log.lock().unwrap()[mark..].iter().find(|e| wanted(e)) {
                    return event.clone();
                }
                lines.changed().await.expect("the log goes on");
            }
        };
        timeout(MAX_WAIT, find).await.expect("the event is logged")
    }

    /// Makes a change, and returns what the gateway logs about the reload: nothing if nothing has
    /// changed.
    pub async fn change(&self, change: impl FnOnce(&Files)) -> Vec<Event> {
        let mark = self.mark();
        change(&self.files);
        self.reload_since(mark).await
    }

    /// Sends SIGHUP until nothing has changed, and returns what was logged since `mark` before
    /// that.
    pub async fn reload_since(&self, mark: usize) -> Vec<Event> {
        let mut next = self.mark();
        loop {
            self.process.signal(Signal::HUP);
            let event = self.event_after(next, is_of_reload).await;
            if is_of_no_change(&event) {
                break;
            }
            next = self.mark();
        }
        let log = self.log.lock().unwrap();
        let events = log[mark..].iter().filter(|event| is_of_reload(event));
        events.filter(|event| !is_of_no_change(event)).cloned().collect()
    }

    /// Makes a change that is valid, and returns what was logged as changed.
    pub async fn change_validly(&self, change: impl FnOnce(&Files)) -> String {
        let events = self.change(change).await;
        let [event] = &events[..] else { panic!("{events:#?}") };
        assert_eq!((event.level.as_str(), event.message.as_str()), ("INFO", RELOADED), "{event:?}");
        event.field("changed").to_owned()
    }

    /// Makes a change that is refused, and returns the line of the log.
    pub async fn change_invalidly(&self, change: impl FnOnce(&Files)) -> Event {
        let events = self.change(change).await;
        let [event] = &events[..] else { panic!("{events:#?}") };
        assert_eq!(event.level, "ERROR", "{event:?}");
        event.clone()
    }
}

fn is_of_no_change(event: &Event) -> bool {
    [UNCHANGED, STILL_REFUSED].contains(&event.message.as_str())
}

fn is_of_reload(event: &Event) -> bool {
    is_of_no_change(event)
        || [RELOADED, SAME_AGAIN, NEEDS_RESTART, INVALID, UNUSABLE]
            .contains(&event.message.as_str())
}
