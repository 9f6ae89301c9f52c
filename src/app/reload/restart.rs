//! The settings that only a restart changes.

use crate::config::Config;

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
    // Whether a listener speaks TLS is fixed; its certificates are not.
    if keep("tls", loaded.tls.is_some() != running.tls.is_some()) {
        loaded.tls.clone_from(&running.tls);
    }
    if keep("admin.tls", loaded.admin.tls != running.admin.tls) {
        loaded.admin.tls = running.admin.tls;
    }
    kept
}
