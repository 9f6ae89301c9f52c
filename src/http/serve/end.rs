//! When a connection must end although its client would go on.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{ListenerSettings, Phase};
use crate::access::AuthorityId;
use crate::http::connection::Client;

/// How long kept-alive connections stay open after the listener has closed. Closing them at once
/// could lose a request that is already on its way. Over HTTP/1 its response says `Connection:
/// close`.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(500);

/// What a connection watches.
pub(super) struct EndSignals {
    phase: watch::Receiver<Phase>,
    /// `None` for a connection without TLS.
    authority: Option<ClientAuthority>,
}

/// The authorities of client certificates, which a reload may replace.
struct ClientAuthority {
    settings: watch::Receiver<ListenerSettings>,
    /// Those of the connection's handshake.
    id: Option<AuthorityId>,
    /// The client's certificate and those with it.
    chain: Vec<CertificateDer<'static>>,
}

/// Whether a client may go on until its connection has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Right {
    /// Its certificate is valid under the new authorities too.
    Kept,
    /// It has no certificate, or none that is valid.
    Lost,
}

impl EndSignals {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase, authority: None }
    }

    /// The same for a connection whose handshake asked for certificates of these authorities, and
    /// got this one.
    pub(super) fn of_authority(
        self,
        settings: watch::Receiver<ListenerSettings>,
        id: Option<AuthorityId>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { authority: Some(ClientAuthority { settings, id, chain }), ..self }
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

    /// Completes once the authorities are other ones than in the connection's handshake. A client
    /// whose certificate is valid under them too is still answered: only its connection must end.
    ///
    /// Poll this before the connection, so that no request is judged by the old authorities.
    pub(super) async fn authority_replaced(&self, client: &Client) -> Right {
        let Some(ClientAuthority { settings, id, chain }) = &self.authority else {
            return std::future::pending().await;
        };
        let mut settings = settings.clone();
        let is_replaced = |settings: &ListenerSettings| {
            settings.tls.as_ref().is_some_and(|tls| tls.authority() != *id)
        };
        let Ok(tls) = settings.wait_for(is_replaced).await.map(|settings| settings.tls.clone())
        else {
            // Nothing changes the settings any more.
            return std::future::pending().await;
        };
        match tls.as_ref().and_then(|tls| tls.verify_again(chain)) {
            Some(authority) => {
                client.renew_certificate(authority);
                Right::Kept
            }
            None => Right::Lost,
        }
    }
}

/// Completes once the phase is [`Phase::Closing`].
pub(super) async fn closing(mut phase: watch::Receiver<Phase>) {
    // An error means that the sender is gone: the process is exiting.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}
