//! Classifies failures by reqwest's errors and the answer's head. No other file interprets the
//! statuses of upstreams, except for `retry`.
//!
//! Details quote nothing that the upstream sent, and no URL, which might contain a secret.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use headers::{Date, Expires, Header as _};
use http::{HeaderMap, StatusCode, header};
use reqwest::{Response, Url};
use rustls::{CertificateError, Error as TlsError};

use super::UpstreamError;
use crate::outcome::Outcome;

/// The longest accepted `Retry-After`; a longer one is reduced to this, so that a mistake of the
/// upstream does not disable a source for years.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The most redirects within the origin of the base URL that are followed.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Classifies a request that got no answer, or an incomplete one.
pub(super) fn transport(error: &reqwest::Error) -> UpstreamError {
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
        return UpstreamError::new(
            Outcome::Connect,
            format!("no connection to the upstream: {why}"),
        );
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

fn tls_failure(error: &TlsError) -> &'static str {
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
                 those that are trusted"
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

/// Classifies an answer by its head: a failure unless the status is 200.
pub(super) fn answer(response: &Response, base: &Url) -> Result<(), UpstreamError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let detail = match status {
        _ if status.is_redirection() => redirection(response, base),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!(
            "the upstream refused the credentials ({}); check ELEVATE_USERNAME and \
             ELEVATE_PASSWORD",
            status.as_u16()
        ),
        StatusCode::NOT_FOUND => {
            "the upstream knows no such path (404); check the source's path".to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => "the upstream asks for fewer calls (429)".to_owned(),
        _ if status.is_server_error() => format!("the upstream failed ({})", status.as_u16()),
        _ => format!("the upstream answered {} instead of 200", status.as_u16()),
    };
    let retry_after = retry_after(response.headers());
    Err(UpstreamError::new(Outcome::Status, detail)
        .with_status(status)
        .with_retry_after(retry_after))
}

fn redirection(response: &Response, base: &Url) -> String {
    const NOT_FOLLOWED: &str = "not followed (check upstream.base_url)";
    let location =
        response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let to = location.and_then(|location| response.url().join(location).ok());
    let what = match to {
        Some(to) if to.origin() == base.origin() => {
            format!("it redirects more than {MAX_REDIRECTS} times")
        }
        Some(to) if to.host() == base.host() => {
            format!("it redirects to another scheme or port of its host; {NOT_FOLLOWED}")
        }
        Some(_) => format!("it redirects to another host; {NOT_FOLLOWED}"),
        None => "it answered with a redirection that names no address".to_owned(),
    };
    format!("{what} ({})", response.status().as_u16())
}

/// How long the upstream asks clients to wait (RFC 9110, section 10.2.3), in seconds or until a
/// date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?;
    let wait = if let Some(seconds) = value.to_str().ok().and_then(|text| text.trim().parse().ok())
    {
        Duration::from_secs(seconds)
    } else {
        let until = SystemTime::from(Expires::decode(&mut std::iter::once(value)).ok()?);
        // Relative to the upstream's clock if it sends `Date`, since the clocks may differ.
        let date = headers
            .get(header::DATE)
            .and_then(|date| Date::decode(&mut std::iter::once(date)).ok());
        until
            .duration_since(date.map_or_else(SystemTime::now, SystemTime::from))
            .unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, header};

    use super::{MAX_RETRY_AFTER, retry_after};

    fn asked(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:00 GMT"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        retry_after(&headers)
    }

    #[test]
    fn reads_seconds_and_every_form_of_date() {
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked(" 120 "), Some(Duration::from_mins(2)));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(asked(date), Some(Duration::from_secs(37)), "{date}");
        }
    }

    #[test]
    fn takes_a_past_date_as_now_and_bounds_a_far_one() {
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("18446744073709551615"), Some(MAX_RETRY_AFTER));
        assert_eq!(asked("Sat, 06 Nov 2094 08:00:00 GMT"), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn ignores_what_is_neither() {
        for bad in ["", "soon", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(asked(bad), None, "{bad:?}");
        }
    }
}
