//! Masks secrets that an upstream repeats in its answers.

use headers::authorization::{Authorization, Credentials as _};
use secrecy::ExposeSecret as _;

use crate::config::{Auth, Config, Upstream};

/// What stands in place of a secret.
const MASK: &str = "***";

/// Shorter secrets stand in texts by chance, and masking them would tell them.
const MIN_SECRET_CHARS: usize = 4;

/// Replaces the configured secrets in a text, also as they are encoded for Basic auth.
pub(super) fn mask(config: &Config, text: &str) -> String {
    let named = config.upstreams.iter().map(|named| &named.settings);
    let secrets = std::iter::once(&config.upstream).chain(named).flat_map(secrets);
    let known = secrets.filter(|secret| secret.chars().count() >= MIN_SECRET_CHARS);
    known.fold(text.to_owned(), |text, secret| text.replace(&secret, MASK))
}

fn secrets(upstream: &Upstream) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut basic = |username: &str, password: &str| {
        let header = Authorization::basic(username, password).0.encode();
        secrets.extend(header.to_str().ok().and_then(|text| Some(text.split_once(' ')?.1.into())));
        secrets.push(password.to_owned());
    };
    if let (Some(username), Some(password)) = (&upstream.username, &upstream.password) {
        basic(username, password.expose_secret());
    }
    match &upstream.auth {
        Some(Auth::Basic { username, password }) => basic(username, password.expose_secret()),
        Some(Auth::Bearer { token }) => secrets.push(token.expose_secret().to_owned()),
        Some(Auth::Headers(headers)) => {
            let bare = headers
                .iter()
                .filter_map(|header| header.value.expose_secret().strip_prefix(&header.prefix));
            secrets.extend(bare.map(ToOwned::to_owned));
        }
        Some(Auth::OAuth2(oauth2)) => {
            let secret = oauth2.client_secret.expose_secret();
            basic(&oauth2.client_id, secret);
        }
        Some(Auth::None) | None => {}
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_yaml;

    #[test]
    fn secrets_are_masked_as_they_are_and_encoded() {
        let config = from_yaml(
            "test",
            "upstreams:\n  a: { base_url: 'http://a.example', auth: { basic: { username: u, \
             password: hunter2 } } }\n  b: { base_url: 'http://b.example', auth: { headers: { K: \
             { value: t0ken, prefix: 'Token ' }, Short: '1' } } }\nsources: [ { name: x, \
             upstream: a, path: /, identity: i } ]\nidentities: []\n",
        );
        let config = config.unwrap();
        let text = "hunter2 dTpodW50ZXIy Token t0ken 1 other";
        assert_eq!(mask(&config, text), "*** *** Token *** 1 other");
    }
}
