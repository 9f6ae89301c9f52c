//! Merges the layers (defaults, file, environment, flags) into one [`Config`], and collects all
//! errors.

mod again;
mod agreement;
mod aliases;
mod lenient;
mod upstreams;

pub use again::{Loaded, load_again};
pub use lenient::{
    AdminEndpoint, admin_endpoint, load_for_forward, load_for_store, load_without_secrets,
    load_without_serving,
};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::access::Files;
use super::environment::Environment;
use super::error::{ConfigError, ConfigErrorKind, ConfigErrors, Excerpt, Location};
use super::reader::Reader;
use super::settings::{self, Form, PREFIX, SETTINGS, Setting, Tree};
use super::suggest::{suggest_key, suggest_variable};
use super::upstream::Draft;
use super::yaml::{FILE_INPUT, Node, Position, Value};
use super::{Config, access, files, forward, source, store, yaml};

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
    Loader::run(overrides, environment, [Files::Read; 2]).result()
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
    loader.check_agreement();
    loader.result()
}

/// What the layers have set so far.
struct Loader {
    config: Config,
    /// The default upstream, then the others. [`Self::check_agreement`] moves them to `config`.
    upstreams: Vec<Draft>,
    /// TLS and sign-in. [`Self::check_agreement`] moves them to `config`.
    access: access::Draft,
    /// The store. [`Self::check_agreement`] moves it to `config`.
    store: store::Draft,
    /// The values of `sources`, `identities` and `forward`, where they are set.
    trees: BTreeMap<&'static str, Node>,
    /// Where each setting that is no upstream's was set; those with their defaults have no entry.
    positions: BTreeMap<&'static str, Position>,
    /// What positions refer to; the first is the file.
    inputs: Vec<Input>,
    /// Whether there is a file, without any setting in it.
    is_file_empty: bool,
    errors: Vec<ConfigError>,
}

/// Something that contains values.
#[derive(Clone, Debug)]
enum Input {
    /// The file with this name.
    File(String),
    /// The variable with this name, whose value is YAML.
    Yaml(String),
    /// A variable or a flag that has one value, so that no path need be shown.
    Value(Location),
}

impl Default for Loader {
    fn default() -> Self {
        let config = Config::default();
        Self {
            upstreams: vec![Draft::default_upstream(config.upstream.clone())],
            config,
            access: access::Draft::default(),
            store: store::Draft::default(),
            trees: BTreeMap::new(),
            positions: BTreeMap::new(),
            inputs: vec![Input::File(String::new())],
            is_file_empty: false,
            errors: Vec::new(),
        }
    }
}

impl Loader {
    /// Reads all layers, with the files of access control and of the store as far as they are
    /// needed.
    fn run(overrides: &Overrides, environment: &Environment, [access, store]: [Files; 2]) -> Self {
        let access = access::Draft::new(access);
        let mut loader = Self { access, store: store::Draft::new(store), ..Self::default() };
        loader.file(overrides, environment);
        loader.variables(environment);
        loader.aliases(environment);
        loader.flags(overrides);
        loader.check_agreement();
        loader
    }

    fn result(self) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigErrors { errors: self.errors })
        }
    }

    /// Adds an input; returns its index.
    fn input(&mut self, input: Input) -> usize {
        self.inputs.push(input);
        self.inputs.len() - 1
    }

    /// Reports an error whose location is precise enough without a path.
    fn report(&mut self, location: Location, setting: Option<&'static str>, kind: ConfigErrorKind) {
        self.errors.push(ConfigError { location: Some(location), setting, path: None, kind });
    }

    /// Reports an error at a position; the root has no path.
    fn report_at(
        &mut self,
        position: Position,
        setting: Option<&'static str>,
        path: &str,
        kind: ConfigErrorKind,
    ) {
        let path = (!path.is_empty()).then(|| path.to_owned());
        let Position { input, line, column } = position;
        let (location, path) = match &self.inputs[input] {
            Input::File(name) => (Location::File { name: name.clone(), line, column }, path),
            Input::Yaml(name) => (Location::Variable(name.clone()), path),
            Input::Value(location) => (location.clone(), None),
        };
        self.errors.push(ConfigError { location: Some(location), setting, path, kind });
    }

    /// Reports what a reader has found.
    fn report_all(&mut self, setting: &'static str, reader: Reader) {
        for fault in reader.faults {
            self.report_at(fault.position, Some(setting), &fault.path, fault.kind);
        }
    }

    fn file(&mut self, overrides: &Overrides, environment: &Environment) {
        let (path, location) = match (&overrides.config, environment.get("CONFIG_PATH")) {
            (Some(path), _) => (path.as_path(), Location::Flag("--config")),
            (None, Some(path)) => (Path::new(path), Location::Variable("CONFIG_PATH".to_owned())),
            (None, None) => return,
        };
        let name = path.display().to_string();
        match files::text(path) {
            Ok(text) => {
                self.text(&name, &text);
            }
            Err(kind) => self.report(location, None, kind),
        }
    }

    /// Reads the text of the file, and reports its errors from top to bottom.
    fn text(&mut self, name: &str, text: &str) {
        let before = self.errors.len();
        self.inputs[FILE_INPUT] = Input::File(name.to_owned());
        let root = self.parse(text, FILE_INPUT);
        self.is_file_empty = root.as_ref().is_none_or(Node::is_empty);
        if let Some(root) = root {
            self.section(&root, "");
        }
        self.errors[before..].sort_by_key(|error| match error.location {
            Some(Location::File { line, column, .. }) => (line, column),
            _ => (0, 0),
        });
    }

    /// Reads YAML with the value of the section or setting `path`; the root's path is empty.
    fn yaml(&mut self, text: &str, path: &str, input: usize) {
        if let Some(root) = self.parse(text, input) {
            match settings::find(path) {
                Some(setting) => self.set(setting, &root),
                None => self.section(&root, path),
            }
        }
    }

    /// Parses the YAML of an input.
    fn parse(&mut self, text: &str, input: usize) -> Option<Node> {
        let yaml::Document { root, errors } = yaml::parse(text, input);
        for (position, kind) in errors {
            self.report_at(position, None, "", kind);
        }
        root
    }

    /// The entries of a section; an empty one has none.
    fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [yaml::Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ if node.is_null() => Some(&[]),
            _ => {
                let found = node.kind();
                let kind = ConfigErrorKind::WrongShape { expected: "a map of settings", found };
                self.report_at(node.position, None, path, kind);
                None
            }
        }
    }

    /// Reads the settings of the section `path`. An empty section changes nothing.
    fn section(&mut self, node: &Node, path: &str) {
        if let Some(expected) = settings::needed_in(path).filter(|_| node.is_empty()) {
            self.report_at(node.position, None, path, ConfigErrorKind::Empty { expected });
        }
        for entry in self.entries(node, path).unwrap_or_default() {
            let key =
                if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match settings::find(&key) {
                Some(setting) => self.set(setting, &entry.node),
                None if settings::is_section(&key) => self.section(&entry.node, &key),
                None => {
                    let kind = ConfigErrorKind::UnknownKey {
                        nearest: suggest_key(&entry.key, path),
                        known: settings::names_below(path).join(", "),
                    };
                    self.report_at(entry.key_position, None, &Excerpt::bare(&key), kind);
                }
            }
        }
    }

    /// Sets a setting to a value.
    fn set(&mut self, setting: &'static Setting, node: &Node) {
        match setting.form {
            Form::Upstream(..) | Form::Tree(Tree::Auth) => self.set_upstream(0, setting, node),
            Form::Value(set, _) => match set(&mut self.config, node) {
                Ok(()) => {
                    self.positions.insert(setting.key, node.position);
                }
                Err(kind) => {
                    self.report_at(node.position, Some(setting.key), setting.key, kind);
                }
            },
            Form::Access(set, _) => {
                self.positions.insert(setting.key, node.position);
                for kind in set(&mut self.access, node).err().into_iter().flatten() {
                    self.report_at(node.position, Some(setting.key), setting.key, kind);
                }
            }
            Form::Store(set, _) => {
                self.positions.insert(setting.key, node.position);
                if let Err(kind) = set(&mut self.store, node) {
                    self.report_at(node.position, Some(setting.key), setting.key, kind);
                }
            }
            Form::Tree(Tree::AllowedHosts) => {
                let mut reader = Reader::new(setting.key);
                self.config.allowed_hosts = access::read_hosts(&mut reader, node);
                self.report_all(setting.key, reader);
            }
            Form::Tree(Tree::Upstreams) => self.upstreams(node),
            // An empty section changes nothing.
            Form::Tree(Tree::Identities) if node.is_empty() => {}
            Form::Tree(Tree::Identities) => {
                if let Some(tables) = self.list(setting.key, node, source::read_tables) {
                    self.config.identities = tables;
                }
            }
            Form::Tree(Tree::Sources) => {
                if let Some(sources) = self.list(setting.key, node, source::read) {
                    self.config.sources = sources;
                }
            }
            Form::Tree(Tree::Forward) => {
                if let Some(forwards) = self.list(setting.key, node, forward::read) {
                    self.config.forward = forwards;
                }
            }
        }
    }

    /// Reads a list of sources, tables or forwards, reports what is wrong with it, and keeps it for
    /// the checks that need all layers.
    fn list<T>(
        &mut self,
        key: &'static str,
        node: &Node,
        read: impl FnOnce(&mut Reader, &Node) -> Option<T>,
    ) -> Option<T> {
        let mut reader = Reader::new(key);
        let list = read(&mut reader, node);
        self.trees.insert(key, node.clone());
        self.positions.insert(key, node.position);
        self.report_all(key, reader);
        list
    }

    /// Sets a setting to the value of a variable or a flag.
    fn set_text(&mut self, setting: &'static Setting, location: Location, text: &str) {
        let input = self.input(Input::Value(location));
        self.set(setting, &Node::verbatim(text, input));
    }

    /// Reads the variables with our prefix. That of a single value holds the value itself, that of
    /// a list or section holds YAML.
    fn variables(&mut self, environment: &Environment) {
        // The variables are sorted, so a section comes before its settings, which then override it.
        for (name, text) in environment.with_prefix(PREFIX) {
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
            let section = settings::sections().find(|section| settings::variable(section) == name);
            let key = setting.map(|setting| setting.key).or(section);
            let upstream = self.upstream_variable(&name);
            let location = Location::Variable(name.clone());
            if key.is_none() && upstream.is_none() {
                let nearest = suggest_variable(&name, &self.upstreams);
                self.report(location, None, ConfigErrorKind::UnknownVariable { nearest });
                continue;
            }
            let Some(text) = text.to_str() else {
                let setting = setting.map(|setting| setting.key);
                self.report(location, setting, ConfigErrorKind::VariableNotUtf8);
                continue;
            };
            match (setting, key, upstream) {
                _ if text.is_empty() => {}
                (Some(setting), ..) if setting.is_value() => {
                    self.set_text(setting, location, text);
                }
                (_, Some(key), _) => {
                    let input = self.input(Input::Yaml(name));
                    self.yaml(text, key, input);
                }
                (_, None, Some(variable)) => self.set_upstream_variable(variable, name, text),
                (_, None, None) => {}
            }
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
}

#[cfg(test)]
mod tests;
