//! Lets the caller see what is sent and what comes, as it is.

use std::fmt;
use std::sync::Arc;

use super::Answer;
use crate::request::Request;

/// Sees the calls of a source, one after the other.
pub trait CallObserver: Send + Sync {
    /// A call is about to be made. The request has no credentials.
    fn asked(&self, request: &Request);

    /// A whole answer came, which was not verified yet.
    fn answered(&self, answer: &Answer);
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
