//! What forwards are sending, which must not be deleted meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::ForwardClaim;
use crate::config::Selection;

/// The claims of the forwards that are configured. A record that is deleted before it was sent
/// counts as a dead letter, so it must not be sent as well.
#[derive(Debug, Default)]
pub struct Claims {
    /// Held for reading while records are read to be sent, and for writing while some are deleted.
    deletion: RwLock<()>,
    claims: Mutex<Vec<ForwardClaim>>,
}

/// The right to delete, with the claims to be respected.
pub struct Deletion<'a> {
    /// The claims.
    pub claims: Vec<ForwardClaim>,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Claims {
    /// Sets which forwards are configured. The claims of those that stay are kept.
    pub fn configure<'a>(&self, forwards: impl Iterator<Item = (&'a str, &'a Selection)>) {
        let mut claims = self.lock();
        let claimed = |name: &str| {
            let claim = claims.iter().find(|claim| claim.name == name);
            claim.map(|claim| (claim.sending_through, claim.done.clone())).unwrap_or_default()
        };
        let configured = forwards.map(|(name, selection)| {
            let (sending_through, done) = claimed(name);
            let (name, selection) = (name.to_owned(), selection.clone());
            ForwardClaim { name, selection, sending_through, done }
        });
        *claims = configured.collect();
    }

    /// Waits until no record is being deleted. Until the guard is dropped none is; records that are
    /// read meanwhile are claimed before that.
    pub async fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.deletion.read().await
    }

    /// Claims the records of a forward above its position up to this number; 0 claims none.
    pub fn claim(&self, forward: &str, through: i64) {
        self.change(forward, |claim| claim.sending_through = through);
    }

    /// Sets which records of a forward above its position are done, in order.
    pub fn set_done(&self, forward: &str, done: Vec<i64>) {
        self.change(forward, |claim| claim.done = done);
    }

    fn change(&self, forward: &str, change: impl FnOnce(&mut ForwardClaim)) {
        let mut claims = self.lock();
        if let Some(claim) = claims.iter_mut().find(|claim| claim.name == forward) {
            change(claim);
        }
    }

    /// Waits until no records are being read to be sent. Until the result is dropped none are.
    pub async fn deleting(&self) -> Deletion<'_> {
        let guard = self.deletion.write().await;
        Deletion { claims: self.lock().clone(), _guard: guard }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ForwardClaim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn claims_stay_with_their_forwards_and_reading_excludes_deleting() {
        let claims = Claims::default();
        let (all, unattributed) =
            (Selection::default(), Selection { unattributed: true, ..Selection::default() });
        claims.configure([("siem", &all), ("pager", &all)].into_iter());
        let reading = claims.reading().await;
        assert!(
            claims.reading().now_or_never().is_some() && claims.deleting().now_or_never().is_none()
        );
        claims.claim("siem", 7);
        claims.claim("unknown", 8);
        claims.set_done("siem", vec![5, 9]);
        drop(reading);
        claims.configure([("siem", &unattributed)].into_iter());
        let deletion = claims.deleting().await;
        let expected = ForwardClaim {
            name: "siem".to_owned(),
            selection: unattributed,
            sending_through: 7,
            done: vec![5, 9],
        };
        assert_eq!(deletion.claims, [expected]);
        assert!(claims.reading().now_or_never().is_none());
    }
}
