//! Classifies failures by reqwest's errors and the answer's head. No other file interprets the
//! statuses of upstreams, except for `retry`.
//!
//! Details quote nothing that the upstream sent, and no URL, which might contain a secret.

use std::error::Error as StdError;
use std::io;

use http::{Method, StatusCode, header};
use reqwest::{Response, Url};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::UpstreamError;
use super::retry_after::retry_after;
use super::setting_names::SettingNames;
use crate::outcome::Outcome;

/// The most redirects within the origin of the base URL that are followed.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Classifies a request that got no answer, or an incomplete one.
/// `peer` names who should have answered.
pub(crate) fn transport(error: &reqwest::Error, peer: &str) -> UpstreamError {
    if error.is_timeout() {
        let detail = if error.is_connect() {
            "no connection could be made in time"
        } else {
            "the connection fell silent"
        };
        return UpstreamError::new(Outcome::Timeout, detail);
    }
    if error.is_connect() {
        let why = if error.is_dns() {
            "its host name could not be resolved"
        } else {
            connect_failure(error)
        };
        return UpstreamError::new(Outcome::Connect, format!("no connection to {peer}: {why}"));
    }
    // With TLS 1.3 an upstream refuses a client certificate only after the handshake.
    let tls = chain(error).find_map(|cause| cause.downcast_ref::<TlsError>());
    if let Some(why) = tls.and_then(refused_client_certificate) {
        return UpstreamError::new(Outcome::Connect, format!("no connection to {peer}: {why}"));
    }
    if let Some(hyper) = chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        let detail = if hyper.is_parse() {
            "the answer is not valid HTTP"
        } else {
            "the connection broke before the answer was whole"
        };
        return UpstreamError::new(Outcome::Body, detail);
    }
    UpstreamError::new(Outcome::Body, "the connection broke before an answer came")
}

fn connect_failure(error: &reqwest::Error) -> &'static str {
    chain(error)
        .find_map(|cause| {
            if let Some(tls) = cause.downcast_ref::<TlsError>() {
                return Some(tls_failure(tls));
            }
            // hyper-util does not export this error's type.
            match cause.to_string().as_str() {
                "tunnel error: proxy authorization required" => {
                    return Some("the proxy asks for credentials, which is not supported");
                }
                "tunnel error: unsuccessful" => return Some("the proxy refused to connect"),
                _ => {}
            }
            match cause.downcast_ref::<io::Error>()?.kind() {
                io::ErrorKind::ConnectionRefused => Some("connection refused"),
                io::ErrorKind::ConnectionReset => Some("connection reset"),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    Some("host unreachable")
                }
                io::ErrorKind::UnexpectedEof => Some("connection closed during the TLS handshake"),
                _ => None,
            }
        })
        .unwrap_or("the connection failed")
}

/// What an alert about the client's certificate means.
fn refused_client_certificate(error: &TlsError) -> Option<&'static str> {
    let TlsError::AlertReceived(alert) = error else { return None };
    match alert {
        AlertDescription::CertificateRequired => {
            Some("it asks for a client certificate; set client_cert_file")
        }
        AlertDescription::AccessDenied
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::UnknownCA
        | AlertDescription::UnsupportedCertificate => {
            Some("it refuses the client certificate; check client_cert_file")
        }
        _ => None,
    }
}

fn tls_failure(error: &TlsError) -> &'static str {
    if let Some(why) = refused_client_certificate(error) {
        return why;
    }
    match error {
        TlsError::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet (is this machine's clock right?)"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host name"
            }
            CertificateError::UnknownIssuer => {
                "its certificate is signed by no known authority; SSL_CERT_FILE names the file of \
                 those that are trusted, and ca_file others"
            }
            CertificateError::Revoked => "its certificate is revoked",
            _ => "its certificate is not valid",
        },
        _ => "the TLS handshake failed (does the port speak https?)",
    }
}

/// An error and its causes. Unlike `source()`, this does not skip the error that an [`io::Error`]
/// wraps.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// Classifies an answer with another status than 200.
pub(super) fn bad_status(
    response: &Response,
    method: &Method,
    base: &Url,
    names: &SettingNames,
) -> UpstreamError {
    let status = response.status();
    let code = status.as_u16();
    let detail = match status {
        _ if status.is_redirection() => redirection(response, method, base, names),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("the upstream refused the credentials ({code}); check {}", names.credentials())
        }
        StatusCode::NOT_FOUND => {
            "the upstream knows no such path (404); check the source's path".to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => "the upstream asks for fewer calls (429)".to_owned(),
        _ if status.is_server_error() => format!("the upstream failed ({code})"),
        _ => format!("the upstream answered {code} instead of 200"),
    };
    let wait = retry_after(status, response.headers());
    // Without a wait a 429 is a failure like others: backoff and breaker decide when to call again.
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS if wait.is_some() => Outcome::RateLimited,
        _ => Outcome::Status,
    };
    UpstreamError::new(kind, detail).with_status(status).with_retry_after(wait)
}

/// The address that a redirect names, if it is one.
pub(super) fn location(response: &Response) -> Option<Url> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}

fn redirection(response: &Response, method: &Method, base: &Url, names: &SettingNames) -> String {
    let not_followed = || format!("not followed (check {})", names.setting("base_url"));
    let what = match location(response) {
        Some(to) if to.origin() == base.origin() && method != Method::GET => {
            format!(
                "it redirects a {method} request, which is not followed; check the source's path"
            )
        }
        Some(to) if to.origin() == base.origin() => {
            format!("it redirects more than {MAX_REDIRECTS} times")
        }
        Some(to) if to.host() == base.host() => {
            format!("it redirects to another scheme or port of its host; {}", not_followed())
        }
        Some(_) => format!("it redirects to another host; {}", not_followed()),
        None => "it answered with a redirection that names no address".to_owned(),
    };
    format!("{what} ({})", response.status().as_u16())
}
