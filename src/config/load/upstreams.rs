//! The settings of the upstreams.

use super::{Input, Loader};
use crate::config::error::{ConfigErrorKind, Excerpt, Location};
use crate::config::nearest::nearest;
use crate::config::settings::{self, Form, Setting, Tree};
use crate::config::source::check_name;
use crate::config::upstream::{self, DEFAULT_UPSTREAM, Draft, Upstream, variable_part};
use crate::config::yaml::{Entry, Node};

/// The most upstreams beside the default one.
const MAX_UPSTREAMS: usize = 100;

/// What a variable of an upstream sets.
pub(super) struct UpstreamVariable {
    /// The upstream's index.
    index: usize,
    target: Target,
}

enum Target {
    /// The whole section; the value is YAML.
    Section,
    /// A setting.
    Setting(&'static Setting),
    /// A part of `auth`, by the parts of the variable's name.
    Auth(Vec<String>),
}

impl Loader {
    /// Reads `upstreams`. An empty section changes nothing.
    pub(super) fn upstreams(&mut self, node: &Node) {
        for entry in self.entries(node, "upstreams").unwrap_or_default() {
            if let Some(index) = self.upstream_named(entry) {
                self.upstream_section(index, &entry.node);
            }
        }
    }

    /// The index of the upstream with this name, which is added if it is new.
    fn upstream_named(&mut self, entry: &Entry) -> Option<usize> {
        let known = self.upstreams.iter().skip(1).position(|draft| draft.name == entry.key);
        if let Some(index) = known {
            return Some(index + 1);
        }
        let same_variables =
            |draft: &&Draft| variable_part(&draft.name) == variable_part(&entry.key);
        let kind = if entry.key == DEFAULT_UPSTREAM {
            ConfigErrorKind::ReservedUpstream
        } else if let Err(kind) = check_name(&entry.key, "an upstream's name") {
            kind
        } else if let Some(other) = self.upstreams.iter().find(same_variables) {
            ConfigErrorKind::SameVariables { other: other.name.clone() }
        } else if self.upstreams.len() > MAX_UPSTREAMS {
            ConfigErrorKind::TooMany { found: self.upstreams.len(), most: MAX_UPSTREAMS }
        } else {
            let settings = Upstream::with_base_url(self.config.upstream.base_url.clone());
            self.upstreams.push(Draft::new(&entry.key, settings, entry.key_position));
            return Some(self.upstreams.len() - 1);
        };
        let path = format!("upstreams.{}", Excerpt::bare(&entry.key));
        self.report_at(entry.key_position, Some("upstreams"), &path, kind);
        None
    }

    fn upstream_section(&mut self, index: usize, node: &Node) {
        let path = self.upstreams[index].path();
        for entry in self.entries(node, &path).unwrap_or_default() {
            match settings::find(&format!("upstream.{}", entry.key)) {
                Some(setting) => self.set_upstream(index, setting, &entry.node),
                None => {
                    let known = settings::names_below("upstream");
                    let kind = ConfigErrorKind::UnknownKey {
                        nearest: nearest(&entry.key, known.iter().copied()).map(str::to_owned),
                        known: known.join(", "),
                    };
                    let path = format!("{path}.{}", Excerpt::bare(&entry.key));
                    self.report_at(entry.key_position, Some("upstreams"), &path, kind);
                }
            }
        }
    }

    /// Sets a setting of an upstream; `setting` is that of the default upstream with the same key.
    pub(super) fn set_upstream(&mut self, index: usize, setting: &'static Setting, node: &Node) {
        let draft = &mut self.upstreams[index];
        let name = setting.key.trim_start_matches("upstream.");
        let set = match setting.form {
            Form::Upstream(set, _) => set(draft, node),
            Form::Tree(Tree::Auth) => {
                draft.auth = Some(node.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        draft.positions.insert(name, node.position);
        if let Err(kind) = set {
            let path = format!("{}.{name}", draft.path());
            self.report_at(node.position, Some(setting.key), &path, kind);
        }
    }

    /// What the variable sets, if it is one of a known upstream and not in the table of settings.
    pub(super) fn upstream_variable(&self, variable: &str) -> Option<UpstreamVariable> {
        self.upstreams.iter().enumerate().find_map(|(index, draft)| {
            let section = settings::variable(&draft.path());
            if variable == section {
                return Some(UpstreamVariable { index, target: Target::Section });
            }
            let rest = variable.strip_prefix(&section)?.strip_prefix("__")?;
            let key = rest.to_ascii_lowercase();
            let setting =
                settings::find(&format!("upstream.{key}")).filter(|_| variable_part(&key) == rest);
            let target = match setting {
                Some(setting) => Target::Setting(setting),
                None => {
                    let parts: Vec<_> =
                        rest.strip_prefix("AUTH__")?.split("__").map(str::to_owned).collect();
                    Target::Auth(parts)
                }
            };
            Some(UpstreamVariable { index, target })
        })
    }

    /// Sets what a variable names to its value.
    pub(super) fn set_upstream_variable(
        &mut self,
        variable: UpstreamVariable,
        name: String,
        text: &str,
    ) {
        let UpstreamVariable { index, target } = variable;
        let is_value = match &target {
            Target::Section => false,
            Target::Setting(setting) => setting.is_value(),
            // The kind of `auth` is a map; what is in it are values.
            Target::Auth(parts) => parts.len() > 1,
        };
        let node = if is_value {
            let input = self.input(Input::Value(Location::Variable(name)));
            Some(Node::verbatim(text, input))
        } else {
            let input = self.input(Input::Yaml(name));
            self.parse(text, input)
        };
        let Some(node) = node else { return };
        match target {
            Target::Section => self.upstream_section(index, &node),
            Target::Setting(setting) => self.set_upstream(index, setting, &node),
            Target::Auth(parts) => {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let draft = &mut self.upstreams[index];
                draft.positions.insert("auth", node.position);
                draft.auth = Some(upstream::overlay(draft.auth.take(), &parts, node));
            }
        }
    }
}
