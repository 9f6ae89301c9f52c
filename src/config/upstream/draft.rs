//! An upstream while its settings are read, layer by layer.

use std::collections::BTreeMap;

use super::auth::Auth;
use super::{ClientCertificate, DEFAULT_UPSTREAM, Upstream};
use crate::config::PemFile;
use crate::config::error::ConfigErrorKind;
use crate::config::reader::Reader;
use crate::config::yaml::{Node, Position};

/// An upstream whose settings need not agree with each other yet. It has no `Debug`, since `auth`
/// holds secrets as text.
pub(in crate::config) struct Draft {
    /// Its name.
    pub name: String,
    /// What was read so far.
    pub settings: Upstream,
    /// `client_cert_file`
    pub certificate: Option<PemFile>,
    /// `client_key_file`
    pub key: Option<PemFile>,
    /// `auth`, which is read when all layers have changed it.
    pub auth: Option<Node>,
    /// Where it was mentioned first.
    pub position: Position,
    /// Where each of its keys was set last.
    pub positions: BTreeMap<&'static str, Position>,
}

impl Draft {
    /// The default upstream.
    pub(in crate::config) fn default_upstream(settings: Upstream) -> Self {
        Self::new(DEFAULT_UPSTREAM, settings, Position::start_of(0))
    }

    /// An upstream with these settings.
    pub(in crate::config) fn new(name: &str, settings: Upstream, position: Position) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            certificate: None,
            key: None,
            auth: None,
            position,
            positions: BTreeMap::new(),
        }
    }

    /// The dotted path of its section.
    pub(in crate::config) fn path(&self) -> String {
        if self.name == DEFAULT_UPSTREAM {
            "upstream".to_owned()
        } else {
            format!("upstreams.{}", self.name)
        }
    }

    /// What to use instead of credentials in the base URL.
    pub(in crate::config) fn credentials_remedy(&self) -> &'static str {
        if self.name == DEFAULT_UPSTREAM {
            "set ELEVATE_USERNAME and ELEVATE_PASSWORD instead"
        } else {
            "set `auth` instead"
        }
    }

    /// Checks that the settings agree with each other; what does not is reported.
    pub(in crate::config) fn finish(mut self, reader: &mut Reader) -> Upstream {
        if self.name != DEFAULT_UPSTREAM && !self.positions.contains_key("base_url") {
            reader.report(self.position, ConfigErrorKind::MissingKey { key: "base_url" });
        }
        if let Some(node) = self.auth.take().filter(|node| !node.is_null()) {
            self.settings.auth = reader.below(".auth", |reader| Auth::read(reader, &node));
            for (key, is_set) in [
                ("username", self.settings.username.is_some()),
                ("password", self.settings.password.is_some()),
            ] {
                if let Some(position) = self.position_of(key).filter(|_| is_set) {
                    reader.report_at(position, key, ConfigErrorKind::Excludes { other: "auth" });
                }
            }
        }
        // A later layer wins over an earlier one, but within one layer neither is the later.
        if let (Some(password), Some(file)) =
            (self.positions.get("password"), self.positions.get("password_file"))
            && password.is_in_file() == file.is_in_file()
        {
            let kind = ConfigErrorKind::Excludes { other: "password_file" };
            reader.report_at(*password, "password", kind);
        }
        self.client_certificate(reader);
        self.settings
    }

    /// Where the value of `key`, or that of its twin for a file, was set.
    fn position_of(&self, key: &str) -> Option<Position> {
        let file_key = format!("{key}_file");
        self.positions.get(key).or_else(|| self.positions.get(file_key.as_str())).copied()
    }

    fn client_certificate(&mut self, reader: &mut Reader) {
        let is_set = |key| self.positions.contains_key(key);
        let are_both_set = is_set("client_cert_file") && is_set("client_key_file");
        match ClientCertificate::pair(self.certificate.take(), self.key.take(), are_both_set) {
            Ok(pair) => self.settings.client_certificate = pair,
            Err((key, kind)) => {
                let position = self.positions.get(key).copied().unwrap_or(self.position);
                reader.report_at(position, key, kind);
            }
        }
    }
}
