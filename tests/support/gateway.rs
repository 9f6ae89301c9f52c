//! A gateway in this process that listens on free ports and fetches from a scripted upstream.

use std::time::{Duration, Instant};

use incident_gateway::app::{OpenStore, Running};
use incident_gateway::config::{self, Concurrency, Config};
use incident_gateway::render::{self, Filter};
use serde_json::Value;
use tokio::time::sleep;

use super::client::{Answer, get, get_with};
use super::scripted_upstream::{Script, ScriptedUpstream};
use super::views::view;

/// How long a test waits for a condition before it fails.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// How often the condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// The name and a valid body of each source, identities first.
pub const GOOD: [(&str, &str); 8] = [
    ("identities", r#"{"17.0.0.1":100,"17.0.0.2":200,"2001:db8::7":300}"#),
    ("denial", r#"{"results":[{"priority":"low","reported_by":100,"timestamp":1.5}]}"#),
    (
        "intrusion",
        r#"{"results":[{"priority":"high","internal_ip":"17.0.0.1","timestamp":2.25,"source_ip":"17.4.5.6"}]}"#,
    ),
    ("executable", r#"{"results":[{"priority":"medium","machine_ip":"17.0.0.2","timestamp":3}]}"#),
    (
        "misuse",
        r#"{"results":[{"priority":"low","employee_id":200,"timestamp":4},{"priority":"low","employee_id":100,"timestamp":0.5}]}"#,
    ),
    ("unauthorized", r#"{"results":[{"priority":"critical","employee_id":100,"timestamp":5}]}"#),
    ("probing", r#"{"results":[{"priority":"critical","ip":"2001:db8:0::7","timestamp":6}]}"#),
    (
        "other",
        r#"{"results":[{"priority":"high","identifier":"17.9.9.9","timestamp":7},{"priority":"high","identifier":300,"timestamp":8}]}"#,
    ),
];

/// The path of a source, by its index in [`GOOD`].
pub fn path(source: usize) -> String {
    if source == 0 { "/identities/".to_owned() } else { format!("/incidents/{}/", GOOD[source].0) }
}

/// An upstream that serves the bodies of [`GOOD`].
pub async fn good_upstream() -> ScriptedUpstream {
    let server = ScriptedUpstream::start().await;
    for (source, (_, body)) in GOOD.iter().enumerate() {
        server.script(&path(source), Script::json(*body));
    }
    server
}

/// The document that `/incidents` serves when the sources for which `has_data` is true have their
/// bodies of [`GOOD`], and the others no data.
pub fn document(has_data: impl Fn(usize) -> bool) -> String {
    let body = |source: usize| has_data(source).then_some(GOOD[source].1);
    let bodies: Vec<_> = (1..GOOD.len()).map(body).collect();
    let view = view(&Config::default(), 1, body(0), &bodies);
    String::from_utf8(render::incidents(&view, &Filter::default())).unwrap()
}

/// Settings under which faults and refreshes take fractions of a second.
pub fn quick(base_url: &str) -> Config {
    let defaults = Config::default();
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        response_budget: Duration::from_millis(300),
        upstream: config::Upstream {
            base_url: base_url.parse().unwrap(),
            username: Some("reader".to_owned()),
            password: Some("secret".into()),
            concurrency: Concurrency::Fixed(8),
            retries: 0,
            max_body: 64 << 10,
            ..defaults.upstream
        },
        cache: config::Cache { ttl: Duration::from_millis(400), ..defaults.cache },
        ..defaults
    }
}

/// A gateway that serves until it is dropped.
pub struct Gateway {
    pub running: Running,
}

impl Gateway {
    pub fn start(config: &Config) -> Self {
        Self { running: Running::start(config, None, 7).unwrap() }
    }

    /// The same with the store of the configuration.
    pub async fn start_with_store(config: &Config) -> Self {
        let store = OpenStore::open(config, 7).await.unwrap();
        Self { running: Running::start(config, store, 7).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(self.running.address, path).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get_with(self.running.address, path, headers).await
    }

    pub async fn admin(&self, path: &str) -> Answer {
        get(self.running.admin_address, path).await
    }

    /// Waits until `/sources` meets the condition, and returns it.
    pub async fn wait_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let sources = self.get("/sources").await.json();
            if wanted(&sources) {
                return sources;
            }
            assert!(began.elapsed() < MAX_WAIT, "never {what}: {sources:#}");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until `/incidents` has this completeness, and returns that response. With two separate
    /// requests, a refresh in between could change the completeness again.
    pub async fn wait_for_completeness(&self, what: &str, completeness: &str) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.get("/incidents").await;
            if answer.status == 200 && answer.header("incident-completeness") == completeness {
                return answer;
            }
            assert!(began.elapsed() < MAX_WAIT, "{what}: never {completeness}: {}", answer.text());
            sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn wait_until_complete(&self, what: &str) {
        self.wait_until(what, |sources| sources["completeness"] == "complete").await;
    }
}
