//! When a connection must end although its client would go on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{ListenerSettings, Phase};
use crate::access::AuthorityId;

/// How long kept-alive connections stay open after the listener has closed. Closing them at once
/// could lose a request that is already on its way. Over HTTP/1 its response says `Connection:
/// close`.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(500);

/// What a connection watches.
pub(super) struct EndSignals {
    phase: watch::Receiver<Phase>,
    /// The settings, and the client authority of the connection's handshake; `None` for a
    /// connection without TLS, for which neither can change.
    authority: Option<(watch::Receiver<ListenerSettings>, Option<AuthorityId>)>,
}

impl EndSignals {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase, authority: None }
    }

    /// The same for a connection whose handshake asked for certificates of this authority.
    pub(super) fn of_authority(
        self,
        settings: watch::Receiver<ListenerSettings>,
        authority: Option<AuthorityId>,
    ) -> Self {
        Self { authority: Some((settings, authority)), ..self }
    }

    pub(super) fn phase(&self) -> &watch::Receiver<Phase> {
        &self.phase
    }

    /// Completes once the process has been asked to stop.
    pub(super) async fn draining(&self) {
        // An error means that the sender is gone: the process is exiting.
        let _ = self.phase.clone().wait_for(|phase| *phase != Phase::Serving).await;
    }

    /// Completes [`CLOSE_DELAY`] after the listener has closed.
    pub(super) async fn closed(&self) {
        closing(self.phase.clone()).await;
        sleep(CLOSE_DELAY).await;
    }

    /// Completes once the client authority is another one than in the connection's handshake.
    pub(super) async fn authority_replaced(&self) {
        if let Some((settings, authority)) = &self.authority {
            let is_replaced = |settings: &ListenerSettings| {
                settings.tls.as_ref().is_some_and(|tls| tls.authority() != *authority)
            };
            if settings.clone().wait_for(is_replaced).await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Completes once the phase is [`Phase::Closing`].
pub(super) async fn closing(mut phase: watch::Receiver<Phase>) {
    // An error means that the sender is gone: the process is exiting.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}
