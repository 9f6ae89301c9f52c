//! Reports on a saved body, without calling anything.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;

use super::connect::{Readings, origin};
use super::reading::{Failure, Page, Reading};
use super::selection::Selection;
use crate::config::{Config, Origin, table_name};
use crate::decode::{DecodeError, IncidentsDecoder, SourceMapping};
use crate::identity::TableDecoder;
use crate::outcome::Outcome;
use crate::sources::SourceId;
use crate::upstream::Mask;

/// A saved body of a source or table.
pub(super) struct SavedBody {
    id: SourceId,
    path: PathBuf,
    /// `None` for a source of files: the body is read like them.
    answer: Option<Bytes>,
}

impl SavedBody {
    /// Reads the file with the body of a source or table.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; one line that names it and the remedy.
    pub(super) fn open(config: &Config, id: SourceId, path: &Path) -> Result<Self, String> {
        let unreadable = |reason: &dyn std::fmt::Display| {
            format!("--body: cannot read {}: {reason}; name a readable file", path.display())
        };
        let content = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(unreadable(&"it is a directory")),
            Ok(_) => std::fs::read(path).map_err(|error| unreadable(&error))?,
            Err(error) => return Err(unreadable(&error)),
        };
        let is_of_files = matches!(origin_of(config, id), Origin::File(_));
        let answer = (!is_of_files).then(|| Bytes::from(content));
        Ok(Self { id, path: path.to_owned(), answer })
    }
}

/// Prints the report on a body. Tables are read from files; others are unavailable.
pub(super) async fn check(mut config: Config, selection: Selection, body: SavedBody) -> ExitCode {
    if body.answer.is_none() {
        let path = glob::Pattern::escape(&body.path.display().to_string());
        *origin_of_mut(&mut config, body.id) = Origin::File(path);
    }
    let files = files_alone(&config);
    let is_read = |id| {
        let is_file = matches!(origin_of(&config, id), Origin::File(_));
        selection.is_read(id) && if id == body.id { body.answer.is_none() } else { is_file }
    };
    let mut readings = match Readings::read(&files, is_read).await {
        Ok(readings) => readings,
        Err(error) => return crate::cli::fail(&error.to_string()),
    };
    if let Some(answer) = body.answer {
        match body.id {
            SourceId::Table(index) => {
                let mut decoder = TableDecoder::new(&config.identities[index]);
                let result = decoder.add_page(answer.clone()).map(|_| Arc::new(decoder.finish()));
                let name = table_name(index);
                let reading = reading(&config, body.id, name, &body.path, answer, result);
                readings.set_table(index, reading);
            }
            SourceId::Incidents(index) => {
                let source = &config.sources[index];
                let mut decoder = IncidentsDecoder::new(Arc::new(SourceMapping::new(source)));
                let result = decoder.add_page(answer.clone()).map(|_| Arc::new(decoder.finish()));
                let name = source.name.clone();
                let reading = reading(&config, body.id, name, &body.path, answer, result);
                readings.set_source(index, reading);
            }
        }
    }
    super::finish(&Mask::new(&config, &[]), &readings.reports(&config, &selection))
}

fn reading<T>(
    config: &Config,
    id: SourceId,
    name: String,
    path: &Path,
    body: Bytes,
    result: Result<T, DecodeError>,
) -> Reading<T> {
    let result = result.map_err(|error| Failure {
        outcome: match error {
            DecodeError::Json(_) => Outcome::Decode,
            DecodeError::Answer(_) => Outcome::Answer,
        },
        status: None,
        detail: error.to_string(),
        refusal: None,
    });
    Reading {
        name,
        origin: format!("{}, not called", origin(config, id).0),
        asked: format!("{}, as a page", path.display()),
        is_file: true,
        pages: vec![Page { body, headers: None }],
        page_count: 1,
        is_repeated: false,
        duration: None,
        result,
    }
}

fn origin_of(config: &Config, id: SourceId) -> &Origin {
    match id {
        SourceId::Table(index) => &config.identities[index].origin,
        SourceId::Incidents(index) => &config.sources[index].origin,
    }
}

fn origin_of_mut(config: &mut Config, id: SourceId) -> &mut Origin {
    match id {
        SourceId::Table(index) => &mut config.identities[index].origin,
        SourceId::Incidents(index) => &mut config.sources[index].origin,
    }
}

/// The configuration with files in place of all endpoints, so that no upstream is set up. They are
/// not read.
fn files_alone(config: &Config) -> Config {
    let mut files = config.clone();
    let tables = files.identities.iter_mut().map(|table| &mut table.origin);
    let sources = files.sources.iter_mut().map(|source| &mut source.origin);
    for origin in tables.chain(sources).filter(|origin| matches!(origin, Origin::Http(_))) {
        *origin = Origin::File(String::new());
    }
    files
}
