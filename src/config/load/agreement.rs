//! Checks that values agree with each other.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Loader;
use crate::config::error::{ConfigError, ConfigErrorKind};
use crate::config::reader::Reader;
use crate::config::source::{self, Source};
use crate::config::upstream::{DEFAULT_UPSTREAM, NamedUpstream};
use crate::config::{Config, StoreUrl, forward, value};

impl Loader {
    /// Checks that values agree with each other. Values with an error of their own are left out.
    pub(super) fn check_agreement(&mut self) {
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
        let is_set = |key: &str| self.positions.contains_key(key);
        let is_valid = |key: &str| !invalid.contains(key);
        let (store, fault) = std::mem::take(&mut self.store).finish(is_valid);
        self.config.store = store;
        found.extend(fault.map(|(key, kind)| ([key, key], kind)));
        let has_forwards = self.trees.get("forward").is_some_and(|tree| !tree.items().is_empty());
        if has_forwards && self.config.store.url == StoreUrl::None && is_valid("store.url") {
            let detail = "needs a store, whose records it sends; set `store.url`";
            found.push((["forward"; 2], ConfigErrorKind::Detail(detail.to_owned())));
        }
        let access = std::mem::take(&mut self.access).finish(is_set, &mut self.config);
        found.extend(access.into_iter().map(|(key, kind)| ([key, key], kind)));
        for (keys, kind) in found {
            let written = keys.into_iter().find(|key| self.positions.contains_key(key));
            match written.and_then(|key| Some((key, *self.positions.get(key)?))) {
                Some((key, position)) => self.report_at(position, Some(key), key, kind),
                // At least one of the two is set, since the defaults agree.
                None => self.errors.push(ConfigError {
                    location: None,
                    setting: Some(keys[0]),
                    path: Some(keys[0].to_owned()),
                    kind,
                }),
            }
        }
        let are_sources_known = is_valid("sources");
        self.finish_upstreams();
        self.check_origins();
        if are_sources_known {
            self.check_forwarded_types();
        }
    }

    /// Moves the upstreams to the configuration.
    fn finish_upstreams(&mut self) {
        for draft in std::mem::take(&mut self.upstreams) {
            let name = draft.name.clone();
            let mut reader = Reader::new(&draft.path());
            let settings = draft.finish(&mut reader);
            self.report_all("upstreams", reader);
            if name == DEFAULT_UPSTREAM {
                self.config.upstream = settings;
            } else {
                self.config.upstreams.push(NamedUpstream { name, settings });
            }
        }
    }

    /// Checks that every upstream that is named exists, and gives `identities` its default.
    fn check_origins(&mut self) {
        let names: Vec<String> =
            self.config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        for key in ["sources", "identities"] {
            let Some(tree) = self.trees.remove(key) else { continue };
            let mut reader = Reader::new(key);
            source::check_upstreams(&mut reader, &tree, &names);
            self.report_all(key, reader);
        }
        let is_set =
            ["identities", "identities.path"].iter().any(|key| self.positions.contains_key(key));
        let sources = &self.config.sources;
        let uses_default = |source: &Source| source.origin.upstream() == Some(DEFAULT_UPSTREAM);
        if !is_set && !sources.iter().any(uses_default) {
            self.config.identities.clear();
        }
    }

    /// Checks that forwards select records of sources that exist.
    fn check_forwarded_types(&mut self) {
        let Some(tree) = self.trees.remove("forward") else { return };
        let mut reader = Reader::new("forward");
        let names: Vec<&str> =
            self.config.sources.iter().map(|source| source.name.as_str()).collect();
        forward::check_types(&mut reader, &tree, &names);
        self.report_all("forward", reader);
    }
}

/// Whether two listeners cannot be bound at the same time. One on `[::]` includes IPv4.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |any: SocketAddr, other: SocketAddr| {
        any.ip().is_unspecified() && (any.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a, b) || takes(b, a))
}
