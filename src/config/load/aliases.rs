//! The variables with names of their own (`ELEVATE_…`).

use std::ffi::OsStr;
use std::path::Path;

use super::Loader;
use crate::config::environment::Environment;
use crate::config::error::{ConfigErrorKind, Location};
use crate::config::settings::{self, ALIASES, Alias};
use crate::config::{files, value};

impl Loader {
    /// Reads the variables.
    pub(super) fn aliases(&mut self, environment: &Environment) {
        for Alias { name, key, has_file_variable } in ALIASES {
            let Some(setting) = settings::find(key) else { continue };
            let (location, text) = match alias(environment, name, has_file_variable) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err((location, kind)) => {
                    self.report(location, Some(key), kind);
                    continue;
                }
            };
            let other = setting.variable();
            if environment.get(&other).is_some_and(|other| other != OsStr::new(&text)) {
                self.report(location, Some(key), ConfigErrorKind::Contradiction { other });
                continue;
            }
            let text = if key == "upstream.timeout" { value::with_unit(&text) } else { text };
            self.set_text(setting, location, &text);
        }
    }
}

/// The value of the variable `name`, or the content of the file that the variable `name` + `_FILE`
/// names, with its location.
fn alias(
    environment: &Environment,
    name: &str,
    has_file_variable: bool,
) -> Result<Option<(Location, String)>, (Location, ConfigErrorKind)> {
    let file = format!("{name}_FILE");
    let path = environment.get(&file).filter(|_| has_file_variable);
    let location = Location::Variable(name.to_owned());
    match (environment.get(name), path) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err((location, ConfigErrorKind::Contradiction { other: file })),
        (Some(text), None) => match text.to_str() {
            Some(text) => Ok(Some((location, text.to_owned()))),
            None => Err((location, ConfigErrorKind::VariableNotUtf8)),
        },
        (None, Some(path)) => {
            let location = Location::Variable(file);
            match files::secret(Path::new(path)) {
                Ok(text) => Ok(Some((location, text))),
                Err(kind) => Err((location, kind)),
            }
        }
    }
}
