//! Fetches an issuer's keys: from its `jwks_url`, or where `OpenID` Connect Discovery 1.0 finds
//! them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use tokio::time::timeout;

use super::key_set::KeySet;
use crate::access::SetupError;
use crate::config::Jwt;
use crate::upstream::{BuildError, ConnectionSettings, build_client, transport_failure};

/// The deadline of one call: connecting, headers and the whole body.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What follows the issuer in the address of its configuration.
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Who answers, in messages.
const PEER: &str = "the issuer";

/// Where an issuer's keys are fetched.
#[derive(Debug)]
pub(super) struct KeyEndpoint {
    settings: Arc<Jwt>,
    /// Of the keys with `jwks_url`, of the issuer's configuration without.
    url: Url,
    client: Client,
}

/// The issuer's configuration (`OpenID` Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovery<'a> {
    #[serde(borrow)]
    issuer: Cow<'a, str>,
    #[serde(borrow)]
    jwks_uri: Cow<'a, str>,
}

impl KeyEndpoint {
    pub(super) fn new(settings: Arc<Jwt>) -> Result<Self, SetupError> {
        let (setting, url) = match &settings.jwks_url {
            Some(url) => ("auth.jwt.jwks_url", Ok(url.clone())),
            None => {
                let issuer = settings.issuer.strip_suffix('/').unwrap_or(&settings.issuer);
                ("auth.jwt.issuer", format!("{issuer}{DISCOVERY_PATH}").parse())
            }
        };
        let error = |detail: &str| SetupError { setting, detail: detail.to_owned() };
        let url: Url = url.map_err(|_| error("this is no URL; write it as https://idp.example"))?;
        if !settings.has_safe_way_to(&url) {
            return Err(error(
                "keys are fetched over https://, or from this machine without a proxy elsewhere",
            ));
        }
        let client = client(&settings, &url).map_err(|why| error(&why))?;
        Ok(Self { settings, url, client })
    }

    /// Fetches the keys, once. The error says what is wrong and quotes nothing that was answered.
    pub(super) async fn fetch(&self) -> Result<KeySet, String> {
        if self.settings.jwks_url.is_some() {
            return fetch_keys(&self.client, &self.url).await;
        }
        let answer = get(&self.client, &self.url).await?;
        let discovery: Discovery<'_> = serde_json::from_slice(&answer).map_err(|_| {
            "its configuration is not a JSON object with `issuer` and `jwks_uri`".to_owned()
        })?;
        if discovery.issuer != *self.settings.issuer {
            return Err("its configuration names another issuer; set auth.jwt.issuer to exactly \
                        what it names, with regard to a slash at the end"
                .to_owned());
        }
        let url: Url =
            discovery.jwks_uri.parse().map_err(|_| "its `jwks_uri` is no URL".to_owned())?;
        if !self.settings.has_safe_way_to(&url) {
            return Err("its `jwks_uri` is not https://".to_owned());
        }
        if url.scheme() == self.url.scheme() {
            return fetch_keys(&self.client, &url).await;
        }
        fetch_keys(&client(&self.settings, &url)?, &url).await
    }
}

async fn fetch_keys(client: &Client, url: &Url) -> Result<KeySet, String> {
    Ok(KeySet::parse(&get(client, url).await?)?)
}

fn client(settings: &Jwt, url: &Url) -> Result<Client, String> {
    let connection = ConnectionSettings {
        ca: settings.ca.as_ref(),
        client_certificate: None,
        proxy: settings.proxy.as_ref(),
        connect_timeout: CALL_TIMEOUT,
    };
    // Calls are so far apart that a pooled connection would usually have been closed.
    build_client(connection, url, |builder| builder.pool_max_idle_per_host(0)).map_err(|error| {
        match error {
            BuildError::NoTrustRoots => "no CA certificates were found; install the system's \
                (package ca-certificates), or name a PEM file in SSL_CERT_FILE or \
                auth.jwt.ca_file"
                .to_owned(),
            BuildError::Other(why) => format!("the HTTP client could not be set up: {why}"),
        }
    })
}

/// The whole body of a successful answer.
async fn get(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let timed = timeout(CALL_TIMEOUT, call(client, url)).await;
    let result = timed.unwrap_or_else(|_| {
        Err(format!("no whole answer came within {} s", CALL_TIMEOUT.as_secs()))
    });
    result.map_err(|why| format!("{}: {why}", url.path()))
}

async fn call(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let transport = |error: &reqwest::Error| transport_failure(error, PEER).detail;
    let request = client
        .get(url.clone())
        .header(
            header::ACCEPT,
            HeaderValue::from_static("application/json, application/jwk-set+json"),
        )
        .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    check_head(&response)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the answer is larger than 1 MiB".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn check_head(response: &Response) -> Result<(), String> {
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("it redirects, which is not followed ({})", status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(format!("it answered {} instead of 200", status.as_u16()));
    }
    let coding = response.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err("the answer is compressed, which was not asked for".to_owned());
    }
    Ok(())
}
