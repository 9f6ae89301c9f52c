//! Ends a stream once its client may not read it any more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::access::{Access, Grant};
use crate::http::connection::ConnectionHandle;

/// How often a grant that ends by itself is checked. Its issuer may withdraw the key of its token,
/// and the wall clock may be set.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// A client's grant, and the access control that decides for how long it holds.
pub(super) struct StreamGrant {
    grant: Arc<Grant>,
    /// Has the client's certificate.
    connection: Option<ConnectionHandle>,
    accesses: watch::Receiver<Arc<Access>>,
}

impl StreamGrant {
    /// The grant of a request, under the newest of `accesses`.
    pub(super) fn new(
        grant: Arc<Grant>,
        connection: Option<ConnectionHandle>,
        accesses: watch::Receiver<Arc<Access>>,
    ) -> Self {
        Self { grant, connection, accesses }
    }

    /// Whether the grant holds now.
    pub(super) fn holds(&self) -> bool {
        let has_expired = self.grant.expires_at.is_some_and(|at| at <= SystemTime::now());
        let certificate =
            self.connection.as_ref().and_then(ConnectionHandle::certificate_of_handshake);
        !has_expired && self.accesses.borrow().still_grants(&self.grant, certificate)
    }

    /// Completes once the grant has ended.
    pub(super) async fn ended(&mut self) {
        loop {
            self.accesses.mark_unchanged();
            if !self.holds() {
                return;
            }
            let next_check = self.grant.expires_at.map(|at| {
                let left = at.duration_since(SystemTime::now()).unwrap_or_default();
                left.min(CHECK_INTERVAL)
            });
            tokio::select! {
                // An error means that the process is exiting.
                changed = self.accesses.changed() => if changed.is_err() { return },
                () = sleep(next_check.unwrap_or_default()), if next_check.is_some() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn stream_grant(lifetime: Option<Duration>) -> (watch::Sender<Arc<Access>>, StreamGrant) {
        let (sender, accesses) = watch::channel(Access::open());
        let mut grant = Grant::open();
        grant.expires_at = lifetime.map(|lifetime| SystemTime::now() + lifetime);
        (sender, StreamGrant::new(Arc::new(grant), None, accesses))
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_without_an_end_holds_until_access_control_says_otherwise() {
        let (sender, mut grant) = stream_grant(None);
        assert!(grant.holds());
        sender.send_replace(Access::open());
        assert_eq!(grant.ended().now_or_never(), None);
        drop(sender);
        grant.ended().await;
    }

    #[tokio::test]
    async fn a_grant_ends_by_the_wall_clock() {
        let (_sender, mut grant) = stream_grant(Some(Duration::from_millis(50)));
        assert!(grant.holds());
        grant.ended().await;
        assert!(!grant.holds());
        let (_sender, grant) = stream_grant(Some(Duration::ZERO));
        assert!(!grant.holds());
    }
}
