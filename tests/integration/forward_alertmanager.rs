//! Forwarding to a real Prometheus Alertmanager: Debian's `prometheus-alertmanager`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::support::client::{Client, get};
use crate::support::process::Process;
use crate::support::scripted_upstream::{Reply, ScriptedUpstream};

const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";

/// How long a test waits for a condition.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// An Alertmanager. It ends when it is dropped.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Alertmanager {
    /// Notifies this URL. `None`, with a message on stderr, if it is not installed; with
    /// `INCIDENT_GATEWAY_NO_SKIP`, as in CI, the test fails then.
    async fn start(test: &str, webhook: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            let missing = format!("{test}: apt-get install prometheus-alertmanager");
            assert!(std::env::var_os("INCIDENT_GATEWAY_NO_SKIP").is_none(), "{missing}");
            eprintln!("SKIPPED {missing}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (config, log) = (folder.path().join("alertmanager.yml"), folder.path().join("log"));
        let settings = format!(
            "route: {{ receiver: hook, group_by: [id], group_wait: 0s, group_interval: 1s }}\n\
             receivers:\n  - name: hook\n    webhook_configs: [ {{ url: '{webhook}' }} ]\n"
        );
        fs::write(&config, settings).unwrap();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut started = Self { child, address: ([0; 4], 0).into(), _folder: folder };
        started.address = wait_for("Alertmanager", async || {
            let log = fs::read_to_string(&log).unwrap();
            let (_, rest) = log.split_once("\"Listening on\" address=")?;
            rest.lines().next()?.parse().ok()
        })
        .await;
        Some(started)
    }

    fn url(&self) -> String {
        format!("http://{}/api/v2/alerts", self.address)
    }

    /// The alerts that are active.
    async fn alerts(&self) -> Vec<Value> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The answer to HTTP/1.0 ends with the connection.
        stream.write_all(b"GET /api/v2/alerts HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < MAX_WAIT, "waited for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A gateway with a store and one source, a file of incidents.
struct Forwarding {
    process: Process,
    folder: TempDir,
    incidents: Vec<Value>,
}

impl Forwarding {
    /// Starts with these incidents, which are stored before this returns.
    async fn start(forwards: &str, incidents: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_incidents(folder.path(), incidents);
        let text = format!(
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n\
             store: {{ url: 'sqlite:{folder}/history.db' }}\n\
             public_url: https://incidents.example/gateway\n\
             sources:\n  - name: badge\n    file: {folder}/incidents.ndjson\n    every: 200ms\n    \
             id: id\n    identity: {{ at: who, as: employee_id }}\n    title: what\n\
             forward:\n{forwards}",
            folder = folder.path().display()
        );
        let config = folder.path().join("gateway.yaml");
        fs::write(&config, text).unwrap();
        let flags = ["serve", "--config", config.to_str().unwrap()];
        let (process, mut log) = Process::serve_with(&flags, &[]).await;
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let started = Self { process, folder, incidents: incidents.to_vec() };
        wait_for("the first incidents in the store", async || {
            let stored = get(started.process.address, "/history?limit=1").await;
            (stored.status == 200 && stored.json()["count"] == 1).then_some(())
        })
        .await;
        started
    }

    /// Adds incidents to the source.
    fn add(&mut self, incidents: &[Value]) {
        self.incidents.extend_from_slice(incidents);
        write_incidents(self.folder.path(), &self.incidents);
    }

    /// Waits until all records are done that a forward has to send; returns what `/sources` says
    /// of it.
    async fn done(&self, name: &str, records: u64) -> Value {
        wait_for(&format!("{name} to be done with {records} records"), async || {
            let sources = get(self.process.address, "/sources").await.json();
            let forwards = sources["forwards"].as_array()?;
            let forward = forwards.iter().find(|forward| forward["name"] == name)?;
            let count = |key: &str| forward[key].as_u64().unwrap();
            (count("sent") + count("dead_letters") == records && forward["lag"] == 0)
                .then(|| forward.clone())
        })
        .await
    }

    /// Status and answer of the dead letters of a forward.
    fn dead_letters(&self, name: &str) -> Vec<(u16, String)> {
        let store = rusqlite::Connection::open(self.folder.path().join("history.db")).unwrap();
        let sql = "SELECT status, answer FROM dead_letters WHERE forward = ?";
        let mut statement = store.prepare(sql).unwrap();
        let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// Replaces the file, so that no half of it is ever seen.
fn write_incidents(folder: &Path, incidents: &[Value]) {
    let lines: Vec<_> = incidents.iter().map(|incident| format!("{incident}\n")).collect();
    fs::write(folder.join("new"), lines.concat()).unwrap();
    fs::rename(folder.join("new"), folder.join("incidents.ndjson")).unwrap();
}

fn incident(id: &str, priority: &str, what: &str) -> Value {
    json!({ "id": id, "who": "ada lovelace", "priority": priority, "timestamp": 1_795_000_000.25,
            "what": what })
}

/// What the record of an alert says.
fn what(alert: &Value) -> String {
    let incident = alert["annotations"]["incident"].as_str().unwrap();
    let incident: Value = serde_json::from_str(incident).unwrap();
    incident["record"]["what"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_critical_incident_becomes_an_alert_and_resolves_itself() {
    let hook = ScriptedUpstream::start().await;
    hook.script("/hook", Reply::json("{}"));
    let webhook = format!("{}/hook", hook.base_url());
    let name = "a_new_critical_incident_becomes_an_alert_and_resolves_itself";
    let Some(alertmanager) = Alertmanager::start(name, &webhook).await else { return };
    let url = alertmanager.url();
    // The last one writes what Alertmanager cannot read.
    let forwards = format!(
        "  - {{ name: pager, url: '{url}', format: alertmanager, select: {{ priority: critical }},\n\
         \x20     tags: {{ environment: production }} }}\n\
         \x20 - {{ name: brief, url: '{url}', format: alertmanager, select: {{ priority: critical }},\n\
         \x20     tags: {{ environment: brief }}, active_for: 2s }}\n\
         \x20 - {{ name: mistaken, url: '{url}', format: splunk_hec }}\n"
    );
    let mut gateway = Forwarding::start(&forwards, &[incident("1", "critical", "old")]).await;
    gateway.add(&[incident("2", "critical", "new"), incident("3", "low", "harmless")]);

    let pager = gateway.done("pager", 1).await;
    assert_eq!((&pager["sent"], &pager["last_error"]), (&json!(1), &Value::Null), "{pager}");
    gateway.done("brief", 1).await;
    let alerts = alertmanager.alerts().await;
    let environment = |alert: &&Value| alert["labels"]["environment"] == "production";
    let [alert] = alerts.iter().filter(environment).collect::<Vec<_>>()[..] else {
        panic!("not one alert: {alerts:?}")
    };
    let history = get(gateway.process.address, "/history?priority=critical").await.json();
    let rows = history["incidents"].as_array().unwrap();
    let row = rows.iter().find(|row| row["incident"]["record"]["id"] == "2").unwrap();
    let labels = json!({ "alertname": "incident", "type": "badge", "priority": "critical",
        "employee_id": "ada lovelace", "id": row["id"], "environment": "production" });
    assert_eq!(alert["labels"], labels);
    assert_eq!(what(alert), "new");
    assert_eq!(alert["startsAt"], "2026-11-18T11:06:40.250Z");
    assert_eq!(alert["status"]["state"], "active");
    assert_eq!(alert["generatorURL"], "https://incidents.example/gateway/employees/ada%20lovelace");

    // One notification says that the brief alert fires, a later one that it is resolved.
    for status in ["firing", "resolved"] {
        wait_for(status, async || {
            let notified = hook.seen().into_iter().any(|seen| {
                let notification: Value = serde_json::from_str(&seen.body).unwrap();
                let alerts = notification["alerts"].as_array().unwrap();
                alerts.iter().any(|alert| {
                    alert["labels"]["environment"] == "brief" && alert["status"] == status
                })
            });
            notified.then_some(())
        })
        .await;
    }
    let left = alertmanager.alerts().await;
    assert_eq!(left.len(), 1, "only the one that is active for an hour: {left:?}");
    assert_eq!(left[0]["labels"], labels);

    // Alertmanager has refused each record of the last forward, and said why.
    let mistaken = gateway.done("mistaken", 2).await;
    assert_eq!(mistaken["dead_letters"], 2, "{mistaken}");
    assert!(mistaken["last_error"].as_str().unwrap().contains("400"), "{mistaken}");
    let dead_letters = gateway.dead_letters("mistaken");
    assert_eq!(dead_letters.len(), 2, "{dead_letters:?}");
    for (status, answer) in &dead_letters {
        assert_eq!(*status, 400);
        assert!(answer.contains("parsing alerts body from"), "{answer}");
    }
}

/// A proxy that takes bodies of at most this many bytes, as nginx does with
/// `client_max_body_size`.
async fn limiting_proxy(target: SocketAddr, max_body: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass_one(stream, target, max_body));
        }
    });
    address
}

/// Passes one request on, and closes the connection.
async fn pass_one(mut stream: TcpStream, target: SocketAddr, max_body: usize) {
    let mut request = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            break (end + 4, length.lines().next().unwrap().parse::<usize>().unwrap());
        }
    };
    while request.len() < head + length {
        stream.read_buf(&mut request).await.unwrap();
    }
    let status = if length > max_body {
        413
    } else {
        let mut alertmanager = Client::connect(target).await.unwrap();
        alertmanager.send(&request).await.unwrap();
        alertmanager.answer().await.unwrap().status
    };
    let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn a_record_that_is_too_large_for_the_way_to_alertmanager_holds_up_no_other() {
    let name = "a_record_that_is_too_large_for_the_way_to_alertmanager_holds_up_no_other";
    let webhook = "http://127.0.0.1:9/unused";
    let Some(alertmanager) = Alertmanager::start(name, webhook).await else { return };
    let proxy = limiting_proxy(alertmanager.address, 4096).await;
    let forwards = format!(
        "  - {{ name: pager, url: 'http://{proxy}/api/v2/alerts', format: alertmanager }}\n"
    );
    let mut gateway = Forwarding::start(&forwards, &[incident("1", "low", "old")]).await;
    let large = "x".repeat(8192);
    let titles = ["small 1", "small 2", &large, "small 3", "small 4"];
    let new: Vec<_> =
        titles.iter().map(|what| incident(what.get(..9).unwrap_or(what), "high", what)).collect();
    gateway.add(&new);

    let pager = gateway.done("pager", 5).await;
    assert_eq!((&pager["sent"], &pager["dead_letters"]), (&json!(4), &json!(1)), "{pager}");
    assert_eq!(gateway.dead_letters("pager"), [(413, String::new())]);
    let alerts = alertmanager.alerts().await;
    let mut arrived: Vec<_> = alerts.iter().map(what).collect();
    arrived.sort_unstable();
    assert_eq!(arrived, ["small 1", "small 2", "small 3", "small 4"]);
}
