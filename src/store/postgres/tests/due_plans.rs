//! How the database finds the records that are due.

use super::page_plans::{Json, plan};
use super::{PostgresServer, PostgresStore, store};
use crate::config::Selection;
use crate::decode::Priority;
use crate::store::postgres::READ;
use crate::store::postgres::due::{Range, page_statement};
use crate::store::postgres::lane::Mode;
use crate::store::{DueQuery, DueRange, ForwardStore as _};

/// 60,000 records of 8 sources, which stand in the table in no order.
const FILL: &str = "INSERT INTO sources (name, first_through) \
         SELECT 'source-' || n, n FROM generate_series(1, 8) n; \
     INSERT INTO records SELECT n, n, md5(n::text)::uuid, 1.6e9, 1.7e9, NULL, 1 + n % 8, n % 4, \
         NULL, CASE WHEN n % 100 = 0 THEN NULL ELSE 'employee-' || n END, \
         convert_to(repeat('x', 300), 'UTF8') \
     FROM generate_series(1, 60000) n ORDER BY hashint4(n)";

/// Reads a page; returns the plan, and how many records were read for it.
async fn explain(store: &PostgresStore, range: &DueRange) -> (serde_json::Value, f64) {
    let range = Range::new(range);
    let mut params = range.params();
    let (limit, max_bytes) = (500_i64, 1_i64 << 20);
    params.push((&limit, tokio_postgres::types::Type::INT8));
    params.push((&max_bytes, tokio_postgres::types::Type::INT8));
    let statement = format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", page_statement());
    let connection = store.forwards.connection(READ.server).await.unwrap();
    let rows = connection.run(Mode::ReadInOrder, &statement, &params).await.unwrap();
    let explained: Json = rows[0].get(0);
    let explained: serde_json::Value = serde_json::from_str(&explained.0).unwrap();
    let mut nodes = vec![&explained[0]["Plan"]];
    let mut read = 0.0;
    while let Some(node) = nodes.pop() {
        if node["Relation Name"] == "records" {
            read += node["Actual Rows"].as_f64().unwrap();
        }
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
    }
    (explained, read)
}

#[tokio::test]
async fn the_index_of_numbers_has_what_is_due_in_order() {
    let test = "the_index_of_numbers_has_what_is_due_in_order";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let one = store(server, &database).await;
    server.query(&database, FILL).await;
    let of = |selection: Selection, start| DueRange { after: 0, start, selection };
    let critical = Selection {
        priorities: Some(vec![Priority::Critical]),
        types: Some(vec!["source-4".to_owned()]),
        unattributed: false,
    };
    let nothing = Selection { types: Some(vec!["nothing".to_owned()]), ..Selection::default() };
    let cases = [
        (of(Selection::default(), None), 500, 520.0),
        (of(Selection::default(), Some(0)), 500, 520.0),
        (of(critical.clone(), None), 500, 4_020.0),
        (of(critical, Some(59_000)), 0, 10_000.0),
        (of(nothing, None), 0, 10_000.0),
    ];
    // First, the database knows nothing of the rows.
    for is_analyzed in [false, true] {
        for (range, records, most_read) in &cases {
            for after in [0, 49_000] {
                let range = DueRange { after, ..range.clone() };
                let (explained, read) = explain(&one, &range).await;
                let shown = explained.to_string();
                let (reads, _) = plan(&explained);
                let what = format!("{is_analyzed}, {range:?}: {reads:?}, {read} read\n{shown}");
                assert!(reads.iter().any(|read| read == "records_number_key"), "{what}");
                assert!(!shown.contains("Sort\"") && !shown.contains("all of records"), "{what}");
                assert!(read <= *most_read, "{what}");
                assert!(!shown.contains("Gather"), "{what}");
                if after == 0 {
                    let query = DueQuery { range, limit: 500, max_bytes: 1 << 20 };
                    let page = one.due(query).await.unwrap();
                    assert_eq!((page.rows.len(), page.is_end), (*records, false), "{what}");
                    assert!(*records > 0 || page.through == 10_000, "{what}");
                }
            }
        }
        server.query(&database, "ANALYZE").await;
    }
}
