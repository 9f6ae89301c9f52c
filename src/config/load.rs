//! Merges the layers (defaults, file, environment, flags) into one [`Config`], and collects all
//! errors.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::{ConfigError, ConfigErrorKind, ConfigErrors, Excerpt, Location};
use super::settings::{self, ALIASES, Alias, PREFIX, SETTINGS, Setter, Setting};
use super::suggest::{suggest_key, suggest_variable};
use super::yaml::{Node, Position, Value};
use super::{Config, files, value, yaml};

/// The flags of the command line that override settings. They are parsed like values in the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `--config`: the file, in place of `CONFIG_PATH`.
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--admin-listen`
    pub admin_listen: Option<String>,
}

/// Loads the configuration. Later layers override earlier ones, but errors in overridden values are
/// reported too.
///
/// Reads the configuration file and those that `…_FILE` variables name, but no environment
/// variables other than those in `environment`.
///
/// # Errors
///
/// All errors, in one report.
pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Config, ConfigErrors> {
    let loader = Loader::run(overrides, environment);
    if loader.errors.is_empty() {
        Ok(loader.config)
    } else {
        Err(ConfigErrors { errors: loader.errors })
    }
}

/// Loads the admin listener's address alone, for the health check, which works despite errors in
/// other settings.
///
/// # Errors
///
/// The errors in `admin_listen`, and those because of which the file cannot be read at all.
pub fn admin_listen(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<SocketAddr, ConfigErrors> {
    let Loader { config, mut errors, .. } = Loader::run(overrides, environment);
    errors.retain(|error| match error.setting {
        Some(setting) => {
            setting == "admin_listen" && !matches!(error.kind, ConfigErrorKind::SameListener { .. })
        }
        None => matches!(
            error.kind,
            ConfigErrorKind::Unreadable { .. }
                | ConfigErrorKind::TooLarge { .. }
                | ConfigErrorKind::FileNotUtf8 { .. }
                | ConfigErrorKind::FileUtf16 { .. }
                | ConfigErrorKind::Syntax(_)
        ),
    });
    if errors.is_empty() { Ok(config.admin_listen) } else { Err(ConfigErrors { errors }) }
}

/// Loads the configuration from the defaults and the text of a file; `name` is the file's name in
/// messages.
///
/// # Errors
///
/// All errors, in one report.
pub fn from_yaml(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::default();
    loader.text(name, text);
    loader.check_combinations();
    if loader.errors.is_empty() {
        Ok(loader.config)
    } else {
        Err(ConfigErrors { errors: loader.errors })
    }
}

#[derive(Default)]
struct Loader {
    config: Config,
    /// Where each setting was set; settings with their default value have no entry.
    locations: BTreeMap<&'static str, Location>,
    errors: Vec<ConfigError>,
}

/// The file or variable that contains some YAML.
#[derive(Clone, Copy)]
enum YamlSource<'a> {
    File(&'a str),
    Variable(&'a str),
}

impl YamlSource<'_> {
    fn location(self, position: Position) -> Location {
        match self {
            Self::File(name) => Location::File {
                name: name.to_owned(),
                line: position.line,
                column: position.column,
            },
            Self::Variable(name) => Location::Variable(name.to_owned()),
        }
    }
}

impl Loader {
    fn run(overrides: &Overrides, environment: &Environment) -> Self {
        let mut loader = Self::default();
        loader.file(overrides, environment);
        loader.variables(environment);
        loader.aliases(environment);
        loader.flags(overrides);
        loader.check_combinations();
        loader
    }

    /// Reports an error whose location is precise enough without a path.
    fn report(&mut self, location: Location, setting: Option<&'static str>, kind: ConfigErrorKind) {
        self.errors.push(ConfigError { location: Some(location), setting, path: None, kind });
    }

    fn file(&mut self, overrides: &Overrides, environment: &Environment) {
        let (path, location) = match (&overrides.config, environment.get("CONFIG_PATH")) {
            (Some(path), _) => (path.as_path(), Location::Flag("--config")),
            (None, Some(path)) => (Path::new(path), Location::Variable("CONFIG_PATH".to_owned())),
            (None, None) => return,
        };
        let name = path.display().to_string();
        match files::text(path) {
            Ok(text) => self.text(&name, &text),
            Err(kind) => self.report(location, None, kind),
        }
    }

    /// Reads the text of the file, and reports its errors from top to bottom.
    fn text(&mut self, name: &str, text: &str) {
        let before = self.errors.len();
        self.yaml(text, "", YamlSource::File(name));
        self.errors[before..].sort_by_key(|error| match error.location {
            Some(Location::File { line, column, .. }) => (line, column),
            _ => (0, 0),
        });
    }

    /// Reads YAML with the value of the section or setting `path`; the root's path is empty.
    fn yaml(&mut self, text: &str, path: &str, source: YamlSource<'_>) {
        let yaml::Document { root, errors } = yaml::parse(text);
        for (position, kind) in errors {
            self.errors.push(ConfigError {
                location: Some(source.location(position)),
                setting: None,
                path: None,
                kind,
            });
        }
        if let Some(root) = root {
            match settings::find(path) {
                Some(setting) => self.set(setting, &root, source),
                None => self.section(&root, path, source),
            }
        }
    }

    /// Reads the settings of the section `path`. An empty section changes nothing.
    fn section(&mut self, node: &Node, path: &str, source: YamlSource<'_>) {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let kind = ConfigErrorKind::WrongShape {
                    expected: "a map of settings",
                    found: node.kind(),
                };
                let path = Some(path.to_owned()).filter(|path| !path.is_empty());
                self.errors.push(ConfigError {
                    location: Some(source.location(node.position)),
                    setting: None,
                    path,
                    kind,
                });
                return;
            }
        };
        for entry in entries {
            let key =
                if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match settings::find(&key) {
                Some(setting) => self.set(setting, &entry.node, source),
                None if settings::is_section(&key) => self.section(&entry.node, &key, source),
                None => {
                    let kind = ConfigErrorKind::UnknownKey {
                        nearest: suggest_key(&entry.key, path),
                        known: settings::names_below(path).join(", "),
                    };
                    self.errors.push(ConfigError {
                        location: Some(source.location(entry.key_position)),
                        setting: None,
                        path: Some(Excerpt::bare(&key)),
                        kind,
                    });
                }
            }
        }
    }

    /// Sets a setting to a value from YAML.
    fn set(&mut self, setting: &'static Setting, node: &Node, source: YamlSource<'_>) {
        let location = source.location(node.position);
        let errors = match setting.set {
            Setter::Tree(set) => set(&mut self.config, node).err().unwrap_or_default(),
            Setter::Scalar(set) => match set(&mut self.config, node) {
                Ok(()) => Vec::new(),
                Err(kind) => {
                    let path = Some(setting.key.to_owned());
                    self.errors.push(ConfigError {
                        location: Some(location),
                        setting: Some(setting.key),
                        path,
                        kind,
                    });
                    return;
                }
            },
        };
        for error in errors {
            self.errors.push(ConfigError {
                location: Some(source.location(error.position)),
                setting: Some(setting.key),
                path: Some(format!("{}{}", setting.key, error.below)),
                kind: error.kind,
            });
        }
        self.locations.insert(setting.key, location);
    }

    /// Sets a setting to the text of a variable or a flag.
    fn set_text(&mut self, setting: &'static Setting, location: Location, text: &str) {
        if let Setter::Scalar(set) = setting.set
            && let Err(kind) = set(&mut self.config, &Node::verbatim(text))
        {
            self.report(location, Some(setting.key), kind);
            return;
        }
        self.locations.insert(setting.key, location);
    }

    /// Reads the variables with our prefix. That of a scalar setting holds the value itself, that
    /// of a list or section holds YAML.
    fn variables(&mut self, environment: &Environment) {
        // The variables are sorted, so a section comes before its settings, which then override it.
        for (name, text) in environment.with_prefix(PREFIX) {
            let location = Location::Variable(name.clone());
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
            let section = settings::sections().find(|section| settings::variable(section) == name);
            let Some(key) = setting.map(|setting| setting.key).or(section) else {
                let nearest = suggest_variable(&name);
                self.report(location, None, ConfigErrorKind::UnknownVariable { nearest });
                continue;
            };
            match (setting, text.to_str()) {
                (_, Some("")) => {}
                (_, None) => {
                    self.report(
                        location,
                        setting.map(|setting| setting.key),
                        ConfigErrorKind::VariableNotUtf8,
                    );
                }
                (Some(setting), Some(text)) if setting.is_scalar() => {
                    self.set_text(setting, location, text);
                }
                (_, Some(text)) => self.yaml(text, key, YamlSource::Variable(&name)),
            }
        }
    }

    /// Reads the variables with names of their own (`ELEVATE_…`).
    fn aliases(&mut self, environment: &Environment) {
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

    fn flags(&mut self, overrides: &Overrides) {
        let flags = [
            ("--listen", "listen", &overrides.listen),
            ("--admin-listen", "admin_listen", &overrides.admin_listen),
        ];
        for (flag, key, text) in flags {
            if let (Some(text), Some(setting)) = (text, settings::find(key)) {
                self.set_text(setting, Location::Flag(flag), text);
            }
        }
    }

    /// Checks that values agree with each other. Values with an error of their own are left out.
    fn check_combinations(&mut self) {
        let invalid: BTreeSet<&str> =
            self.errors.iter().filter_map(|error| error.setting).collect();
        let are_valid = |keys: [&str; 2]| keys.iter().all(|key| !invalid.contains(key));
        let mut found = Vec::new();
        let Config { listen, admin_listen, cache, .. } = &self.config;
        if are_valid(["admin_listen", "listen"]) && collide(*listen, *admin_listen) {
            found.push((
                ["admin_listen", "listen"],
                ConfigErrorKind::SameListener { admin: admin_listen.to_string() },
            ));
        }
        if are_valid(["cache.stale_for", "cache.ttl"]) && cache.stale_for < cache.ttl {
            let (stale_for, ttl) =
                (value::show_duration(cache.stale_for), value::show_duration(cache.ttl));
            found.push((
                ["cache.stale_for", "cache.ttl"],
                ConfigErrorKind::StaleBelowTtl { stale_for, ttl },
            ));
        }
        for (keys, kind) in found {
            // At least one of the two is set, since the defaults agree.
            let written =
                keys.into_iter().find(|key| self.locations.contains_key(key)).unwrap_or(keys[0]);
            let location = self.locations.get(written).cloned();
            let path = matches!(location, Some(Location::File { .. })).then(|| written.to_owned());
            self.errors.push(ConfigError { location, setting: Some(written), path, kind });
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

/// Whether two listeners cannot be bound at the same time. One on `[::]` includes IPv4.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |any: SocketAddr, other: SocketAddr| {
        any.ip().is_unspecified() && (any.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a, b) || takes(b, a))
}

#[cfg(test)]
mod tests;
