//! Masks secrets that an answer repeats.

mod spelling;

use headers::authorization::{Authorization, Credentials as _};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::ExposeSecret;

use self::spelling::{MIN_SECRET_CHARS, spelled_len};
use crate::config::{Auth, Config, Secret};
use crate::request::form_encoded;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Replaces secrets in texts, however they are spelled there.
pub(crate) struct Mask {
    secrets: Vec<Secret>,
}

impl Mask {
    /// Masks the configured secrets and these tokens, also as they are encoded for Basic auth.
    pub(crate) fn new(config: &Config, tokens: &[Secret]) -> Self {
        let named = config.upstreams.iter().map(|named| &named.settings);
        let mut secrets = Vec::new();
        for upstream in std::iter::once(&config.upstream).chain(named) {
            if let (Some(username), Some(password)) = (&upstream.username, &upstream.password) {
                add_basic(username, password.expose_secret(), &mut secrets);
            }
            add_secrets(upstream.auth.as_ref(), &mut secrets);
        }
        Self::of(secrets, tokens)
    }

    /// Masks the secrets of these credentials and these tokens.
    pub(crate) fn of_auth(auth: Option<&Auth>, tokens: &[Secret]) -> Self {
        let mut secrets = Vec::new();
        add_secrets(auth, &mut secrets);
        Self::of(secrets, tokens)
    }

    /// Masks the values of this URL's query, too, which may be a key of the caller.
    pub(crate) fn and_query(self, url: &Url) -> Self {
        let mut secrets = Vec::new();
        for pair in url.query().unwrap_or_default().split('&') {
            // A key may stand there alone.
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            let plain = value.replace('+', " ");
            secrets.push(percent_decode_str(value).decode_utf8_lossy().into_owned());
            secrets.push(percent_decode_str(&plain).decode_utf8_lossy().into_owned());
            secrets.push(value.to_owned());
        }
        Self::of(secrets, &self.secrets)
    }

    fn of(mut secrets: Vec<String>, tokens: &[Secret]) -> Self {
        secrets.extend(tokens.iter().map(|token| token.expose_secret().to_owned()));
        secrets.retain(|secret| secret.chars().count() >= MIN_SECRET_CHARS);
        secrets.sort_unstable();
        secrets.dedup();
        Self { secrets: secrets.into_iter().map(Secret::from).collect() }
    }

    /// The text without the secrets.
    pub(crate) fn apply(&self, text: &str) -> String {
        self.begin(text, usize::MAX)
    }

    /// The begin of the text without the secrets: at least so many bytes, if there are.
    pub(crate) fn begin(&self, text: &str, bytes: usize) -> String {
        let mut masked = String::with_capacity(text.len().min(bytes));
        let mut rest = text;
        while masked.len() < bytes
            && let Some(first) = rest.chars().next()
        {
            let secrets = self.secrets.iter().map(ExposeSecret::expose_secret);
            let longest = secrets.filter_map(|secret| spelled_len(rest, secret)).max();
            if let Some(length) = longest {
                masked.push_str(MASK);
                rest = &rest[length..];
            } else {
                masked.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        masked
    }
}

/// Adds a password, as it is and as it is encoded for Basic auth.
fn add_basic(username: &str, password: &str, secrets: &mut Vec<String>) {
    let header = Authorization::basic(username, password).0.encode();
    secrets.extend(header.to_str().ok().and_then(|text| Some(text.split_once(' ')?.1.into())));
    secrets.push(password.to_owned());
}

fn add_secrets(auth: Option<&Auth>, secrets: &mut Vec<String>) {
    match auth {
        Some(Auth::Basic { username, password }) => {
            add_basic(username, password.expose_secret(), secrets);
        }
        Some(Auth::Bearer { token }) => secrets.push(token.expose_secret().to_owned()),
        Some(Auth::Headers(headers)) => {
            for header in headers {
                let value = header.value.expose_secret();
                let bare = value.strip_prefix(&header.prefix).unwrap_or(value);
                secrets.push(bare.to_owned());
                // A scheme may stand in the value, too.
                secrets.extend(bare.split_once(' ').map(|(_, value)| value.trim().to_owned()));
            }
        }
        Some(Auth::OAuth2(oauth2)) => {
            let (id, secret) = (&oauth2.client_id, oauth2.client_secret.expose_secret());
            add_basic(id, secret, secrets);
            let (id, secret) = (form_encoded(id).to_string(), form_encoded(secret).to_string());
            add_basic(&id, &secret, secrets);
        }
        Some(Auth::None) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_yaml;

    fn mask(auth: &str, tokens: &[Secret]) -> Mask {
        let text = format!(
            "upstreams:\n  a: {{ base_url: 'http://a.example', auth: {{ basic: {{ username: u, \
             password: hunter2 }} }} }}\n  b: {{ base_url: 'http://b.example', auth: {auth} }}\n\
             sources: [ {{ name: x, upstream: a, path: /, identity: i }} ]\nidentities: []\n",
        );
        Mask::new(&from_yaml("test", &text).unwrap(), tokens)
    }

    #[test]
    fn secrets_are_masked_as_they_are_and_encoded() {
        let auth = "{ headers: { K: { value: t0ken, prefix: 'Token ' }, Short: '1', \
                    Authorization: 'Key abc-def' } }";
        let mask = mask(auth, &["issued".into()]);
        assert_eq!(
            mask.apply("hunter2 dTpodW50ZXIy Token t0ken 1 other issuedissued abc-def, hunt…"),
            "*** *** Token *** 1 other ****** ***, ***…"
        );
    }

    #[test]
    fn the_secret_of_an_oauth2_client_is_masked_as_both_forms_of_basic() {
        let auth = "{ oauth2: { token_url: 'http://h/', client_id: 'a b', client_secret: 's+cret' \
                    } }";
        // base64 of `a b:s+cret`, and of `a%20b:s%2Bcret`.
        let text = "s+cret s%2Bcret YSBiOnMrY3JldA== YSUyMGI6cyUyQmNyZXQ=";
        assert_eq!(mask(auth, &[]).apply(text), "*** *** *** ***");
    }

    #[test]
    fn the_values_of_a_query_are_masked_as_they_are_and_decoded() {
        let url = "http://h/in?apikey=s%2Bcr/t+1&n=100&token=t0ken=&al0ne".parse().unwrap();
        let mask = mask("{ none: {} }", &["issued".into()]).and_query(&url);
        assert_eq!(
            mask.apply("s%2Bcr/t+1, s+cr/t+1, s+cr/t 1; t0ken= n=100 al0ne issued hunter2"),
            "***, ***, ***; *** n=100 *** *** ***"
        );
    }
}
