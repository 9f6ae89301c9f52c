//! Defaults, then the file, then the environment, then flags: all layers into one [`Config`], all
//! faults into one report.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::{ConfigErrors, Fault, Found, Place, Problem};
use super::settings::{self, PREFIX, SETTINGS, Setting, Write};
use super::yaml::{At, Node, Value};
use super::{Config, files, nearest, value, yaml};

/// What the command line says; its values are read as the file's are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `--config`: the file, in place of `CONFIG_PATH`.
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--admin-listen`
    pub admin_listen: Option<String>,
}

/// The variables with names of their own, the settings that they stand for, and whether `…_FILE`
/// may name a file instead.
const ALIASES: [(&str, &str, bool); 4] = [
    ("ELEVATE_BASE_URL", "upstream.base_url", false),
    ("ELEVATE_USERNAME", "upstream.username", true),
    ("ELEVATE_PASSWORD", "upstream.password", true),
    ("ELEVATE_TIMEOUT", "upstream.timeout", false),
];

/// Reads the configuration: later layers win, and a fault in any layer is a fault, overridden or
/// not.
///
/// Reads files (the configuration's and those that `…_FILE` variables name), but no environment
/// other than `environment`.
///
/// # Errors
///
/// Every fault found, in one report.
pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Config, ConfigErrors> {
    let loader = Loader::run(overrides, environment);
    if loader.faults.is_empty() {
        Ok(loader.config)
    } else {
        Err(ConfigErrors { faults: loader.faults })
    }
}

/// The admin listener's address, for the health check: faults elsewhere in the configuration do not
/// matter to it.
///
/// # Errors
///
/// The faults in `admin_listen` itself, and those that keep the file from being read at all.
pub fn admin_listen(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<SocketAddr, ConfigErrors> {
    let Loader { config, mut faults, .. } = Loader::run(overrides, environment);
    faults.retain(|fault| match fault.setting {
        Some(setting) => {
            setting == "admin_listen" && !matches!(fault.problem, Problem::SameListener { .. })
        }
        None => matches!(
            fault.problem,
            Problem::Unreadable { .. }
                | Problem::TooLarge { .. }
                | Problem::FileNotUtf8 { .. }
                | Problem::Syntax(_)
        ),
    });
    if faults.is_empty() { Ok(config.admin_listen) } else { Err(ConfigErrors { faults }) }
}

/// Reads the configuration from the text of a file alone, over the defaults; `name` is the file's
/// name in messages.
///
/// # Errors
///
/// Every fault found, in one report.
pub fn from_yaml(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let mut loader = Loader::default();
    loader.text(name, text);
    loader.check_together();
    if loader.faults.is_empty() {
        Ok(loader.config)
    } else {
        Err(ConfigErrors { faults: loader.faults })
    }
}

#[derive(Default)]
struct Loader {
    config: Config,
    /// Where each setting was last written.
    places: BTreeMap<&'static str, Place>,
    faults: Vec<Fault>,
}

/// What a tree was read from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    File(&'a str),
    Variable(&'a str),
}

impl Origin<'_> {
    fn place(self, at: At) -> Place {
        match self {
            Self::File(name) => {
                Place::File { name: name.to_owned(), line: at.line, column: at.column }
            }
            Self::Variable(name) => Place::Variable(name.to_owned()),
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
        loader.check_together();
        loader
    }

    /// A fault in a whole variable, flag or file, of which its name says enough.
    fn fault(&mut self, place: Place, setting: Option<&'static str>, problem: Problem) {
        self.faults.push(Fault { place: Some(place), setting, path: None, problem });
    }

    fn file(&mut self, overrides: &Overrides, environment: &Environment) {
        let (path, place) = match (&overrides.config, environment.get("CONFIG_PATH")) {
            (Some(path), _) => (path.as_path(), Place::Flag("--config")),
            (None, Some(path)) => (Path::new(path), Place::Variable("CONFIG_PATH".to_owned())),
            (None, None) => return,
        };
        let name = path.display().to_string();
        match files::text(path) {
            Ok(text) => self.text(&name, &text),
            Err(problem) => self.fault(place, None, problem),
        }
    }

    /// The file's text. Its faults are reported from top to bottom.
    fn text(&mut self, name: &str, text: &str) {
        let before = self.faults.len();
        self.yaml(text, "", Origin::File(name));
        self.faults[before..].sort_by_key(|fault| match fault.place {
            Some(Place::File { line, column, .. }) => (line, column),
            _ => (0, 0),
        });
    }

    /// YAML for everything below `path`.
    fn yaml(&mut self, text: &str, path: &str, origin: Origin<'_>) {
        let yaml::Document { root, faults } = yaml::parse(text);
        for (at, problem) in faults {
            self.faults.push(Fault {
                place: Some(origin.place(at)),
                setting: None,
                path: None,
                problem,
            });
        }
        if let Some(root) = root {
            match settings::find(path) {
                Some(setting) => self.write(setting, &root, origin),
                None => self.section(&root, path, origin),
            }
        }
    }

    /// Everything below `path`, a section's or the root's (which is empty). Nothing there means
    /// defaults.
    fn section(&mut self, node: &Node, path: &str, origin: Origin<'_>) {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let problem =
                    Problem::WrongShape { expected: "a map of settings", found: node.kind() };
                let path = Some(path.to_owned()).filter(|path| !path.is_empty());
                self.faults.push(Fault {
                    place: Some(origin.place(node.at)),
                    setting: None,
                    path,
                    problem,
                });
                return;
            }
        };
        for entry in entries {
            let key =
                if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match settings::find(&key) {
                Some(setting) => self.write(setting, &entry.node, origin),
                None if settings::is_section(&key) => self.section(&entry.node, &key, origin),
                None => {
                    let problem = Problem::UnknownKey {
                        nearest: meant(&entry.key, path),
                        known: settings::names_below(path).join(", "),
                    };
                    self.faults.push(Fault {
                        place: Some(origin.place(entry.key_at)),
                        setting: None,
                        path: Some(Found::bare(&key)),
                        problem,
                    });
                }
            }
        }
    }

    /// One setting's value out of a tree.
    fn write(&mut self, setting: &'static Setting, node: &Node, origin: Origin<'_>) {
        let place = origin.place(node.at);
        let mistakes = match setting.write {
            Write::Tree(write) => write(&mut self.config, node).err().unwrap_or_default(),
            Write::Scalar(write) => match write(&mut self.config, node) {
                Ok(()) => Vec::new(),
                Err(problem) => {
                    let path = Some(setting.key.to_owned());
                    self.faults.push(Fault {
                        place: Some(place),
                        setting: Some(setting.key),
                        path,
                        problem,
                    });
                    return;
                }
            },
        };
        for mistake in mistakes {
            self.faults.push(Fault {
                place: Some(origin.place(mistake.at)),
                setting: Some(setting.key),
                path: Some(format!("{}{}", setting.key, mistake.below)),
                problem: mistake.problem,
            });
        }
        self.places.insert(setting.key, place);
    }

    /// One setting's value as a variable or a flag gives it.
    fn write_text(&mut self, setting: &'static Setting, place: Place, text: &str) {
        if let Write::Scalar(write) = setting.write
            && let Err(problem) = write(&mut self.config, &Node::verbatim(text))
        {
            self.fault(place, Some(setting.key), problem);
            return;
        }
        self.places.insert(setting.key, place);
    }

    /// The variables with our prefix: a setting's holds its value, a section's or a list's holds
    /// YAML.
    fn variables(&mut self, environment: &Environment) {
        // A section's name is a prefix of its settings' names, so that it comes first and they win.
        for (name, text) in environment.with_prefix(PREFIX) {
            let place = Place::Variable(name.clone());
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
            let section = settings::sections().find(|section| settings::variable(section) == name);
            let Some(key) = setting.map(|setting| setting.key).or(section) else {
                let nearest = meant_variable(&name);
                self.fault(place, None, Problem::UnknownVariable { nearest });
                continue;
            };
            match (setting, text.to_str()) {
                (_, Some("")) => {}
                (_, None) => {
                    self.fault(place, setting.map(|setting| setting.key), Problem::VariableNotUtf8);
                }
                (Some(setting), Some(text)) if setting.is_scalar() => {
                    self.write_text(setting, place, text);
                }
                (_, Some(text)) => self.yaml(text, key, Origin::Variable(&name)),
            }
        }
    }

    /// The variables with names of their own.
    fn aliases(&mut self, environment: &Environment) {
        for (name, key, may_be_file) in ALIASES {
            let Some(setting) = settings::find(key) else { continue };
            let (place, text) = match alias(environment, name, may_be_file) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err((place, problem)) => {
                    self.fault(place, Some(key), problem);
                    continue;
                }
            };
            let other = setting.variable();
            if environment.get(&other).is_some_and(|other| other != OsStr::new(&text)) {
                self.fault(place, Some(key), Problem::Contradiction { other });
                continue;
            }
            let text = if key == "upstream.timeout" { value::seconds(&text) } else { text };
            self.write_text(setting, place, &text);
        }
    }

    fn flags(&mut self, overrides: &Overrides) {
        let flags = [
            ("--listen", "listen", &overrides.listen),
            ("--admin-listen", "admin_listen", &overrides.admin_listen),
        ];
        for (flag, key, text) in flags {
            if let (Some(text), Some(setting)) = (text, settings::find(key)) {
                self.write_text(setting, Place::Flag(flag), text);
            }
        }
    }

    /// What values that are right by themselves must be to each other. A setting with a fault of
    /// its own is left out.
    fn check_together(&mut self) {
        let faulty: BTreeSet<&str> = self.faults.iter().filter_map(|fault| fault.setting).collect();
        let sound = |keys: [&str; 2]| keys.iter().all(|key| !faulty.contains(key));
        let mut found = Vec::new();
        let Config { listen, admin_listen, cache, .. } = &self.config;
        if sound(["admin_listen", "listen"]) && collide(*listen, *admin_listen) {
            found.push((
                ["admin_listen", "listen"],
                Problem::SameListener { admin: admin_listen.to_string() },
            ));
        }
        if sound(["cache.stale_for", "cache.ttl"]) && cache.stale_for < cache.ttl {
            let (stale_for, ttl) =
                (value::show_duration(cache.stale_for), value::show_duration(cache.ttl));
            found.push((
                ["cache.stale_for", "cache.ttl"],
                Problem::StaleBelowTtl { stale_for, ttl },
            ));
        }
        for (keys, problem) in found {
            // At least one of the two was written by the user: the defaults agree.
            let written =
                keys.into_iter().find(|key| self.places.contains_key(key)).unwrap_or(keys[0]);
            let place = self.places.get(written).cloned();
            let path = matches!(place, Some(Place::File { .. })).then(|| written.to_owned());
            self.faults.push(Fault { place, setting: Some(written), path, problem });
        }
    }
}

/// What `name`, or the file that `name` with `_FILE` names, holds; and which of the two it was.
fn alias(
    environment: &Environment,
    name: &str,
    may_be_file: bool,
) -> Result<Option<(Place, String)>, (Place, Problem)> {
    let file = format!("{name}_FILE");
    let path = environment.get(&file).filter(|_| may_be_file);
    let place = Place::Variable(name.to_owned());
    match (environment.get(name), path) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err((place, Problem::Contradiction { other: file })),
        (Some(text), None) => match text.to_str() {
            Some(text) => Ok(Some((place, text.to_owned()))),
            None => Err((place, Problem::VariableNotUtf8)),
        },
        (None, Some(path)) => {
            let place = Place::Variable(file);
            match files::secret(Path::new(path)) {
                Ok(text) => Ok(Some((place, text))),
                Err(problem) => Err((place, problem)),
            }
        }
    }
}

/// What an unknown key was meant to be: a neighbour misspelt, or a key that belongs elsewhere.
fn meant(key: &str, section: &str) -> Option<String> {
    let neighbour = nearest::nearest(key, settings::names_below(section));
    let elsewhere =
        || SETTINGS.iter().map(|s| s.key).find(|path| path.rsplit('.').next() == Some(key));
    neighbour.or_else(elsewhere).map(ToOwned::to_owned)
}

/// What an unknown variable was meant to be: one misspelt, one whose value holds what the name goes
/// on to say, or the one that names a file.
fn meant_variable(name: &str) -> Option<String> {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let file = || {
        let setting = name.strip_suffix("_FILE")?;
        ALIASES
            .iter()
            .find(|(_, key, may_be_file)| *may_be_file && settings::variable(key) == setting)
    };
    if let Some((alias, ..)) = file() {
        return Some(format!("{alias}_FILE"));
    }
    let whole =
        || known.iter().map(String::as_str).find(|known| name.starts_with(&format!("{known}__")));
    nearest::nearest(name, known.iter().map(String::as_str)).or_else(whole).map(ToOwned::to_owned)
}

/// Whether the second listener could not be bound beside the first. `[::]` takes IPv4 in as well.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |any: SocketAddr, other: SocketAddr| {
        any.ip().is_unspecified() && (any.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a, b) || takes(b, a))
}

#[cfg(test)]
mod tests;
