//! How the database finds the records of a page.

use super::{PostgresServer, store};
use crate::decode::Priority;
use crate::store::postgres::history::page_statement;
use crate::store::{HistoryFilter, HistoryPosition, HistoryQuery};

/// 200,000 records of 8 sources and 20,000 employees, of which one in 16 is current; one in 100 has
/// no time.
pub(super) const FILL: &str = "INSERT INTO sources (name) SELECT 'source-' || n FROM generate_series(1, 8) n; \
     INSERT INTO records SELECT n, n, md5(n::text)::uuid, \
         CASE WHEN n % 100 = 0 THEN NULL ELSE 1.6e9 + hashint4(n) % 30000000 END, 1.7e9, \
         CASE WHEN n % 16 = 0 THEN NULL ELSE 1.7e9 + n END, 1 + n % 8, n % 7 % 4, NULL, \
         'employee-' || hashint4(n) % 10000, '{}' \
     FROM generate_series(1, 200000) n";

/// The tables and indexes that a plan reads, and how many rows it discards after reading them.
pub(super) fn plan(explained: &serde_json::Value) -> (Vec<String>, f64) {
    let mut reads = Vec::new();
    let mut discarded = 0.0;
    let mut nodes = vec![&explained[0]["Plan"]];
    while let Some(node) = nodes.pop() {
        if let Some(name) = node["Index Name"].as_str() {
            reads.push(name.to_owned());
        } else if node["Node Type"] == "Seq Scan" {
            reads.push(format!("all of {}", node["Relation Name"].as_str().unwrap()));
        }
        let loops = node["Actual Loops"].as_f64().unwrap_or(1.0);
        let removed = node["Rows Removed by Filter"].as_f64().unwrap_or(0.0);
        discarded += removed * loops;
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
    }
    (reads, discarded)
}

#[tokio::test]
async fn an_index_has_the_records_of_a_page_in_order() {
    let test = "an_index_has_the_records_of_a_page_in_order";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    store(server, &database).await;
    server.query(&database, FILL).await;
    server.query(&database, "ANALYZE").await;
    let client = server.connect(&database).await;
    let of = |change: &dyn Fn(&mut HistoryFilter)| {
        let mut filter = HistoryFilter::default();
        change(&mut filter);
        filter
    };
    let employees = |n: usize| Some((0..n).map(|n| format!("employee-{n}")).collect());
    let types = |n: usize| Some((1..=n).map(|n| format!("source-{n}")).collect());
    let cases = [
        ("records_by_time", of(&|_| ())),
        ("records_by_time", of(&|f| f.current = Some(true))),
        ("records_by_time", of(&|f| f.current = Some(false))),
        ("records_by_time", of(&|f| f.priorities = Some(vec![Priority::Critical]))),
        ("records_by_time", of(&|f| f.priorities = Some(Priority::ALL.to_vec()))),
        ("records_by_time", of(&|f| f.since = Some(1.61e9))),
        ("records_by_time", of(&|f| f.until = Some(1.59e9))),
        ("records_by_source", of(&|f| f.types = types(1))),
        ("records_by_source", of(&|f| f.types = types(3))),
        (
            "records_by_source",
            of(&|f| {
                f.types = types(2);
                f.current = Some(true);
                f.priorities = Some(vec![Priority::Low, Priority::Critical]);
                f.since = Some(1.59e9);
            }),
        ),
        ("records_by_employee", of(&|f| f.employees = employees(1))),
        ("records_by_employee", of(&|f| f.employees = employees(50))),
        (
            "records_by_employee",
            of(&|f| {
                f.employees = employees(1);
                f.types = types(1);
                f.current = Some(false);
            }),
        ),
        (
            "records_by_employee",
            of(&|f| {
                f.employees = employees(1);
                f.types = types(2);
                f.priorities = Some(vec![Priority::Low]);
                f.current = Some(true);
                f.until = Some(1.62e9);
            }),
        ),
    ];
    let positions = [None, Some(Some(1.601e9)), Some(None)];
    for (index, filter) in cases {
        for position in positions {
            let after = position.map(|timestamp| HistoryPosition { timestamp, number: 100_000 });
            let query =
                HistoryQuery { filter: filter.clone(), after, limit: 100, max_bytes: usize::MAX };
            let (statement, params) = page_statement(&query);
            let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) {statement}");
            // The plan of a statement with its values; its JSON is read as text.
            let rows = client.query_typed(&explain, &params.as_params()).await.unwrap();
            let explained: Json = rows[0].get(0);
            let (reads, discarded) = plan(&serde_json::from_str(&explained.0).unwrap());
            let what = format!("{query:?}: {reads:?}, {discarded} discarded\n{}", explained.0);
            assert!(reads.iter().any(|read| read == index), "{what}");
            assert!(!reads.iter().any(|read| read == "all of records"), "{what}");
            // An employee's few records are searched.
            assert!(discarded <= 100.0, "{what}");
        }
    }
}

/// The text of a value of the type `json`.
pub(super) struct Json(pub(super) String);

impl<'a> tokio_postgres::types::FromSql<'a> for Json {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }

    fn accepts(ty: &tokio_postgres::types::Type) -> bool {
        *ty == tokio_postgres::types::Type::JSON
    }
}
