//! The output of `fetch`: stdout, or a file, which is checked before any source is called and is
//! replaced atomically if possible.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Access, access};
use tempfile::{NamedTempFile, TempPath};
use tokio::task::spawn_blocking;

/// The most symbolic links that are followed in a row, as on Linux.
const MAX_LINKS: usize = 40;

/// The mode of a new file, which the umask restricts further.
const NEW_FILE_MODE: u32 = 0o666;

/// Why a document was not written.
#[derive(Debug)]
pub(super) enum OutputError {
    /// To stdout.
    Stdout(io::Error),
    /// To the file; one line that names it and the remedy.
    File(String),
}

/// A destination that can be written to, as far as can be checked without writing.
#[derive(Debug)]
pub(super) enum Output {
    /// `-`, no path at all, or another name of stdout, such as `/dev/stdout`.
    Stdout,
    /// A path.
    File {
        /// As the user gave it, for messages.
        shown: PathBuf,
        /// What exists there.
        target: Target,
    },
}

/// What exists at the path after resolving symbolic links.
#[derive(Debug)]
pub(super) enum Target {
    /// Nothing yet; files can be created in the directory.
    New(PathBuf),
    /// A regular file, open for writing.
    Regular {
        /// The existing file.
        file: File,
        /// The path at which a new file may replace it; `None` if that would lose hard links, an
        /// access control list or the like.
        replace_at: Option<PathBuf>,
    },
    /// A FIFO or a device. It is opened only when it is written, since opening one can block.
    Special(PathBuf),
}

impl Output {
    /// Checks that the path can be written to, without changing anything.
    ///
    /// # Errors
    ///
    /// One line that names the path and the remedy.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout);
        };
        let is_directory = |path: &Path| {
            path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
        };
        if is_directory(path) {
            return Err(names_a_directory(path));
        }
        let target = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(names_a_directory(path)),
            Ok(metadata) if is_stdout(&metadata) => return Ok(Self::Stdout),
            Ok(metadata) => Target::existing(path, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Target::new(path),
            Err(error) => Err(error),
        };
        let target = target.map_err(|error| cannot_write(path, &error))?;
        Ok(Self::File { shown: path.to_owned(), target })
    }

    /// Writes the document. When this future is dropped, a file that was to be replaced stays as it
    /// was, and no temporary file is left.
    ///
    /// # Errors
    ///
    /// When not everything could be written. A reader of stdout that has seen enough (`| head`) is
    /// no failure.
    pub(super) async fn write(self, document: Bytes) -> Result<(), OutputError> {
        match self {
            Self::Stdout => {
                let write = move || match write_to_stdout(&document) {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                    _ => Ok(()),
                };
                blocking(write).await.map_err(OutputError::Stdout)
            }
            Self::File { shown, target } => target
                .write(document)
                .await
                .map_err(|error| OutputError::File(cannot_write(&shown, &error))),
        }
    }
}

impl Target {
    fn new(path: &Path) -> io::Result<Self> {
        let (path, _) = resolve(path)?;
        // The most reliable check that files can be created in the directory. Dropping removes the
        // file.
        create_temporary(&path, NEW_FILE_MODE)?;
        Ok(Self::New(path))
    }

    fn existing(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        if metadata.file_type().is_socket() {
            return Err(io::Error::other("it is a socket"));
        }
        if !metadata.is_file() {
            access(path, Access::WRITE_OK)?;
            return Ok(Self::Special(path.to_owned()));
        }
        let file = File::options().write(true).open(path)?;
        let (resolved, is_descriptor) = resolve(path)?;
        let is_same = fs::metadata(&resolved).is_ok_and(|found| same_file(&found, metadata));
        let is_replaceable =
            is_same && !is_descriptor && metadata.nlink() == 1 && !has_attributes(&resolved);
        Ok(Self::Regular { file, replace_at: is_replaceable.then_some(resolved) })
    }

    async fn write(self, document: Bytes) -> io::Result<()> {
        match self {
            Self::New(path) => {
                let temporary = create_temporary(&path, NEW_FILE_MODE)?;
                let (_, temporary) = fill(temporary, document).await?;
                Ok(temporary.persist(&path)?)
            }
            Self::Special(path) => {
                let write = move || File::options().write(true).open(path)?.write_all(&document);
                blocking(write).await
            }
            Self::Regular { file, replace_at } => {
                let is_replaced = match replace_at {
                    Some(path) => replace(&path, &file, document.clone()).await?,
                    None => false,
                };
                if is_replaced {
                    return Ok(());
                }
                blocking(move || write_in_place(file, &document)).await
            }
        }
    }
}

/// Replaces `former` by a new file with the same mode and owner; until then no other user can read
/// the new file. Returns `false` if that is impossible: no file can be created in the directory,
/// the owner cannot be kept, or the file is a mount point.
///
/// # Errors
///
/// When the document cannot be written, for example because the disk is full. Writing in place
/// would then destroy the former file for nothing.
async fn replace(path: &Path, former: &File, document: Bytes) -> io::Result<bool> {
    let temporary = match create_temporary(path, 0o600) {
        Err(error) if is_forbidden(&error) => return Ok(false),
        created => created?,
    };
    let (file, temporary) = fill(temporary, document).await?;
    let metadata = former.metadata()?;
    let copied = fchown(&file, Some(metadata.uid()), Some(metadata.gid()))
        .and_then(|()| file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777)));
    Ok(copied.is_ok() && temporary.persist(path).is_ok())
}

/// Writes the whole document; when this future is dropped, the temporary file is removed.
async fn fill(temporary: NamedTempFile, document: Bytes) -> io::Result<(File, TempPath)> {
    let (mut file, temporary) = temporary.into_parts();
    let write = move || {
        file.write_all(&document)?;
        // Otherwise a power failure could leave an empty file under the final name.
        file.sync_all()?;
        Ok(file)
    };
    Ok((blocking(write).await?, temporary))
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn write_in_place(mut file: File, document: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(document)
}

fn write_to_stdout(document: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(document)?;
    stdout.flush()
}

/// Keeps the thread of the runtime free to receive signals.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A file with an unpredictable name, created exclusively, in the directory of `path`.
fn create_temporary(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".incident-gateway-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory(path))
        // Drops the temporary name from the message, since the user does not know it.
        .map_err(|error| error.raw_os_error().map_or(error, io::Error::from_raw_os_error))
}

/// The path without symbolic links in its last component, and whether it leads through `/proc`, as
/// `/dev/fd/3` does: such a name means an open file rather than a place.
fn resolve(path: &Path) -> io::Result<(PathBuf, bool)> {
    let mut path = path.to_owned();
    let mut is_descriptor = false;
    for _ in 0..MAX_LINKS {
        is_descriptor |= directory(&path).canonicalize()?.starts_with("/proc");
        match fs::read_link(&path) {
            Ok(link) => path = directory(&path).join(link),
            Err(_) => return Ok((path, is_descriptor)),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."))
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn is_stdout(metadata: &Metadata) -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    stdout.and_then(|stdout| stdout.metadata()).is_ok_and(|stdout| same_file(&stdout, metadata))
}

/// Whether the file has an access control list, or attributes that its users gave it.
#[cfg(target_os = "linux")]
fn has_attributes(path: &Path) -> bool {
    // The most that Linux keeps of names for one file.
    let mut names = vec![0; 64 << 10];
    match rustix::fs::listxattr(path, &mut names) {
        Ok(length) => names[..length]
            .split(|byte| *byte == 0)
            .any(|name| name.starts_with(b"system.") || name.starts_with(b"user.")),
        // The file system has none, or does not tell.
        Err(error) => error != rustix::io::Errno::NOTSUP,
    }
}

#[cfg(not(target_os = "linux"))]
fn has_attributes(_: &Path) -> bool {
    false
}

fn names_a_directory(path: &Path) -> String {
    format!("{} names a directory; name a file in it", path.display())
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such directory; create it, or name a file elsewhere".to_owned()
        }
        kind if is_forbidden(error) => format!("{kind}; name a file that this user may write to"),
        _ => format!("{error}; name a file elsewhere"),
    };
    format!("cannot write {}: {reason}", path.display())
}

#[cfg(test)]
mod tests;
