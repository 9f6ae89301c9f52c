//! Why an operation failed, and how the operator is told.

use std::error::Error as _;
use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::config::Postgres;
use crate::store::StoreError;

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke, or the server refused a statement.
    Server(tokio_postgres::Error),
    /// No connection, or no answer in time.
    TimedOut,
    /// What the server answered makes no sense to this program.
    Unexpected(&'static str),
    /// The operation ended for a reason of its own.
    Store(StoreError),
}

impl Failure {
    /// Whether the tables of this program are not there.
    pub(super) fn is_missing_table(&self) -> bool {
        let Self::Server(error) = self else { return false };
        error.code() == Some(&SqlState::UNDEFINED_TABLE)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Server(error),
            PoolError::Timeout(_) => Self::TimedOut,
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::Unexpected("the pool of connections is closed")
            }
        }
    }
}

/// Which database is meant, for messages. It has no password.
#[derive(Clone, Debug)]
pub(super) struct Place {
    address: String,
    database: String,
    user: String,
}

impl Place {
    pub(super) fn new(config: &Postgres) -> Self {
        let Postgres { host, port, .. } = config;
        let address = if host.starts_with('/') {
            format!("{host}/.s.PGSQL.{port}")
        } else if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Self { address, database: config.database.clone(), user: config.user.clone() }
    }

    /// The error for the operator.
    pub(super) fn describe(&self, failure: Failure) -> StoreError {
        let detail = match failure {
            Failure::Store(error) => return error,
            Failure::TimedOut => "did not answer in time".to_owned(),
            Failure::Unexpected(what) => what.to_owned(),
            Failure::Server(error) => self.cause(&error),
        };
        StoreError::Unavailable(format!("{self}: {detail}"))
    }

    fn cause(&self, error: &tokio_postgres::Error) -> String {
        let Some(refusal) = error.as_db_error() else { return connection_fault(error) };
        let message = refusal.message();
        // Only the message: details may show values of rows.
        match refusal.code() {
            &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                format!("{message}; check the user in `store.url` and `store.password_file`")
            }
            &SqlState::INVALID_CATALOG_NAME => format!("{message}; create it"),
            &SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("{message}; the user `{}` must own its tables", self.user)
            }
            &SqlState::DISK_FULL => format!("its disk is full: {message}"),
            &SqlState::READ_ONLY_SQL_TRANSACTION => {
                format!("it is read-only, as a standby is: {message}")
            }
            &SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE => {
                format!("did not answer in time: {message}")
            }
            &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN => {
                format!("its tables are not those of this program: {message}")
            }
            _ => message.to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL at {}, database `{}`", self.address, self.database)
    }
}

/// What went wrong with the connection: the error and what caused it, each once.
fn connection_fault(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
