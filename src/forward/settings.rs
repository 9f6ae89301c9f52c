//! The forwards that are configured, ready to send.

use std::sync::Arc;
use std::time::SystemTime;

use reqwest::Url;

use super::{Batch, Encoder, Receiver, Reply};
use crate::config::Forward;
use crate::store::{HistoryRow, StableId};
use crate::upstream::SetupError;

/// Where the records of a forward go.
pub(super) trait Destination: Send + Sync + 'static {
    /// The forward's configuration.
    fn config(&self) -> &Forward;

    /// Whether nothing was configured differently for the other one.
    fn is_like(&self, other: &Self) -> bool;

    /// Writes a batch of some leading rows, at least one.
    fn encode(&self, rows: &[HistoryRow], sent_at: SystemTime) -> Batch;

    /// Sends a batch of the records with these ids once.
    fn send(&self, batch: Batch, ids: Vec<StableId>) -> impl Future<Output = Reply> + Send;
}

/// The forwards that are configured. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ForwardSettings {
    pub(super) outlets: Vec<Arc<Outlet>>,
}

impl ForwardSettings {
    /// What these forwards need to send. `public_url` is where people reach the pages.
    ///
    /// # Errors
    ///
    /// When the client of a receiver cannot be set up.
    pub fn new(forwards: &[Forward], public_url: Option<&Url>) -> Result<Self, SetupError> {
        let outlet = |forward: &Forward| {
            Ok(Arc::new(Outlet {
                encoder: Encoder::new(forward, public_url),
                receiver: Receiver::new(forward)?,
                public_url: public_url.cloned(),
                forward: forward.clone(),
            }))
        };
        Ok(Self { outlets: forwards.iter().map(outlet).collect::<Result<_, _>>()? })
    }
}

/// A forward with its receiver.
#[derive(Debug)]
pub(super) struct Outlet {
    forward: Forward,
    public_url: Option<Url>,
    encoder: Encoder,
    receiver: Receiver,
}

impl Destination for Outlet {
    fn config(&self) -> &Forward {
        &self.forward
    }

    fn is_like(&self, other: &Self) -> bool {
        self.forward == other.forward && self.public_url == other.public_url
    }

    fn encode(&self, rows: &[HistoryRow], sent_at: SystemTime) -> Batch {
        self.encoder.encode(rows, sent_at)
    }

    async fn send(&self, batch: Batch, ids: Vec<StableId>) -> Reply {
        self.receiver.send(self.encoder.content_type(), batch.body, &ids).await
    }
}
