//! The schema, and how it is created and migrated.

use tokio_postgres::types::Type;

use super::fault::{Failure, Place};
use super::lane::Connection;
use crate::store::StoreError;

/// The statements that lead from each version of the schema to the next. They are never changed
/// once they are released: a change of the schema is appended.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// The version of the schema that this program knows.
pub(super) const SCHEMA_VERSION: i32 = 1;

const _: () = assert!(MIGRATIONS.len() == SCHEMA_VERSION as usize, "one migration a version");

/// The advisory lock that only one process holds while it migrates: `incident` in ASCII.
const MIGRATION_LOCK: i64 = 0x696e_6369_6465_6e74;

/// Creates or migrates the tables, unless they are those of this program.
pub(super) async fn migrate(connection: Connection, place: &Place) -> Result<(), Failure> {
    connection.begin().await?;
    check_encoding(&connection, place).await?;
    let mut version = stored_version(&connection).await?;
    if version < SCHEMA_VERSION {
        // Not needed otherwise, so that processes start while another one is stopped.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        connection.client().query_typed(lock, &[(&MIGRATION_LOCK, Type::INT8)]).await?;
        version = stored_version(&connection).await?;
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Unusable(newer(version, place)).into());
    }
    for (from, statements) in (0..).zip(MIGRATIONS).skip(usize::try_from(version).unwrap_or(0)) {
        tracing::info!(from, to = from + 1, "migrating the schema of the store");
        connection.client().batch_execute(statements).await?;
    }
    connection.commit().await
}

/// The text for a schema of a newer program.
pub(super) fn newer(version: i32, place: &Place) -> String {
    format!(
        "{place}: its schema has version {version}, and this program knows {SCHEMA_VERSION}; run a \
         newer incident-gateway, or restore a backup"
    )
}

/// The version of the tables; 0 if there are none.
async fn stored_version(connection: &Connection) -> Result<i32, Failure> {
    // Not by `to_regclass`, which may remember that there was none before the lock was waited for.
    const EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class \
         WHERE relname = 'schema_version' AND pg_catalog.pg_table_is_visible(oid))";
    let client = connection.client();
    let exists = client.query_typed_one(EXISTS, &[]);
    if !exists.await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let version = client.query_typed_one("SELECT max(version) FROM schema_version", &[]).await?;
    Ok(version.try_get::<_, Option<i32>>(0)?.unwrap_or(0))
}

async fn check_encoding(connection: &Connection, place: &Place) -> Result<(), Failure> {
    let row = connection
        .client()
        .query_typed_one("SELECT current_setting('server_encoding')", &[])
        .await?;
    let encoding: String = row.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let detail = format!("{place}: its encoding is {encoding}; create it with ENCODING 'UTF8'");
    Err(StoreError::Unusable(detail).into())
}
