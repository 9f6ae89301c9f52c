//! The section `store` while its settings are read, layer by layer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Store, StoreUrl, postgres_url};
use crate::config::access::Files;
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::settings::YEAR;
use crate::config::value::{duration, file_path, text};
use crate::config::yaml::Node;
use crate::config::{Secret, files};

const URL: &str = "`none`, `sqlite:/absolute/path/history.db` or `postgres://user@host/database`";
const PASSWORD_FILE: &str = "the path of a file with the password";

/// The longest URL, in bytes.
const MAX_URL_BYTES: usize = 4096;

/// `store.keep` may be set from the first to the second.
const KEEP: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(100 * YEAR.as_secs())];

/// What was read so far. The settings need not agree with each other yet.
#[derive(Debug, Default)]
pub(in crate::config) struct Draft {
    files: Files,
    store: Store,
    /// `store.password_file`: its path, and the password unless files are skipped.
    password: Option<(PathBuf, Option<Secret>)>,
}

impl Draft {
    /// Nothing was read yet.
    pub(in crate::config) fn new(files: Files) -> Self {
        Self { files, ..Self::default() }
    }

    /// Checks that the settings agree with each other; returns the setting with the error, too.
    pub(in crate::config) fn finish(
        self,
        is_valid: impl Fn(&str) -> bool,
    ) -> (Store, Option<(&'static str, ConfigErrorKind)>) {
        let Self { mut store, password, .. } = self;
        let fault = match (&mut store.url, password) {
            (_, None) => None,
            (StoreUrl::Postgres(postgres), Some((path, password))) => {
                postgres.password = password;
                postgres.password_file = Some(path);
                None
            }
            (StoreUrl::None | StoreUrl::Sqlite(_), Some(_)) => {
                let others = "`store.url` with a `postgres://` URL";
                is_valid("store.url")
                    .then_some(("store.password_file", ConfigErrorKind::Needs { others }))
            }
        };
        (store, fault)
    }
}

/// Reads `store.url`.
pub(in crate::config) fn url(draft: &mut Draft, node: &Node) -> Result<(), ConfigErrorKind> {
    let url = text(node, URL)?.trim();
    if url.is_empty() {
        return Err(ConfigErrorKind::Empty { expected: URL });
    }
    if url.len() > MAX_URL_BYTES {
        return Err(detail(format!("is longer than {MAX_URL_BYTES} bytes; shorten it")));
    }
    let mut schemes = ["postgres://", "postgresql://"].into_iter();
    let postgres = schemes.find_map(|scheme| url.strip_prefix(scheme));
    draft.store.url = match (url, postgres, url.strip_prefix("sqlite:")) {
        ("none", ..) => StoreUrl::None,
        (_, Some(rest), _) => {
            StoreUrl::Postgres(Box::new(postgres_url::parse(url, rest, draft.files)?))
        }
        (_, _, Some(path)) => StoreUrl::Sqlite(sqlite_path(path)?),
        // Not quoted: there may be a password in it.
        _ => return Err(detail(format!("is no address of a store; write it as {URL}"))),
    };
    Ok(())
}

/// The path of an SQLite file, which is taken as it is.
fn sqlite_path(path: &str) -> Result<PathBuf, ConfigErrorKind> {
    let refused = |why: &str| Err(detail(format!("{} {why}", Excerpt::new(path))));
    if path.starts_with("//") {
        return refused("begins with `//`; write `sqlite:` and the absolute path after it");
    }
    if !path.starts_with('/') {
        return refused("is not an absolute path; write `sqlite:/absolute/path/history.db`");
    }
    if path.contains(['?', '#']) {
        return refused("has a query (`?`) or a fragment (`#`); remove it");
    }
    if path.contains(char::is_control) {
        return refused("has a control character; remove it");
    }
    if path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        return refused("is a directory; add the name of a file, such as `history.db`");
    }
    Ok(PathBuf::from(path))
}

/// Reads `store.password_file`.
pub(in crate::config) fn password_file(
    draft: &mut Draft,
    node: &Node,
) -> Result<(), ConfigErrorKind> {
    let path = Path::new(file_path(node, PASSWORD_FILE)?);
    let password = match draft.files {
        Files::Read => Some(files::secret(path)?),
        Files::Skip => None,
    };
    if password.as_ref().is_some_and(|password| password.contains(char::is_control)) {
        return Err(ConfigErrorKind::ControlCharacterInSecret);
    }
    draft.password = Some((path.to_owned(), password.map(Secret::from)));
    Ok(())
}

/// Reads `store.keep`.
pub(in crate::config) fn keep(draft: &mut Draft, node: &Node) -> Result<(), ConfigErrorKind> {
    draft.store.keep = duration(node, KEEP[0]..=KEEP[1])?;
    Ok(())
}

fn detail(text: String) -> ConfigErrorKind {
    ConfigErrorKind::Detail(text)
}
