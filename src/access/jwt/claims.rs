//! Whether the claims of a token, whose signature is verified, are those of a valid one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::members::Members;
use crate::access::Failure;
use crate::config::Jwt;

/// By how much the clocks of the issuer and of this machine may differ.
const LEEWAY_SECONDS: f64 = 30.0;

/// The latest time, the end of the year 9999; an `exp` beyond counts as this.
const MAX_TIME_SECONDS: f64 = 253_402_300_799.0;

/// The longest principal.
const MAX_PRINCIPAL_BYTES: usize = 256;

/// The claims that name the principal: the first that is there does.
const PRINCIPAL_CLAIMS: [&str; 3] = ["sub", "client_id", "azp"];

/// Checks issuer, audience and times, in this order. Returns when the token expires, leeway
/// included.
pub(super) fn check(
    claims: &Members,
    settings: &Jwt,
    now: SystemTime,
) -> Result<SystemTime, Failure> {
    if claims.text("iss") != Some(&settings.issuer) {
        return Err(Failure::Issuer);
    }
    let is_audience = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == settings.audience,
        Some(Value::Array(audiences)) => {
            audiences.iter().any(|audience| audience.as_str() == Some(&settings.audience))
        }
        _ => false,
    };
    if !is_audience {
        return Err(Failure::Audience);
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let expires_at =
        claims.get("exp").and_then(Value::as_f64).ok_or(Failure::Malformed)? + LEEWAY_SECONDS;
    // RFC 7519, section 4.1.4: neither at that time nor later.
    if now >= expires_at {
        return Err(Failure::Expired);
    }
    if let Some(valid_from) = claims.get("nbf") {
        let valid_from = valid_from.as_f64().ok_or(Failure::Malformed)?;
        if now < valid_from - LEEWAY_SECONDS {
            return Err(Failure::NotYetValid);
        }
    }
    let since_epoch = Duration::from_secs_f64(expires_at.clamp(0.0, MAX_TIME_SECONDS));
    Ok(SystemTime::UNIX_EPOCH + since_epoch)
}

/// Whom the token is about. Long names are cut, and control characters, which do not belong into a
/// log, replaced.
pub(super) fn principal(claims: &Members) -> Option<Arc<str>> {
    let mut names = PRINCIPAL_CLAIMS.iter().filter_map(|claim| claims.text(claim));
    let name = names.find(|name| !name.is_empty())?;
    let name = &name[..name.floor_char_boundary(MAX_PRINCIPAL_BYTES)];
    Some(name.replace(char::is_control, "\u{fffd}").into())
}

#[cfg(test)]
mod tests;
