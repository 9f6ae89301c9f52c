//! Parses the values of the settings of access control.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;

use super::{CredentialFile, Draft, draft::Files};
use crate::config::error::ConfigErrorKind;
use crate::config::value::{file_path, text, url, url_with_query};
use crate::config::yaml::Node;
use crate::config::{PemFile, files, upstream};
use crate::credentials::{LineError, Tokens, Users};

const CHAIN: &str = "the path of a file with a chain of certificates in PEM";
const KEY: &str = "the path of a file with a private key in PEM";
const CLIENT_CA: &str = "the path of a file with the authorities of client certificates in PEM";
const CA: &str = "the path of a file with certificates in PEM";
const USERS: &str = "the path of a file of users, as `htpasswd -B` writes it";
const TOKENS: &str = "the path of a file of tokens, with lines of NAME:SHA256 or NAME:SHA256:SCOPE";
const ISSUER: &str = "the issuer's URL, as its tokens spell it in `iss`, such as \
    `https://idp.example`";
const AUDIENCE: &str = "the audience that tokens for this gateway have in `aud`";
const CLAIM: &str = "the name of a claim";
const REMEDY: &str = "leave them out: the keys of an issuer are public";

/// The longest issuer, audience or name of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 2048;

type Errors = Vec<ConfigErrorKind>;

/// Reads `tls.cert_file`.
pub(in crate::config) fn cert_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.certificate = pem_file(draft, node, CHAIN, PemFile::chain)?;
    Ok(())
}

/// Reads `tls.key_file`.
pub(in crate::config) fn key_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.key = pem_file(draft, node, KEY, PemFile::key)?;
    Ok(())
}

/// Reads `tls.client_ca_file`.
pub(in crate::config) fn client_ca_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.client_ca = pem_file(draft, node, CLIENT_CA, PemFile::authorities)?;
    Ok(())
}

/// Reads `auth.users_file`.
pub(in crate::config) fn users_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.users = credential_file(draft, node, USERS, Users::parse)?;
    Ok(())
}

/// Reads `auth.tokens_file`.
pub(in crate::config) fn tokens_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.tokens = credential_file(draft, node, TOKENS, Tokens::parse)?;
    Ok(())
}

/// Reads `auth.jwt.issuer`, which is kept as it is spelled: issuers are compared byte by byte.
pub(in crate::config) fn issuer(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    let issuer = line(node, ISSUER)?;
    // The parser of URLs would drop or encode these.
    if issuer.contains(char::is_whitespace) {
        return Err(detail("contains white space; remove it"));
    }
    check_transport(&url(node, REMEDY).map_err(one)?)?;
    draft.issuer = Some(issuer.to_owned());
    Ok(())
}

/// Reads `auth.jwt.audience`.
pub(in crate::config) fn audience(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.audience = Some(line(node, AUDIENCE)?.to_owned());
    Ok(())
}

/// Reads `auth.jwt.jwks_url`; null means discovery.
pub(in crate::config) fn jwks_url(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.jwks_url = None;
    if !node.is_null() {
        let url = url_with_query(node, REMEDY).map_err(one)?;
        check_transport(&url)?;
        draft.jwks_url = Some(url);
    }
    Ok(())
}

/// Reads `auth.jwt.ca_file`; null means the system's authorities alone.
pub(in crate::config) fn ca_file(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.ca = None;
    if !node.is_null() {
        draft.ca = pem_file(draft, node, CA, PemFile::authorities)?;
    }
    Ok(())
}

/// Reads `auth.jwt.proxy`; null means none.
pub(in crate::config) fn proxy(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.proxy = upstream::proxy(node).map_err(one)?;
    Ok(())
}

/// Reads `auth.jwt.employee_claim`.
pub(in crate::config) fn employee_claim(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.employee_claim = Some(line(node, CLAIM)?.to_owned());
    Ok(())
}

/// Reads `auth.jwt.scope_claim`.
pub(in crate::config) fn scope_claim(draft: &mut Draft, node: &Node) -> Result<(), Errors> {
    draft.scope_claim = Some(line(node, CLAIM)?.to_owned());
    Ok(())
}

fn one(kind: ConfigErrorKind) -> Errors {
    vec![kind]
}

fn detail(text: &str) -> Errors {
    vec![ConfigErrorKind::Detail(text.to_owned())]
}

/// A text without control characters.
fn line<'n>(node: &'n Node, expected: &'static str) -> Result<&'n str, Errors> {
    match text(node, expected).map_err(one)? {
        "" => Err(one(ConfigErrorKind::Empty { expected })),
        text if text.contains(char::is_control) => Err(one(ConfigErrorKind::NotALine)),
        text if text.len() > MAX_TEXT_BYTES => {
            Err(detail(&format!("is longer than {MAX_TEXT_BYTES} bytes; shorten it")))
        }
        text => Ok(text),
    }
}

/// Checks that keys cannot be replaced on their way: over `https`, or within this machine.
fn check_transport(url: &Url) -> Result<(), Errors> {
    if url.scheme() == "https" || is_loopback(url) {
        Ok(())
    } else {
        Err(detail(
            "is plain http to another machine, where keys can be replaced on their way; use \
                    https",
        ))
    }
}

/// Whether the host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Reads a PEM file, unless files are skipped.
fn pem_file(
    draft: &Draft,
    node: &Node,
    expected: &'static str,
    read: fn(&str) -> Result<PemFile, ConfigErrorKind>,
) -> Result<Option<PemFile>, Errors> {
    let path = file_path(node, expected).map_err(one)?;
    match draft.files {
        Files::Read => read(path).map(Some).map_err(one),
        Files::Skip => Ok(None),
    }
}

/// Reads a file of users or tokens, unless files are skipped.
fn credential_file<T>(
    draft: &Draft,
    node: &Node,
    expected: &'static str,
    parse: fn(&str) -> Result<T, Vec<LineError>>,
) -> Result<Option<CredentialFile<T>>, Errors> {
    let path = file_path(node, expected).map_err(one)?;
    if draft.files == Files::Skip {
        return Ok(None);
    }
    let text = files::credentials(path.as_ref()).map_err(one)?;
    let in_file = |LineError { line, detail }| ConfigErrorKind::InvalidLine {
        path: path.to_owned(),
        line,
        detail,
    };
    let content =
        parse(&text).map_err(|errors| errors.into_iter().map(in_file).collect::<Vec<_>>())?;
    Ok(Some(CredentialFile { path: PathBuf::from(path), content: Arc::new(content) }))
}
