//! Checks the header `Authorization` by the users, the tokens and the issuer of one configuration.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http::HeaderValue;

use super::attempts::{Address, Limited};
use super::authorization::{Authorization, BearerToken, Malformed, UserPass};
use super::grant::Credential;
use super::jwt::{Verification, Verifier};
use super::known_tokens::KnownTokens;
use super::password_checks::{PasswordChecks, Refused};
use super::passwords::{Passwords, Work};
use super::{AccessMetrics, Decision, Failure, Grant, Refusal, SetupError, TokenError};
use crate::clock::WallClock;
use crate::config::{self, Config};

/// The ways to sign in of one configuration, at least one.
#[derive(Debug)]
pub(super) struct SignIn {
    passwords: Option<Arc<Passwords>>,
    tokens: Option<KnownTokens>,
    jwt: Option<Arc<Verifier>>,
    checks: Arc<PasswordChecks>,
    /// How long a password may wait until it is checked: answers are due within this.
    response_budget: Duration,
    metrics: AccessMetrics,
}

impl SignIn {
    /// `previous` hands over the keys of an issuer that has not changed, `checks` the failed
    /// attempts.
    pub(super) fn new(
        config: &Config,
        previous: Option<&Self>,
        checks: Arc<PasswordChecks>,
        metrics: &AccessMetrics,
    ) -> Result<Self, SetupError> {
        let config::SignIn { users, tokens, jwt } = &config.sign_in;
        let passwords = users
            .as_ref()
            .map(|users| Arc::new(Passwords::new(&users.content, checks.pick.clone())));
        let tokens = tokens.as_ref().map(|tokens| KnownTokens::new(&tokens.content));
        let jwt = match jwt {
            None => None,
            Some(settings) => {
                let unchanged = previous
                    .and_then(|previous| previous.jwt.as_ref())
                    .filter(|verifier| verifier.is_of(settings));
                Some(match unchanged {
                    Some(verifier) => Arc::clone(verifier),
                    None => Verifier::new(settings, WallClock::system())?,
                })
            }
        };
        let (response_budget, metrics) = (config.response_budget, metrics.clone());
        Ok(Self { passwords, tokens, jwt, checks, response_budget, metrics })
    }

    /// Who sends a request from `address`.
    pub(super) fn check(
        self: &Arc<Self>,
        authorization: Authorization<'_>,
        address: Address,
    ) -> Decision {
        match authorization {
            Authorization::None => {
                self.metrics.record(Failure::Missing);
                Decision::Ready(Err(Refusal::Unauthorized { has_token: false }))
            }
            Authorization::Basic(credentials) => match &self.passwords {
                Some(passwords) => self.check_password(passwords, credentials, address),
                None => self.refuse(Failure::Malformed, address, false),
            },
            Authorization::Bearer(token) => self.check_token(token, address),
            Authorization::Malformed(Malformed { has_token }) => {
                self.refuse(Failure::Malformed, address, has_token)
            }
            Authorization::Repeated => Decision::Ready(Err(Refusal::RepeatedAuthorization)),
        }
    }

    fn check_password(
        self: &Arc<Self>,
        passwords: &Arc<Passwords>,
        credentials: UserPass,
        address: Address,
    ) -> Decision {
        if let Some(grant) = passwords.remembered(&credentials) {
            return Decision::Ready(Ok(Arc::clone(grant)));
        }
        if let Some(retry_after) = self.checks.attempts.limited_for(address) {
            self.metrics.record(Failure::Limited);
            return Decision::Ready(Err(Refusal::TooManyAttempts { retry_after }));
        }
        let sign_in = Arc::clone(self);
        let passwords = Arc::clone(passwords);
        Decision::Pending(
            async move { sign_in.compare_password(passwords, credentials, address).await }.boxed(),
        )
    }

    async fn compare_password(
        self: &Arc<Self>,
        passwords: Arc<Passwords>,
        credentials: UserPass,
        address: Address,
    ) -> Result<Arc<Grant>, Refusal> {
        let turn =
            self.checks.turn(address, self.response_budget).await.map_err(
                |refused| match refused {
                    Refused::Limited(Limited { retry_after }) => {
                        self.metrics.record(Failure::Limited);
                        Refusal::TooManyAttempts { retry_after }
                    }
                    Refused::Overloaded => Refusal::Overloaded,
                },
            )?;
        // Another request with the same password may have been checked while this one waited.
        if let Some(grant) = passwords.remembered(&credentials) {
            return Ok(Arc::clone(grant));
        }
        let sign_in = Arc::clone(self);
        let check = move || {
            let is_right = passwords.work(&credentials).is_some_and(Work::run);
            if is_right {
                return passwords.remember(&credentials).cloned();
            }
            sign_in.metrics.record(Failure::Password);
            None
        };
        let grant = self.checks.run(turn, check).await;
        grant.ok_or(Refusal::Unauthorized { has_token: false })
    }

    fn check_token(self: &Arc<Self>, token: BearerToken<'_>, address: Address) -> Decision {
        if let Some(grant) = self.tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return Decision::Ready(Ok(Arc::clone(grant)));
        }
        let jwt = self.jwt.as_ref().filter(|_| self.tokens.is_none() || looks_like_jwt(token));
        match jwt.map(|jwt| jwt.verify(token.expose())) {
            Some(Verification::Ready(Ok(grant))) => Decision::Ready(Ok(grant)),
            Some(Verification::Ready(Err(failure))) => self.refuse(failure, address, true),
            Some(Verification::Pending(verification)) => {
                let sign_in = Arc::clone(self);
                Decision::Pending(
                    async move {
                        verification
                            .await
                            .map_err(|failure| sign_in.refusal(failure, address, true))
                    }
                    .boxed(),
                )
            }
            None if self.tokens.is_none() && self.jwt.is_none() => {
                self.refuse(Failure::Malformed, address, true)
            }
            None => self.refuse(Failure::Token, address, true),
        }
    }

    fn refuse(&self, failure: Failure, address: Address, has_token: bool) -> Decision {
        Decision::Ready(Err(self.refusal(failure, address, has_token)))
    }

    /// Counts a failed attempt of an address. A token that could not be checked is none.
    fn refusal(&self, failure: Failure, address: Address, has_token: bool) -> Refusal {
        if failure == Failure::Key && self.jwt.as_ref().is_some_and(|jwt| !jwt.has_keys()) {
            self.metrics.record(failure);
            return Refusal::Unauthorized { has_token };
        }
        match self.checks.attempts.fail(address) {
            Ok(()) => {
                self.metrics.record(failure);
                Refusal::Unauthorized { has_token }
            }
            Err(retry_after) => {
                self.metrics.record(Failure::Limited);
                Refusal::TooManyAttempts { retry_after }
            }
        }
    }

    /// The challenge of each scheme.
    pub(super) fn challenges(&self, error: Option<TokenError>) -> Vec<HeaderValue> {
        let mut challenges = Vec::with_capacity(2);
        if self.passwords.is_some() {
            challenges.push(HeaderValue::from_static(
                r#"Basic realm="incident-gateway", charset="UTF-8""#,
            ));
        }
        if self.tokens.is_some() || self.jwt.is_some() {
            challenges.push(HeaderValue::from_static(match error {
                None => r#"Bearer realm="incident-gateway""#,
                Some(TokenError::InvalidToken) => {
                    r#"Bearer realm="incident-gateway", error="invalid_token""#
                }
                Some(TokenError::InsufficientScope) => {
                    r#"Bearer realm="incident-gateway", error="insufficient_scope""#
                }
            }));
        }
        challenges
    }

    /// Whether the credential of a grant would give the same grant now.
    pub(super) fn still_grants(&self, grant: &Grant) -> bool {
        match grant.credential() {
            Credential::None | Credential::Certificate => false,
            Credential::Password(hash) => {
                let name = grant.principal.as_deref();
                let passwords = self.passwords.as_ref();
                passwords.zip(name).is_some_and(|(passwords, name)| passwords.has(name, hash))
            }
            Credential::Token(digest) => {
                let known = self.tokens.as_ref().and_then(|tokens| tokens.with_digest(*digest));
                known.is_some_and(|known| {
                    known.principal == grant.principal && known.scope == grant.scope
                })
            }
            Credential::Jwt(_) => self.jwt.as_ref().is_some_and(|jwt| jwt.still_grants(grant)),
        }
    }
}

/// Whether a token has the form of a JSON Web Token with a signature: three parts.
fn looks_like_jwt(token: BearerToken<'_>) -> bool {
    token.expose().bytes().filter(|byte| *byte == b'.').count() == 2
}
