//! The metrics of sign-ins.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why a sign-in failed: the label `reason`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No credentials were sent.
    Missing,
    /// The header, or what it holds, cannot be read.
    Malformed,
    /// The user is unknown, or the password is wrong.
    Password,
    /// The token is unknown.
    Token,
    /// The JWT has expired.
    Expired,
    /// The JWT is not valid yet.
    NotYetValid,
    /// The JWT is of another issuer.
    Issuer,
    /// The JWT is for another audience.
    Audience,
    /// The JWT's signature is wrong.
    Signature,
    /// The JWT's algorithm is not accepted, or not for its key.
    Algorithm,
    /// The JWT's key is unknown, or there are no keys.
    Key,
    /// There is no client certificate, or it names nobody.
    Certificate,
    /// The address has failed too often.
    Limited,
}

impl Failure {
    /// Every reason, ordered by discriminant.
    pub const ALL: [Self; 13] = [
        Self::Missing,
        Self::Malformed,
        Self::Password,
        Self::Token,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::Signature,
        Self::Algorithm,
        Self::Key,
        Self::Certificate,
        Self::Limited,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Password => "password",
            Self::Token => "token",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Signature => "signature",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Limited => "limited",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    reason: &'static str,
}

/// The counters of failed sign-ins. Clones share them.
#[derive(Clone, Debug)]
pub struct AccessMetrics {
    /// Indexed by [`Failure`].
    failures: [Counter; Failure::ALL.len()],
}

impl AccessMetrics {
    /// Registers the family, once for each registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let failures = Family::<FailureLabels, Counter>::default();
        let counter = |reason: Failure| {
            failures.get_or_create_owned(&FailureLabels { reason: reason.as_str() })
        };
        let metrics = Self { failures: Failure::ALL.map(counter) };
        registry.register("auth_failures", "Sign-ins that failed, by why", failures);
        metrics
    }

    /// Counts a failed sign-in.
    pub fn record(&self, failure: Failure) {
        self.failures[failure as usize].inc();
    }
}
