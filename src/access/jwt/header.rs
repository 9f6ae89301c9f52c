//! The header of a token (RFC 7515, section 4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::members::Members;
use crate::access::Failure;

/// The longest token.
pub(super) const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Members that change what the signature or the payload means. They are refused, since none of
/// their extensions is implemented: critical ones, unencoded payloads (RFC 7797), and encryption.
const UNSUPPORTED: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// The values of `typ`, in lower case and without `application/`: a JWT, and an access token
/// (RFC 9068). Tokens for other purposes of the same issuer, such as logout tokens, name others
/// (RFC 8725, section 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// What the header says about the signature. Keys and their addresses (`jwk`, `jku`, `x5c`, `x5u`)
/// are not read.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

impl Header {
    /// Reads the header of a token, and checks that the token has three parts.
    pub(super) fn of(token: &str) -> Result<Self, Failure> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Failure::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed);
        };
        let header = Self::parse(&decode(header)?)?;
        // Now, so that no keys are fetched for what cannot be a token.
        decode(signature)?;
        Ok(header)
    }

    fn parse(json: &[u8]) -> Result<Self, Failure> {
        let members: Members = serde_json::from_slice(json).map_err(|_| Failure::Malformed)?;
        let algorithm = members.text("alg").ok_or(Failure::Malformed)?;
        let algorithm = accepted_algorithm(algorithm).ok_or(Failure::Algorithm)?;
        let is_unsupported = UNSUPPORTED.iter().any(|name| members.has(name));
        let is_nested = members
            .get("cty")
            .is_some_and(|cty| cty.as_str().is_none_or(|cty| is_type(cty, "jwt")));
        let is_token = members.get("typ").is_none_or(|typ| {
            typ.as_str().is_some_and(|typ| TYPES.iter().any(|accepted| is_type(typ, accepted)))
        });
        if is_unsupported || is_nested || !is_token {
            return Err(Failure::Malformed);
        }
        let key_id = match members.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or(Failure::Malformed)?.to_owned()),
        };
        Ok(Self { algorithm, key_id })
    }
}

/// The algorithm of this name, if tokens may have it. Names compare with regard to case.
pub(super) fn accepted_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// Whether two media types are the same; `application/` may be left out (RFC 7515, section 4.1.9).
fn is_type(given: &str, expected: &str) -> bool {
    let prefix = "application/";
    let given = match given.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &given[prefix.len()..],
        _ => given,
    };
    given.eq_ignore_ascii_case(expected)
}

/// Decodes base64url without padding; bits behind the last byte must be zero.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Header, Failure> {
        Header::of(&format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(json)))
    }

    #[test]
    fn the_accepted_algorithms_are_read() {
        let names = ["RS256", "PS256", "ES256", "EdDSA"];
        let algorithms = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
        for (name, algorithm) in names.iter().zip(algorithms) {
            let header = parse(&format!(r#"{{"alg":"{name}","kid":"a"}}"#)).unwrap();
            assert_eq!(header, Header { algorithm, key_id: Some("a".to_owned()) });
        }
        let names =
            ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS384", "rs256", "ES384"];
        for name in names.into_iter().chain(["RS256 ", "ES256K", "RSA-OAEP", "dir"]) {
            let header = parse(&format!(r#"{{"alg":"{name}"}}"#));
            assert_eq!(header, Err(Failure::Algorithm), "{name}");
        }
    }

    #[test]
    fn a_header_with_more_than_a_signature_is_refused() {
        for member in [
            r#""crit":[]"#,
            r#""crit":null"#,
            r#""crit":["exp"]"#,
            r#""crit":["b64"],"b64":false"#,
            r#""b64":true"#,
            r#""enc":"A256GCM""#,
            r#""zip":"DEF""#,
            r#""cty":"JWT""#,
            r#""cty":"application/jwt""#,
            r#""cty":null"#,
            r#""typ":"logout+jwt""#,
            r#""typ":"JOSE""#,
            r#""typ":"""#,
            r#""typ":null"#,
            r#""typ":["JWT"]"#,
            r#""kid":1"#,
            r#""kid":null"#,
            r#""alg":"RS256""#,
            r#""\u0061lg":"RS256""#,
        ] {
            let header = parse(&format!(r#"{{"alg":"RS256",{member}}}"#));
            assert_eq!(header, Err(Failure::Malformed), "{member}");
        }
        for json in ["", "null", "[]", "{}", r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#, "{"] {
            assert_eq!(parse(json), Err(Failure::Malformed), "{json}");
        }
    }

    #[test]
    fn keys_in_the_header_and_usual_types_are_taken() {
        for member in [
            r#""typ":"JWT""#,
            r#""typ":"jwt""#,
            r#""typ":"at+jwt""#,
            r#""typ":"application/at+JWT""#,
            r#""cty":"json""#,
            r#""jku":"https://attacker.test/keys","x5u":"https://attacker.test/chain""#,
            r#""jwk":{"kty":"oct","k":"AAAA"},"x5c":["AAAA"]"#,
        ] {
            assert!(parse(&format!(r#"{{"alg":"RS256",{member}}}"#)).is_ok(), "{member}");
        }
    }

    #[test]
    fn only_three_strictly_encoded_parts_are_a_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        assert!(Header::of(&format!("{header}.e30.AAAA")).is_ok());
        for token in [
            String::new(),
            "..".to_owned(),
            header.clone(),
            format!("{header}.e30"),
            format!("{header}.e30.AAAA."),
            format!(".{header}.e30.AAAA"),
            format!("{header}.e30.AAAA.AAAA.AAAA"),
            format!("{header}=.e30.AAAA"),
            format!("{header}.e30.AAA="),
            // Bits that no byte has.
            format!("{header}.e30.AAB"),
            format!("{header}.e30.AA+/"),
            format!("{header}.e30.AA AA"),
            format!("{header}.e30.AAAA\n"),
            format!("{header}.e30.{}", "A".repeat(MAX_TOKEN_BYTES)),
        ] {
            assert_eq!(Header::of(&token), Err(Failure::Malformed), "{token}");
        }
    }
}
