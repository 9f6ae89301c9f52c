//! A gateway in this process with users and tokens from files.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use incident_gateway::config::{self, Config};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use tokio::time::sleep;

use super::client::{Answer, Client};
use super::gateway::{Gateway, good_upstream, quick};
use super::scripted_upstream::ScriptedUpstream;

/// The users, with their passwords.
pub const USERS: [(&str, &str); 2] = [("ann", "ann's password"), ("Zoë", "пароль")];

/// The tokens, with their names and scopes. In the data of [`super::gateway::GOOD`], 100 is an
/// employee.
pub const TOKENS: [(&str, &str, &str); 3] = [
    ("ops", "token-of-ops", "all"),
    ("employee", "token-of-an-employee", "self=100"),
    ("prometheus", "token-of-prometheus", "metrics"),
];

/// The cost of the users' hashes.
const COST: u32 = 4;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A gateway, with the folder of its files.
pub struct ProtectedGateway {
    pub gateway: Gateway,
    _files: TempDir,
    _upstream: ScriptedUpstream,
}

impl ProtectedGateway {
    /// With [`USERS`] and [`TOKENS`], and what else the YAML says.
    pub async fn start(yaml: &str) -> Self {
        let started = Self::configured(yaml, |_| {}).await;
        started.wait_until_complete().await;
        started
    }

    /// The same with another configuration, perhaps without data.
    pub async fn configured(yaml: &str, change: impl FnOnce(&mut Config)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (users, tokens) = (files.path().join("users"), files.path().join("tokens"));
        let user = |(name, password): (&str, &str)| {
            format!("{name}:{}\n", bcrypt::hash(password, COST).unwrap())
        };
        fs::write(&users, USERS.map(user).concat()).unwrap();
        let token = |(name, token, scope): (&str, &str, &str)| {
            format!("{name}:{}:{scope}\n", sha256(token))
        };
        fs::write(&tokens, TOKENS.map(token).concat()).unwrap();
        let yaml = format!(
            "auth: {{ users_file: {}, tokens_file: {} }}\n{yaml}",
            users.display(),
            tokens.display()
        );
        let Config { sign_in, admin, allowed_hosts, .. } =
            config::from_yaml("gateway.yaml", &yaml).unwrap();
        let upstream = good_upstream().await;
        let mut config = Config { sign_in, admin, allowed_hosts, ..quick(&upstream.base_url()) };
        change(&mut config);
        Self { gateway: Gateway::start(&config), _files: files, _upstream: upstream }
    }

    async fn wait_until_complete(&self) {
        let token = bearer(TOKENS[0].1);
        loop {
            let answer = self.get_as(&token, "/sources").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            if answer.json()["completeness"] == "complete" {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks with this value of `Authorization`.
    pub async fn get_as(&self, authorization: &str, path: &str) -> Answer {
        self.gateway.get_with(path, &[("Authorization", authorization)]).await
    }

    /// The same from this address of the loopback network.
    pub async fn get_from(&self, source: IpAddr, authorization: &str, path: &str) -> Answer {
        let address = self.gateway.running.address;
        let mut client = Client::connect_from(source, address).await.unwrap();
        client.get(path, &[("Authorization", authorization)]).await.unwrap()
    }
}

/// The hexadecimal digits of the digest of a token.
pub fn sha256(token: &str) -> String {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

/// The value of `Authorization` of a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The value of `Authorization` of a token.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// An address of the loopback network; each number has one of its own.
pub fn loopback(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x7f01_0000 + number))
}
