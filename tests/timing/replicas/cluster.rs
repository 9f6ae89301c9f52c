//! Several processes that share a PostgreSQL, and an upstream that counts.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::client::{Answer, get};
use crate::support::gateway::{good_upstream, path};
use crate::support::postgres::{PostgresServer, Settings};
use crate::support::process::Process;
use crate::support::scripted_upstream::{Script, ScriptedUpstream};
use serde_json::Value;
use tokio::time::sleep;

/// Data is stale after 4 s.
pub(crate) const SETTINGS: [(&str, &str); 4] = [
    ("CACHE__TTL", "1s"),
    ("UPSTREAM__TIMEOUT", "3s"),
    ("UPSTREAM__RETRIES", "0"),
    ("UPSTREAM__CONCURRENCY", "8"),
];

/// The `response_budget`, and what a busy machine takes beside it.
pub(crate) const BUDGET: Duration = Duration::from_millis(1900 + 600);

/// How long a test waits for what has no bound of its own.
const MAX_WAIT: Duration = Duration::from_secs(40);

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The time of the first record of [`misuse`].
const FIRST_TIMESTAMP: usize = 1_000_000;

/// The records of the source `misuse`, of which each list has those before and one more.
pub(crate) fn misuse(records: usize) -> Script {
    let mut body = r#"{"results":["#.to_owned();
    for record in 0..records {
        let (separator, employee) = (if record == 0 { "" } else { "," }, 100 + record % 7);
        let timestamp = FIRST_TIMESTAMP + record;
        write!(
            body,
            r#"{separator}{{"priority":"low","employee_id":{employee},"timestamp":{timestamp}}}"#
        )
        .unwrap();
    }
    Script::json(body + "]}")
}

/// Whether a text has the last one of that many records.
pub(crate) fn has_record(text: &str, records: usize) -> bool {
    text.contains(&format!("\"timestamp\":{}", FIRST_TIMESTAMP + records - 1))
}

/// The index of the source `misuse`.
const MISUSE: usize = 4;

/// The processes, their database and their upstream.
pub(crate) struct Cluster {
    pub(crate) postgres: PostgresServer,
    pub(crate) database: String,
    pub(crate) upstream: ScriptedUpstream,
    pub(crate) replicas: Vec<Process>,
}

impl Cluster {
    /// This many replicas with complete data, one of them the leader. `None` where PostgreSQL is
    /// not installed.
    pub(crate) async fn start(test: &str, replicas: usize) -> Option<Self> {
        let mut cluster = Self::empty(test).await?;
        for _ in 0..replicas {
            let replica = cluster.serve(&cluster.postgres.tcp_url(&cluster.database)).await;
            cluster.replicas.push(replica);
        }
        cluster.settle().await;
        Some(cluster)
    }

    /// A cluster without a replica.
    pub(crate) async fn empty(test: &str) -> Option<Self> {
        let settings = Settings { tcp: true, ..Settings::default() };
        let postgres = PostgresServer::start(test, &settings)?;
        let database = postgres.create_database().await;
        let upstream = good_upstream().await;
        upstream.script(&path(MISUSE), misuse(1));
        Some(Self { postgres, database, upstream, replicas: Vec::new() })
    }

    /// Starts a replica that reaches the database at this URL.
    pub(crate) async fn serve(&self, url: &str) -> Process {
        self.serve_with(url, &[]).await
    }

    /// The same with more settings.
    pub(crate) async fn serve_with(&self, url: &str, more: &[(&str, &str)]) -> Process {
        let variables = [&SETTINGS[..], &[("STORE__URL", url)], more].concat();
        Process::serve(&self.upstream.base_url(), &variables).await
    }

    /// Lets the upstream list this many records in one of its sources.
    pub(crate) fn list(&self, records: usize) {
        self.upstream.script(&path(MISUSE), misuse(records));
    }

    /// How many calls the upstream had.
    pub(crate) fn calls(&self) -> usize {
        self.upstream.seen().len()
    }

    /// Waits until all replicas have complete data and exactly one is the leader.
    pub(crate) async fn settle(&self) {
        self.until("complete data everywhere", || async {
            for replica in &self.replicas {
                if !is_complete(replica).await {
                    return false;
                }
            }
            true
        })
        .await;
        self.until("one leader", || async { self.leader().await.is_some() }).await;
    }

    /// The index of the leader, if exactly one replica says that it is.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let mut leaders = Vec::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            if metric(replica, "store_leader").await == Some(1.0) {
                leaders.push(index);
            }
        }
        (leaders.len() == 1).then(|| leaders[0])
    }

    /// Waits until every replica says this about the store.
    pub(crate) async fn until_up(&self, up: bool) {
        let wanted = Some(if up { 1.0 } else { 0.0 });
        self.until(&format!("store_up {wanted:?} everywhere"), || async {
            for replica in &self.replicas {
                if metric(replica, "store_up").await != wanted {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Waits until a condition holds; returns how long that took.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
        let began = Instant::now();
        while !holds().await {
            if began.elapsed() > MAX_WAIT {
                let mut states = String::new();
                for replica in &self.replicas {
                    let store = &get(replica.address, "/sources").await.json()["store"];
                    writeln!(states, "{store}").unwrap();
                }
                panic!("never {what}; the replicas say:\n{states}");
            }
            sleep(POLL_INTERVAL).await;
        }
        began.elapsed()
    }

    /// Lets the upstream list this many records, and waits until every replica has the last one,
    /// with the same bytes and `ETag`; returns how much later the last one had it than the first.
    pub(crate) async fn spread(&self, records: usize) -> Duration {
        self.list(records);
        self.until("the record anywhere", || async {
            for replica in &self.replicas {
                if has_record(incidents(replica).await.text(), records) {
                    return true;
                }
            }
            false
        })
        .await;
        self.until("the record everywhere", || async { self.agrees(records).await }).await
    }

    /// Whether all replicas have the last one of that many records, the same bytes and the same
    /// `ETag`, and say the same of each source.
    pub(crate) async fn agrees(&self, records: usize) -> bool {
        let mut first: Option<(Answer, Value)> = None;
        for replica in &self.replicas {
            let (answer, states) = (incidents(replica).await, states(replica).await);
            if !has_record(answer.text(), records) {
                return false;
            }
            match &first {
                Some((of_first, states_of_first)) => {
                    if (&of_first.body, of_first.header("etag"), states_of_first)
                        != (&answer.body, answer.header("etag"), &states)
                    {
                        return false;
                    }
                }
                None => first = Some((answer, states)),
            }
        }
        true
    }

    /// Waits until `/history` of a replica has the last one of that many records.
    pub(crate) async fn until_stored(&self, replica: usize, records: usize) {
        let newest = || get(self.replicas[replica].address, "/history?type=misuse&limit=1");
        self.until("the record in the history", || async {
            has_record(newest().await.text(), records)
        })
        .await;
    }

    /// Asserts that the store has each record once: those of `misuse`, and the ten of the other
    /// sources.
    pub(crate) async fn assert_each_record_once(&self, records: usize) {
        let counts = "SELECT count(*), count(DISTINCT number), count(DISTINCT id), \
                      count(DISTINCT bytes) FROM records";
        let rows = self.postgres.query(&self.database, counts).await;
        let counts: Vec<_> = rows[0].iter().map(|count| count.as_deref().unwrap()).collect();
        let expected = (records + OTHER_RECORDS).to_string();
        assert_eq!(counts, [&*expected; 4], "records, numbers, ids, contents");
    }
}

/// The records of the sources beside `misuse`.
pub(crate) const OTHER_RECORDS: usize = 7;

/// The document of a replica, which has to come within the budget.
pub(crate) async fn incidents(replica: &Process) -> Answer {
    let answer = get(replica.address, "/incidents").await;
    assert!(answer.took < BUDGET, "{:?}", answer.took);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

pub(crate) async fn is_complete(replica: &Process) -> bool {
    get(replica.address, "/incidents").await.header("incident-completeness") == "complete"
}

/// The name, state, records and last error of each source.
async fn states(replica: &Process) -> Value {
    let sources = get(replica.address, "/sources").await.json();
    let members = ["name", "state", "records", "last_error"];
    sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| members.iter().map(|member| source[member].clone()).collect::<Value>())
        .collect()
}

/// The value of a metric without labels, by its name without the prefix.
pub(crate) async fn metric(replica: &Process, name: &str) -> Option<f64> {
    let page = get(replica.admin_address, "/metrics").await;
    let prefix = format!("incident_gateway_{name} ");
    page.text().lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
}
