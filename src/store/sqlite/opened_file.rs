//! The file of the store, since it was opened.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::fault::Fault;
use super::open::{self, Access, FileIdentity};
use crate::store::StoreError;

/// The file of the store. Clones share what is held of it. Its methods wait for the disk, so that
/// they run on the threads of the store.
#[derive(Clone)]
pub(super) struct OpenedFile {
    path: PathBuf,
    held: Arc<Mutex<Option<Held>>>,
}

/// What is held since the database was opened.
struct Held {
    /// Keeps other processes out.
    _lock: Option<File>,
    identity: FileIdentity,
}

impl OpenedFile {
    /// A file that is not open yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), held: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file unless it is open.
    pub(super) fn open(&self, access: Access) -> Result<Option<Connection>, StoreError> {
        let mut held = self.held();
        if held.is_some() {
            return Ok(None);
        }
        let opened = open::open(&self.path, access)?;
        *held = Some(Held { _lock: opened.lock, identity: opened.file });
        Ok(Some(opened.connection))
    }

    /// Fails unless the file is open.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match *self.held() {
            Some(_) => Ok(()),
            None => Err(self.unavailable("is not open yet")),
        }
    }

    /// Fails unless the file is open and still in its place. What is written to a file that was
    /// deleted would be lost.
    pub(super) fn check_file(&self) -> Result<(), Fault> {
        match &*self.held() {
            Some(held) if FileIdentity::of(&self.path).ok() == Some(held.identity) => Ok(()),
            Some(_) => Err(self.unavailable(
                "was deleted, moved or replaced while it was open: put it back, or restart the \
                 gateway",
            )),
            None => Err(self.unavailable("is not open yet")),
        }
    }

    fn unavailable(&self, state: &str) -> Fault {
        let detail = format!("the history database {} {state}", self.path.display());
        StoreError::Unavailable(detail).into()
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
