//! Names what differs between two configurations, without values.

use std::fmt;
use std::path::Path;

use crate::config::{
    Admin, Cache, ClientCertificate, Config, CredentialFile, Forward, Limits, NamedUpstream, Otlp,
    PemFile, Shutdown, SignIn, Source, Tls, Upstream, table_name,
};

/// The settings in which `new` differs from `old`, with the files where the content of one does,
/// and the sources and upstreams that were added and removed.
pub(super) fn between(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Changes::default();
    // Taken apart, so that a new field cannot be forgotten.
    let Config {
        listen,
        admin_listen,
        response_budget,
        upstream,
        upstreams,
        identities,
        sources,
        cache: Cache { ttl, stale_for, max_bytes },
        store,
        forward,
        public_url,
        limits,
        shutdown: Shutdown { drain_delay, timeout },
        tls,
        sign_in,
        admin: Admin { tls: admin_tls, auth: admin_auth },
        allowed_hosts,
        log_format,
        otlp: Otlp { endpoint },
    } = old;
    changes.compare("listen", listen, &new.listen);
    changes.compare("admin_listen", admin_listen, &new.admin_listen);
    changes.compare("response_budget", response_budget, &new.response_budget);
    changes.upstream("upstream", upstream, &new.upstream);
    changes.upstreams(upstreams, &new.upstreams);
    let tables = |tables: &[_]| (0..tables.len()).map(table_name).collect::<Vec<_>>();
    let (old_names, new_names) = (tables(identities), tables(&new.identities));
    changes.list("", (&old_names, identities), (&new_names, &new.identities));
    let names = |sources: &[Source]| -> Vec<_> {
        sources.iter().map(|source| source.name.clone()).collect()
    };
    changes.list("sources.", (&names(sources), sources), (&names(&new.sources), &new.sources));
    changes.compare("cache.ttl", ttl, &new.cache.ttl);
    changes.compare("cache.stale_for", stale_for, &new.cache.stale_for);
    changes.compare("cache.max_bytes", max_bytes, &new.cache.max_bytes);
    changes.compare("store", store, &new.store);
    changes.forwards(forward, &new.forward);
    changes.compare("public_url", public_url, &new.public_url);
    changes.limits(limits, &new.limits);
    changes.compare("shutdown.drain_delay", drain_delay, &new.shutdown.drain_delay);
    changes.compare("shutdown.timeout", timeout, &new.shutdown.timeout);
    changes.tls(tls.as_ref(), new.tls.as_ref());
    changes.sign_in(sign_in, &new.sign_in);
    changes.compare("admin.tls", admin_tls, &new.admin.tls);
    changes.compare("admin.auth", admin_auth, &new.admin.auth);
    changes.compare("allowed_hosts", allowed_hosts, &new.allowed_hosts);
    changes.compare("log_format", log_format, &new.log_format);
    changes.compare("otlp.endpoint", endpoint, &new.otlp.endpoint);
    changes.0
}

#[derive(Default)]
struct Changes(Vec<String>);

impl Changes {
    fn compare<T: PartialEq>(&mut self, key: impl fmt::Display, old: &T, new: &T) {
        if old != new {
            self.0.push(key.to_string());
        }
    }

    /// A setting that names a file, whose content counts too.
    fn file<T: PartialEq>(
        &mut self,
        key: impl fmt::Display,
        old: Option<&T>,
        new: Option<&T>,
        path: impl Fn(&T) -> &Path,
    ) {
        match (old, new) {
            (old, new) if old == new => {}
            (Some(old), Some(new)) if path(old) == path(new) => {
                self.0.push(format!("{key} ({})", path(new).display()));
            }
            _ => self.0.push(key.to_string()),
        }
    }

    fn pem(&mut self, key: impl fmt::Display, old: Option<&PemFile>, new: Option<&PemFile>) {
        self.file(key, old, new, |file| &file.path);
    }

    fn credentials<T: PartialEq>(
        &mut self,
        key: &str,
        old: Option<&CredentialFile<T>>,
        new: Option<&CredentialFile<T>>,
    ) {
        self.file(key, old, new, |file| &file.path);
    }

    /// The items of a list, which are known by their names.
    fn list<T: PartialEq>(
        &mut self,
        prefix: &str,
        (old_names, old): (&[String], &[T]),
        (new_names, new): (&[String], &[T]),
    ) {
        for (name, item) in old_names.iter().zip(old) {
            if let Some(index) = new_names.iter().position(|new| new == name) {
                self.compare(format_args!("{prefix}{name}"), item, &new[index]);
            }
        }
        self.names(prefix, old_names, new_names);
    }

    /// Which items of a list came, went and changed places.
    fn names(&mut self, prefix: &str, old_names: &[String], new_names: &[String]) {
        for name in old_names.iter().filter(|name| !new_names.contains(name)) {
            self.0.push(format!("{prefix}{name} (removed)"));
        }
        for name in new_names.iter().filter(|name| !old_names.contains(name)) {
            self.0.push(format!("{prefix}{name} (added)"));
        }
        let stayed = old_names.iter().filter(|name| new_names.contains(name));
        if !stayed.eq(new_names.iter().filter(|name| old_names.contains(name))) {
            self.0.push(format!("{} (order)", prefix.trim_end_matches('.')));
        }
    }

    fn upstreams(&mut self, old: &[NamedUpstream], new: &[NamedUpstream]) {
        for upstream in old {
            let key = format!("upstreams.{}", upstream.name);
            match new.iter().find(|new| new.name == upstream.name) {
                None => self.0.push(format!("{key} (removed)")),
                Some(new) => self.upstream(&key, &upstream.settings, &new.settings),
            }
        }
        for added in new.iter().filter(|new| old.iter().all(|old| old.name != new.name)) {
            self.0.push(format!("upstreams.{} (added)", added.name));
        }
    }

    fn upstream(&mut self, key: &str, old: &Upstream, new: &Upstream) {
        let Upstream {
            base_url,
            username,
            password,
            auth,
            ca,
            client_certificate,
            proxy,
            rate,
            timeout,
            connect_timeout,
            concurrency,
            max_concurrency,
            retries,
            max_body,
        } = old;
        self.compare(format_args!("{key}.base_url"), base_url, &new.base_url);
        self.compare(format_args!("{key}.username"), username, &new.username);
        self.compare(format_args!("{key}.password"), password, &new.password);
        self.compare(format_args!("{key}.auth"), auth, &new.auth);
        self.pem(format_args!("{key}.ca_file"), ca.as_ref(), new.ca.as_ref());
        self.client_certificate(key, client_certificate.as_ref(), new.client_certificate.as_ref());
        self.compare(format_args!("{key}.proxy"), proxy, &new.proxy);
        self.compare(format_args!("{key}.rate"), rate, &new.rate);
        self.compare(format_args!("{key}.timeout"), timeout, &new.timeout);
        self.compare(format_args!("{key}.connect_timeout"), connect_timeout, &new.connect_timeout);
        self.compare(format_args!("{key}.concurrency"), concurrency, &new.concurrency);
        self.compare(format_args!("{key}.max_concurrency"), max_concurrency, &new.max_concurrency);
        self.compare(format_args!("{key}.retries"), retries, &new.retries);
        self.compare(format_args!("{key}.max_body"), max_body, &new.max_body);
    }

    fn forwards(&mut self, old: &[Forward], new: &[Forward]) {
        for old in old {
            if let Some(new) = new.iter().find(|new| new.name == old.name) {
                self.forward(old, new);
            }
        }
        let names = |forwards: &[Forward]| -> Vec<_> {
            forwards.iter().map(|forward| forward.name.clone()).collect()
        };
        self.names("forward.", &names(old), &names(new));
    }

    fn forward(&mut self, old: &Forward, new: &Forward) {
        let Forward {
            name,
            url,
            auth,
            ca,
            client_certificate,
            proxy,
            format,
            select,
            tags,
            batch,
            rate,
            timeout,
            from,
        } = old;
        let key = format!("forward.{name}");
        self.compare(format_args!("{key}.url"), url, &new.url);
        self.compare(format_args!("{key}.auth"), auth, &new.auth);
        self.pem(format_args!("{key}.ca_file"), ca.as_ref(), new.ca.as_ref());
        self.client_certificate(&key, client_certificate.as_ref(), new.client_certificate.as_ref());
        self.compare(format_args!("{key}.proxy"), proxy, &new.proxy);
        self.compare(format_args!("{key}.format"), format, &new.format);
        self.compare(format_args!("{key}.select"), select, &new.select);
        self.compare(format_args!("{key}.tags"), tags, &new.tags);
        self.compare(format_args!("{key}.batch"), batch, &new.batch);
        self.compare(format_args!("{key}.rate"), rate, &new.rate);
        self.compare(format_args!("{key}.timeout"), timeout, &new.timeout);
        self.compare(format_args!("{key}.from"), from, &new.from);
    }

    fn client_certificate(
        &mut self,
        key: &str,
        old: Option<&ClientCertificate>,
        new: Option<&ClientCertificate>,
    ) {
        self.pem(
            format_args!("{key}.client_cert_file"),
            old.map(|client| &client.certificate),
            new.map(|client| &client.certificate),
        );
        self.pem(
            format_args!("{key}.client_key_file"),
            old.map(|client| &client.key),
            new.map(|client| &client.key),
        );
    }

    fn limits(&mut self, old: &Limits, new: &Limits) {
        let Limits {
            max_connections,
            max_requests,
            max_renders,
            max_events,
            header_timeout,
            idle_timeout,
            write_timeout,
            min_send_rate,
        } = old;
        self.compare("limits.max_connections", max_connections, &new.max_connections);
        self.compare("limits.max_requests", max_requests, &new.max_requests);
        self.compare("limits.max_renders", max_renders, &new.max_renders);
        self.compare("limits.max_events", max_events, &new.max_events);
        self.compare("limits.header_timeout", header_timeout, &new.header_timeout);
        self.compare("limits.idle_timeout", idle_timeout, &new.idle_timeout);
        self.compare("limits.write_timeout", write_timeout, &new.write_timeout);
        self.compare("limits.min_send_rate", min_send_rate, &new.min_send_rate);
    }

    fn tls(&mut self, old: Option<&Tls>, new: Option<&Tls>) {
        let (Some(Tls { certificate, key, client_ca }), Some(new)) = (old, new) else {
            return self.compare("tls", &old, &new);
        };
        self.pem("tls.cert_file", Some(certificate), Some(&new.certificate));
        self.pem("tls.key_file", Some(key), Some(&new.key));
        self.pem("tls.client_ca_file", client_ca.as_ref(), new.client_ca.as_ref());
    }

    fn sign_in(&mut self, old: &SignIn, new: &SignIn) {
        let SignIn { users, tokens, jwt } = old;
        self.credentials("auth.users_file", users.as_ref(), new.users.as_ref());
        self.credentials("auth.tokens_file", tokens.as_ref(), new.tokens.as_ref());
        self.compare("auth.jwt", jwt, &new.jwt);
    }
}

#[cfg(test)]
mod tests;
