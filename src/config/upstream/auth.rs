//! How requests are authenticated.

use http::HeaderName;
use secrecy::ExposeSecret;

use super::MASK;
use super::values::secret_file;
use crate::config::error::{ConfigErrorKind, Excerpt};
use crate::config::reader::{Fields, Reader};
use crate::config::secret::Secret;
use crate::config::value::{check_header_value, header_name, text, url_with_query};
use crate::config::written::{self, Written};
use crate::config::yaml::{Node, Value};

const AUTH: &str = "a map with one of `none`, `basic`, `bearer`, `headers` and `oauth2`, such as \
    `{ bearer: { token_file: /run/secrets/token } }`";
const NONE: &str = "an empty map, such as `none: {}`";
const BASIC: &str = "a map with `username` and `password` or `password_file`";
const BEARER: &str = "a map with `token` or `token_file`";
const HEADERS: &str = "a map of headers, such as `{ X-Api-Key: { value_file: /run/secrets/key } }`";
const HEADER: &str = "the header's value, or a map with `value` or `value_file`, and `prefix`";
const OAUTH2: &str = "a map with `token_url`, `client_id` and `client_secret` or \
    `client_secret_file`";
const CLIENT_AUTH: &str = "one of `body` and `basic`";

/// How requests are authenticated. Secrets are never printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// Not at all.
    None,
    /// Basic (RFC 7617).
    Basic {
        /// Without a colon.
        username: String,
        /// May be empty.
        password: Secret,
    },
    /// A fixed token (RFC 6750).
    Bearer {
        /// The token.
        token: Secret,
    },
    /// Headers of any name.
    Headers(Vec<AuthHeader>),
    /// Tokens by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4).
    OAuth2(OAuth2),
}

/// A header that authenticates requests.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthHeader {
    /// The header's name.
    pub name: HeaderName,
    /// The whole value, with the configured prefix.
    pub value: Secret,
    /// The configured prefix, which is no secret.
    pub prefix: String,
}

/// The OAuth 2.0 client credentials grant.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2 {
    /// The token endpoint; no other host gets the secret.
    pub token_url: reqwest::Url,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// The scope that is asked for.
    pub scope: Option<String>,
    /// The audience that is asked for.
    pub audience: Option<String>,
    /// How the client authenticates at the token endpoint.
    pub client_auth: ClientAuth,
}

/// How a client authenticates at a token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    /// In the form (`client_secret_post`).
    #[default]
    Body,
    /// By Basic auth (`client_secret_basic`).
    Basic,
}

impl Auth {
    /// The keys of the kinds.
    pub(in crate::config) const KINDS: [&str; 5] = ["none", "basic", "bearer", "headers", "oauth2"];

    /// Reads `auth`.
    pub(in crate::config) fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        let faults = reader.faults.len();
        let fields = reader.fields(node, AUTH, &Self::KINDS)?;
        let kinds: Vec<&str> = Self::KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
        let [kind] = kinds[..] else {
            if reader.faults.len() == faults {
                let known = Self::KINDS.map(|kind| format!("`{kind}`")).join(", ");
                let detail = format!("needs exactly one of {known}");
                reader.report(node.position, ConfigErrorKind::Detail(detail));
            }
            return None;
        };
        reader.optional(&fields, kind, |reader, node| match kind {
            "none" => none(reader, node),
            "basic" => basic(reader, node),
            "bearer" => bearer(reader, node),
            "headers" => headers(reader, node),
            _ => oauth2(reader, node).map(Self::OAuth2),
        })
    }

    /// The key of a secret that is masked, and so not known.
    pub(in crate::config) fn masked_secret(&self) -> Option<String> {
        let is_mask = |secret: &Secret| secret.expose_secret() == MASK;
        match self {
            Self::None => None,
            Self::Basic { password, .. } => is_mask(password).then(|| "basic.password".to_owned()),
            Self::Bearer { token } => is_mask(token).then(|| "bearer.token".to_owned()),
            Self::Headers(headers) => {
                let is_masked = |header: &&AuthHeader| {
                    header.value.expose_secret().strip_prefix(&header.prefix) == Some(MASK)
                };
                headers.iter().find(is_masked).map(|header| format!("headers.{}", header.name))
            }
            Self::OAuth2(oauth2) => {
                is_mask(&oauth2.client_secret).then(|| "oauth2.client_secret".to_owned())
            }
        }
    }

    /// What is printed, with masks in place of secrets.
    pub(in crate::config) fn written(&self) -> Written {
        let mask = || Written::text(MASK);
        let mut fields = written::Fields::default();
        let kind = match self {
            Self::None => "none",
            Self::Basic { username, .. } => {
                fields.text("username", username);
                fields.add("password", mask());
                "basic"
            }
            Self::Bearer { .. } => {
                fields.add("token", mask());
                "bearer"
            }
            Self::Headers(headers) => {
                for header in headers {
                    let mut value = written::Fields::default();
                    value.add("value", mask());
                    value.text("prefix", &header.prefix);
                    let without_prefix = header.prefix.is_empty();
                    let value = if without_prefix { mask() } else { value.into() };
                    fields.add(header.name.as_str(), value);
                }
                "headers"
            }
            Self::OAuth2(oauth2) => {
                oauth2.write(&mut fields);
                "oauth2"
            }
        };
        let mut auth = written::Fields::default();
        auth.add(kind, fields.into());
        auth.into()
    }
}

impl OAuth2 {
    fn write(&self, fields: &mut written::Fields) {
        fields.text("token_url", self.token_url.as_str());
        fields.text("client_id", &self.client_id);
        fields.text("client_secret", MASK);
        if let Some(scope) = &self.scope {
            fields.text("scope", scope);
        }
        if let Some(audience) = &self.audience {
            fields.text("audience", audience);
        }
        if self.client_auth == ClientAuth::Basic {
            fields.text("client_auth", "basic");
        }
    }
}

fn none(reader: &mut Reader, node: &Node) -> Option<Auth> {
    if !node.is_null() {
        reader.fields(node, NONE, &[])?;
    }
    Some(Auth::None)
}

fn basic(reader: &mut Reader, node: &Node) -> Option<Auth> {
    let fields = reader.fields(node, BASIC, &["username", "password", "password_file"])?;
    let username = reader.required(&fields, "username", |reader, node| {
        let name = reader.line(node, "a user name")?;
        if name.contains(':') {
            let detail = "a user name cannot contain `:` (RFC 7617)".to_owned();
            return reader.value(node, Err(ConfigErrorKind::Detail(detail)));
        }
        Some(name)
    });
    let password = secret(reader, &fields, "password", "password_file");
    Some(Auth::Basic { username: username?, password: password? })
}

fn bearer(reader: &mut Reader, node: &Node) -> Option<Auth> {
    let fields = reader.fields(node, BEARER, &["token", "token_file"])?;
    let token = header_secret(reader, &fields, "token", "token_file", "")?;
    Some(Auth::Bearer { token })
}

fn headers(reader: &mut Reader, node: &Node) -> Option<Auth> {
    let entries = reader.entries(node, HEADERS)?;
    if entries.is_empty() {
        return reader.value(node, Err(ConfigErrorKind::Empty { expected: HEADERS }));
    }
    let mut headers: Vec<AuthHeader> = Vec::new();
    for entry in entries {
        let header = reader.below(&format!(".{}", Excerpt::bare(&entry.key)), |reader| {
            let name = match header_name(&entry.key) {
                Ok(name) => name,
                Err(kind) => {
                    reader.report(entry.key_position, kind);
                    return None;
                }
            };
            if headers.iter().any(|other| other.name == name) {
                reader.report(entry.key_position, ConfigErrorKind::DuplicateHeader);
            }
            header(reader, name, &entry.node)
        });
        headers.extend(header);
    }
    Some(Auth::Headers(headers))
}

fn header(reader: &mut Reader, name: HeaderName, node: &Node) -> Option<AuthHeader> {
    if let Value::Scalar { .. } = node.value {
        let value = reader.value(node, text(node, HEADER))?;
        let value = header_value(reader, node, "", value)?;
        return Some(AuthHeader { name, value, prefix: String::new() });
    }
    let fields = reader.fields(node, HEADER, &["value", "value_file", "prefix"])?;
    let prefix = reader.optional(&fields, "prefix", |reader, node| {
        let prefix = reader.value(node, text(node, "the text before the value"))?;
        header_value(reader, node, "", prefix).map(|_| prefix.to_owned())
    });
    let prefix = prefix.unwrap_or_default();
    let value = header_secret(reader, &fields, "value", "value_file", &prefix)?;
    Some(AuthHeader { name, value, prefix })
}

fn oauth2(reader: &mut Reader, node: &Node) -> Option<OAuth2> {
    const KEYS: [&str; 7] = [
        "token_url",
        "client_id",
        "client_secret",
        "client_secret_file",
        "scope",
        "audience",
        "client_auth",
    ];
    const REMEDY: &str = "give them as `client_id` and `client_secret_file`";
    let fields = reader.fields(node, OAUTH2, &KEYS)?;
    let token_url = reader.required(&fields, "token_url", |reader, node| {
        reader.value(node, url_with_query(node, REMEDY))
    });
    let client_id =
        reader.required(&fields, "client_id", |reader, node| reader.line(node, "the client's id"));
    let client_secret = secret(reader, &fields, "client_secret", "client_secret_file");
    let scope = reader.optional(&fields, "scope", |reader, node| reader.line(node, "a scope"));
    let audience =
        reader.optional(&fields, "audience", |reader, node| reader.line(node, "an audience"));
    let client_auth = reader.optional(&fields, "client_auth", |reader, node| {
        let value = text(node, CLIENT_AUTH).and_then(|text| match text {
            "body" => Ok(ClientAuth::Body),
            "basic" => Ok(ClientAuth::Basic),
            other => Err(ConfigErrorKind::Unparsable {
                found: Excerpt::new(other),
                expected: CLIENT_AUTH,
            }),
        });
        reader.value(node, value)
    });
    Some(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope,
        audience,
        client_auth: client_auth.unwrap_or_default(),
    })
}

/// A secret without control characters, from `key` or from the file at `file_key`. It may be empty
/// in `key`.
fn secret(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Secret> {
    secret_with(reader, fields, [key, file_key], "", plain_secret)
}

fn plain_secret(reader: &mut Reader, node: &Node, _: &str, secret: &str) -> Option<Secret> {
    if secret.contains(char::is_control) {
        return reader.value(node, Err(ConfigErrorKind::ControlCharacterInSecret));
    }
    Some(secret.into())
}

/// A secret that is sent in a header, after `prefix`; never empty.
fn header_secret(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &'static str,
    file_key: &'static str,
    prefix: &str,
) -> Option<Secret> {
    secret_with(reader, fields, [key, file_key], prefix, header_value)
}

fn secret_with(
    reader: &mut Reader,
    fields: &Fields<'_>,
    [key, file_key]: [&'static str; 2],
    prefix: &str,
    check: impl Fn(&mut Reader, &Node, &str, &str) -> Option<Secret>,
) -> Option<Secret> {
    if fields.has(file_key) {
        reader.refuse_beside(fields, key, file_key);
        return reader.optional(fields, file_key, |reader, node| {
            let secret = reader.value(node, secret_file(node))?;
            check(reader, node, prefix, &secret)
        });
    }
    if !fields.has(key) {
        let detail = format!("`{key}` or `{file_key}` is missing; add one of them");
        reader.report(fields.position, ConfigErrorKind::Detail(detail));
    }
    reader.optional(fields, key, |reader, node| {
        let secret = reader.value(node, text(node, "text"))?;
        check(reader, node, prefix, secret)
    })
}

/// The value of a header: `prefix` and `secret`.
fn header_value(reader: &mut Reader, node: &Node, prefix: &str, secret: &str) -> Option<Secret> {
    let value = format!("{prefix}{secret}");
    let checked = if secret.is_empty() {
        Err(ConfigErrorKind::Empty { expected: "the value" })
    } else {
        check_header_value(&value)
    };
    reader.value(node, checked).map(|()| value.into())
}
