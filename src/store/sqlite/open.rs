//! Opens the database: its lock, its file, its schema.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault::Fault;
use super::schema;
use crate::store::StoreError;

/// What a process does with the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everything. It creates the file, migrates it, and keeps other such processes out.
    Exclusive,
    /// It works beside a process that may have the exclusive access.
    Beside,
}

/// The file's mode: only its owner reads and writes it.
const FILE_MODE: u32 = 0o600;

/// How long an operation waits for a lock of another process. `forget` waits for a large write.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_WAIT_BESIDE: Duration = Duration::from_mins(1);

/// How long the quick check at start may take, so that a restart does not wait for it. A small file
/// is read to its end, a large one is not.
const CHECK_BOUND: Duration = Duration::from_millis(100);

/// The page cache of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cache {
    /// For one that reads many rows once, in the order of the file.
    Small,
    /// For one that writes, because that changes indexes all over, or answers questions from them.
    Large,
}

impl Cache {
    const fn kib(self) -> i64 {
        match self {
            Self::Small => 4 * 1024,
            Self::Large => 32 * 1024,
        }
    }
}

/// How large the write-ahead log grows before it is moved into the database, and what it is cut to
/// after a larger transaction. Moving waits for the disk, and a page that several refreshes change
/// is moved once.
const LOG_BYTES: i64 = 16 << 20;

/// The size of a page, which is the default.
const PAGE_BYTES: i64 = 4096;

/// A database that has been opened.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Keeps other processes out until it is dropped.
    pub(super) lock: Option<File>,
    pub(super) file: FileIdentity,
}

/// Tells whether a path still names the same file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }
}

/// Opens the database and brings its schema up to date. A file that cannot be used is not changed.
pub(super) fn open(path: &Path, access: Access) -> Result<Opened, StoreError> {
    let lock = match access {
        Access::Exclusive => {
            check_directory(path)?;
            let lock = lock(path)?;
            create(path)?;
            Some(lock)
        }
        Access::Beside if !path.exists() => {
            return Err(unusable(format!("there is no history database {}", path.display())));
        }
        Access::Beside => None,
    };
    let file = FileIdentity::of(path).map_err(|error| not_writable(path, &error))?;
    let connection = prepare(path, access).map_err(|fault| fault.at_start(path))?;
    Ok(Opened { connection, lock, file })
}

/// Lets a connection wait for the locks of others again.
pub(super) fn wait_for_locks(connection: &Connection) -> Result<(), Fault> {
    Ok(connection.busy_timeout(LOCK_WAIT)?)
}

/// Opens another connection to a database that has been prepared.
pub(super) fn connect(path: &Path, cache: Cache) -> Result<Connection, Fault> {
    let connection = open_file(path, LOCK_WAIT)?;
    configure(&connection, cache)?;
    Ok(connection)
}

fn check_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(path);
    if directory.is_dir() {
        return Ok(());
    }
    let directory = directory.display();
    Err(unusable(format!("store.url: the directory {directory} does not exist: create it")))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock_path)
        .map_err(|error| not_writable(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unusable(format!(
            "store.url: another incident-gateway process uses {}: give each its own file, or use \
             PostgreSQL for several",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(format!(
            "store.url: cannot lock {} ({error}): use a local file system",
            lock_path.display()
        ))),
    }
}

/// Creates the file if it is missing, so that it has its mode from the first byte on.
fn create(path: &Path) -> Result<(), StoreError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(not_writable(path, &error)),
    }
}

fn prepare(path: &Path, access: Access) -> Result<Connection, Fault> {
    let wait = match access {
        Access::Exclusive => LOCK_WAIT,
        Access::Beside => LOCK_WAIT_BESIDE,
    };
    let mut connection = open_file(path, wait)?;
    // Closing the connection to a file that is refused must not write to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    check_version(&connection, path, access)?;
    check_integrity(&mut connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let path = path.display();
        return Err(unusable(format!(
            "store.url: the file system of {path} does not suit SQLite (no write-ahead log): use \
             a local one"
        ))
        .into());
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    configure(&connection, Cache::Large)?;
    if access == Access::Exclusive {
        restrict(path);
        schema::migrate(&mut connection)?;
    }
    Ok(connection)
}

fn open_file(path: &Path, wait: Duration) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(wait)?;
    Ok(connection)
}

/// What holds for a connection and not for the file.
fn configure(connection: &Connection, cache: Cache) -> Result<(), Fault> {
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "cache_size", -cache.kib())?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_BYTES / PAGE_BYTES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // There may be no directory for temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(())
}

/// Refuses databases of other programs and of other versions of this one.
fn check_version(connection: &Connection, path: &Path, access: Access) -> Result<(), Fault> {
    let path = path.display();
    if connection.is_readonly("main")? {
        return Err(unusable(format!(
            "store.url: {path} cannot be written: let this user write to the file"
        ))
        .into());
    }
    let version = schema::version(connection)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 =
        connection.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = version == 0 && application == 0 && objects == 0;
    if !is_new && application != schema::APPLICATION_ID {
        return Err(unusable(format!(
            "store.url: {path} is a database of another program: name another file"
        ))
        .into());
    }
    if version > schema::VERSION {
        return Err(unusable(newer_schema(version, &path.to_string())).into());
    }
    if access == Access::Beside && version < schema::VERSION {
        return Err(unusable(format!(
            "{path} has version {version} of the schema, older than this program's ({}): start \
             `incident-gateway serve` once, which migrates it",
            schema::VERSION
        ))
        .into());
    }
    Ok(())
}

/// Says that a version is newer than this program's.
pub(super) fn newer_schema(version: usize, path: &str) -> String {
    format!(
        "the history database {path} has version {version} of the schema, newer than this \
         program's ({}): use the newer program, or restore a backup from before",
        schema::VERSION
    )
}

/// Looks for damage, as far as that is possible in a short time.
fn check_integrity(connection: &mut Connection) -> Result<(), Fault> {
    let deadline = Instant::now() + CHECK_BOUND;
    connection.progress_handler(1_000, Some(move || Instant::now() >= deadline))?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(found),
        )
        .into()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the rights of others to a file that was there before.
fn restrict(path: &Path) {
    let restricted = fs::metadata(path).and_then(|file| {
        if file.permissions().mode() & 0o777 == FILE_MODE {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))
    });
    if let Err(error) = restricted {
        let path = path.display();
        tracing::warn!(%path, %error, "cannot set the mode of the history database to 0600");
    }
}

fn not_writable(path: &Path, error: &io::Error) -> StoreError {
    let detail = format!(
        "store.url: {} cannot be written ({error}): let this user write to the file and its \
         directory",
        path.display()
    );
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Unavailable(detail),
        _ => unusable(detail),
    }
}

fn unusable(detail: String) -> StoreError {
    StoreError::Unusable(detail)
}
