//! The settings that only a restart changes.

use crate::config::{Config, StoreUrl};

/// Gives `loaded` the settings of `running` that cannot change while the process runs. Returns the
/// keys of those in which the two differ.
pub(super) fn keep_until_restart(running: &Config, loaded: &mut Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let mut keep = |key, differs: bool| {
        if differs {
            kept.push(key);
        }
        differs
    };
    if keep("listen", loaded.listen != running.listen) {
        loaded.listen = running.listen;
    }
    if keep("admin_listen", loaded.admin_listen != running.admin_listen) {
        loaded.admin_listen = running.admin_listen;
    }
    if keep("log_format", loaded.log_format != running.log_format) {
        loaded.log_format = running.log_format;
    }
    if keep("otlp", loaded.otlp != running.otlp) {
        loaded.otlp = running.otlp.clone();
    }
    if keep("store", loaded.store != running.store) {
        loaded.store.clone_from(&running.store);
        // Forwards that come together with the store begin with it.
        if loaded.store.url == StoreUrl::None {
            loaded.forward.clone_from(&running.forward);
        }
    }
    // Whether a listener speaks TLS is fixed; its certificates are not.
    let was_protected = is_protected(loaded);
    if keep("tls", loaded.tls.is_some() != running.tls.is_some()) {
        loaded.tls.clone_from(&running.tls);
    }
    if keep("admin.tls", loaded.admin.tls != running.admin.tls) {
        loaded.admin.tls = running.admin.tls;
    }
    // If client certificates are to replace the sign-in, they are asked for only after the restart:
    // without the sign-in, everybody could read everything until then.
    let is_open = was_protected && !is_protected(loaded);
    if keep("auth", is_open && loaded.sign_in != running.sign_in) {
        loaded.sign_in.clone_from(&running.sign_in);
        loaded.admin.auth = running.admin.auth;
    }
    kept
}

/// Whether callers must prove who they are.
fn is_protected(config: &Config) -> bool {
    !config.sign_in.is_empty() || config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{PemFile, Tls, from_yaml};

    #[test]
    fn forwards_wait_for_their_store() {
        let running = Config::default();
        let with_forward = "{ store: { url: 'sqlite:/h.db' }, forward: [{ name: a, format: ndjson, \
            url: 'http://localhost' }] }";
        let wanted = from_yaml("c", with_forward).unwrap();
        let mut loaded = wanted.clone();
        assert_eq!(keep_until_restart(&running, &mut loaded), ["store"]);
        assert_eq!(loaded, running);
        // They go at once, although their store stays.
        let mut loaded = Config::default();
        assert_eq!(keep_until_restart(&wanted, &mut loaded), ["store"]);
        assert_eq!(loaded, Config { forward: Vec::new(), ..wanted.clone() });
        let mut loaded = Config { forward: Vec::new(), ..wanted.clone() };
        assert!(keep_until_restart(&wanted, &mut loaded).is_empty());
        assert!(loaded.forward.is_empty());
    }

    #[test]
    fn client_certificates_do_not_replace_the_sign_in_before_they_are_asked_for() {
        let jwt = "auth: { jwt: { issuer: 'https://i', audience: a } }\nadmin: { auth: true }";
        let running = from_yaml("c", jwt).unwrap();
        let file = || PemFile { path: "x".into(), pem: Bytes::new() };
        let tls = Tls { certificate: file(), key: file(), client_ca: Some(file()) };
        let with_tls = |config: Config| Config { tls: Some(tls.clone()), ..config };
        let mut loaded = with_tls(Config::default());
        assert_eq!(keep_until_restart(&running, &mut loaded), ["tls", "auth"]);
        assert_eq!(loaded, running);
        // A sign-in that goes without a replacement goes, as does one that is replaced.
        let mut open = Config::default();
        assert!(keep_until_restart(&running, &mut open).is_empty());
        assert!(!is_protected(&open));
        let other = from_yaml("c", &jwt.replace("audience: a", "audience: b")).unwrap();
        let mut loaded = with_tls(other.clone());
        assert_eq!(keep_until_restart(&running, &mut loaded), ["tls"]);
        assert_eq!(loaded, other);
        // What was open stays so.
        let mut loaded = with_tls(Config::default());
        assert_eq!(keep_until_restart(&Config::default(), &mut loaded), ["tls"]);
        assert_eq!(loaded, Config::default());
    }
}
