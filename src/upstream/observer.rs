//! Shows the requests and the answers of a source to its caller, unchanged.

use std::fmt;
use std::sync::Arc;

use super::Answer;
use crate::request::Request;

/// The longest body of an answer with a bad status that an observer sees.
pub(super) const MAX_REFUSAL_BYTES: u64 = 64 << 10;

/// Sees the calls of a source, one after the other.
pub trait CallObserver: Send + Sync {
    /// A call is about to be made. The request has no credentials.
    fn asked(&self, request: &Request);

    /// A whole answer was received; it is not verified yet.
    fn answered(&self, answer: &Answer);

    /// An answer with a bad status was received. `body` is empty if it is longer than 64 KiB or
    /// could not be read.
    fn refused(&self, body: &[u8]);

    /// A call is about to be made with this access token. The answer may repeat it.
    fn authorized(&self, token: &str);

    /// The list has ended because the address or cursor of its next page was used before.
    fn repeated(&self);
}

/// An optional observer of calls.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn CallObserver>>);

impl Observer {
    /// Shows calls to `observer`.
    #[must_use]
    pub fn new(observer: Arc<dyn CallObserver>) -> Self {
        Self(Some(observer))
    }

    /// Whether there is one.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn refused(&self, body: &[u8]) {
        if let Some(observer) = &self.0 {
            observer.refused(body);
        }
    }

    pub(super) fn authorized(&self, token: &str) {
        if let Some(observer) = &self.0 {
            observer.authorized(token);
        }
    }

    /// Shows that a list has ended because the address or cursor of its next page was used before.
    pub(crate) fn repeated(&self) {
        if let Some(observer) = &self.0 {
            observer.repeated();
        }
    }

    pub(super) fn asked(&self, request: &Request) {
        if let Some(observer) = &self.0 {
            observer.asked(request);
        }
    }

    pub(super) fn answered(&self, answer: &Answer) {
        if let Some(observer) = &self.0 {
            observer.answered(answer);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}
