//! Loading the configuration in a process that does so again and again.

use super::{Input, Loader, Overrides};
use crate::config::access::Files;
use crate::config::yaml::FILE_INPUT;
use crate::config::{Config, ConfigError, ConfigErrorKind, ConfigErrors, Environment};

/// A configuration of a process that loads it again and again.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Whether there is a file without any setting in it.
    pub is_file_empty: bool,
}

/// Loads the configuration like [`load`](super::load), for a process that loads it again and again.
/// A file that is replaced in place is empty for a moment, or has only its first comment, which
/// does not mean the defaults: they have no access control. So the file `may_be_empty` only until
/// it had settings.
///
/// # Errors
///
/// All errors, in one report.
pub fn load_again(
    overrides: &Overrides,
    environment: &Environment,
    may_be_empty: bool,
) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::run(overrides, environment, [Files::Read; 2]);
    let is_file_empty = loader.is_file_empty;
    if let Input::File(path) = &loader.inputs[FILE_INPUT]
        && is_file_empty
        && !may_be_empty
    {
        let detail =
            "has no settings; restart to return to the defaults, or write the settings into it";
        let kind = ConfigErrorKind::InvalidFile { path: path.clone(), detail: detail.to_owned() };
        loader.errors.push(ConfigError { location: None, setting: None, path: None, kind });
    }
    loader.result().map(|config| Loaded { config, is_file_empty })
}
