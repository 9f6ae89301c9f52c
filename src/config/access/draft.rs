//! Access control while its settings are read, layer by layer.

use crate::config::error::ConfigErrorKind;
use crate::config::{Config, PemFile};
use crate::credentials::{Tokens, Users};

use super::{CredentialFile, Jwt, SignIn, Tls};

/// Whether the files that the settings name are read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::config) enum Files {
    /// They are read and checked.
    #[default]
    Read,
    /// They are not even opened: the command serves nobody.
    Skip,
}

/// What was read so far. The settings need not agree with each other yet.
#[derive(Debug, Default)]
pub(in crate::config) struct Draft {
    pub(super) files: Files,
    pub(super) certificate: Option<PemFile>,
    pub(super) key: Option<PemFile>,
    pub(super) client_ca: Option<PemFile>,
    pub(super) users: Option<CredentialFile<Users>>,
    pub(super) tokens: Option<CredentialFile<Tokens>>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) jwks_url: Option<reqwest::Url>,
    pub(super) ca: Option<PemFile>,
    pub(super) proxy: Option<reqwest::Url>,
    pub(super) employee_claim: Option<String>,
    pub(super) scope_claim: Option<String>,
}

/// The settings of JSON Web Tokens; any of them needs the first two.
const JWT_KEYS: [&str; 7] = [
    "auth.jwt.issuer",
    "auth.jwt.audience",
    "auth.jwt.jwks_url",
    "auth.jwt.ca_file",
    "auth.jwt.proxy",
    "auth.jwt.employee_claim",
    "auth.jwt.scope_claim",
];

impl Draft {
    /// Nothing was read yet.
    pub(in crate::config) fn new(files: Files) -> Self {
        Self { files, ..Self::default() }
    }

    /// Checks that the settings agree with each other, and moves them to `config`. `is_set` says
    /// whether a setting is there, be its value valid or not. Returns the settings with errors.
    pub(in crate::config) fn finish(
        self,
        is_set: impl Fn(&str) -> bool,
        config: &mut Config,
    ) -> Vec<(&'static str, ConfigErrorKind)> {
        let mut found = missing(&is_set, config);
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key)
            && let Err(kind) = certificate.check_key(key)
        {
            found.push(("tls.key_file", kind));
        }
        // A value is missing beside the others only if there is an error, here or in the value.
        config.tls = self.certificate.zip(self.key).map(|(certificate, key)| Tls {
            certificate,
            key,
            client_ca: self.client_ca,
        });
        let jwt = self.issuer.zip(self.audience).map(|(issuer, audience)| Jwt {
            issuer,
            audience,
            jwks_url: self.jwks_url,
            ca: self.ca,
            proxy: self.proxy,
            employee_claim: self
                .employee_claim
                .unwrap_or_else(|| Jwt::DEFAULT_EMPLOYEE_CLAIM.to_owned()),
            scope_claim: self.scope_claim.unwrap_or_else(|| Jwt::DEFAULT_SCOPE_CLAIM.to_owned()),
        });
        if jwt.as_ref().is_some_and(|jwt| jwt.proxy.is_some() && !jwt.has_safe_way()) {
            let detail = "is on another machine, to which the keys would come over plain http, so \
                that they could be replaced on their way; use https for the issuer or `jwks_url`, \
                or set the proxy to null";
            found.push(("auth.jwt.proxy", ConfigErrorKind::Detail(detail.to_owned())));
        }
        config.sign_in = SignIn { users: self.users, tokens: self.tokens, jwt };
        found
    }
}

/// The settings that need others, which are not set.
fn missing(is_set: impl Fn(&str) -> bool, config: &Config) -> Vec<(&'static str, ConfigErrorKind)> {
    let mut found = Vec::new();
    let mut need = |key: &'static str, others: &'static str| {
        found.push((key, ConfigErrorKind::Needs { others }));
    };
    match (is_set("tls.cert_file"), is_set("tls.key_file")) {
        (true, false) => need("tls.cert_file", "`tls.key_file`"),
        (false, true) => need("tls.key_file", "`tls.cert_file`"),
        (false, false) if is_set("tls.client_ca_file") => {
            need("tls.client_ca_file", "`tls.cert_file` and `tls.key_file`");
        }
        _ => {}
    }
    let jwt_key = JWT_KEYS.into_iter().find(|key| is_set(key));
    if let Some(key) = jwt_key {
        match (is_set("auth.jwt.issuer"), is_set("auth.jwt.audience")) {
            (false, false) => need(key, "`auth.jwt.issuer` and `auth.jwt.audience`"),
            (false, true) => need(key, "`auth.jwt.issuer`"),
            (true, false) => need(key, "`auth.jwt.audience`"),
            (true, true) => {}
        }
    }
    let has_tls = ["tls.cert_file", "tls.key_file", "tls.client_ca_file"].into_iter().any(&is_set);
    if config.admin.tls && !has_tls {
        need("admin.tls", "`tls.cert_file` and `tls.key_file`");
    }
    let has_auth = jwt_key.is_some() || is_set("auth.users_file") || is_set("auth.tokens_file");
    if config.admin.auth && !has_auth {
        need("admin.auth", "`auth.users_file`, `auth.tokens_file` or `auth.jwt`");
    }
    found
}
