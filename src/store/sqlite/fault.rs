//! Errors of `SQLite`, as the store reports them.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// What failed within an operation.
#[derive(Debug)]
pub(super) enum Fault {
    /// A call of `SQLite`.
    Sqlite(Error),
    /// Something else, already described.
    Store(StoreError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// A stored value that this program has not written.
    pub(super) fn unreadable(what: &str) -> Self {
        let detail = format!("{what} in the history database cannot be read: restore a backup");
        Self::Store(StoreError::Unavailable(detail))
    }

    /// As the store reports it while it runs.
    pub(super) fn while_running(self, path: &Path) -> StoreError {
        let error = match self {
            Self::Sqlite(error) => error,
            Self::Store(error) => return error,
        };
        let path = path.display();
        StoreError::Unavailable(match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
                "the history database {path} is corrupt ({error}): stop the gateway, and move the \
                 file away or restore a backup"
            ),
            Some(ErrorCode::DiskFull) => {
                format!("there is no space left to write to the history database {path}")
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("another process has locked the history database {path}")
            }
            Some(ErrorCode::OperationInterrupted) => {
                format!("an operation on the history database {path} took too long")
            }
            _ => format!("the history database {path}: {error}"),
        })
    }

    /// As the store reports it when it opens the database: what trying again cannot mend is
    /// unusable.
    pub(super) fn at_start(self, path: &Path) -> StoreError {
        let Self::Sqlite(error) = &self else { return self.while_running(path) };
        let shown = path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreError::Unusable(format!(
                "store.url: {shown} is not a SQLite database: name another file, or move this one \
                 away"
            )),
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Unusable(format!(
                "store.url: the history database {shown} is corrupt ({error}): move it away, or \
                 restore a backup"
            )),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                StoreError::Unusable(format!(
                    "store.url: {shown} cannot be opened for writing ({error}): let this user \
                     write to the file and its directory"
                ))
            }
            _ => self.while_running(path),
        }
    }
}
