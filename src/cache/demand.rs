//! Which whole documents callers have requested recently.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::key::Resource;
use crate::render::Document;
use crate::render::compress::Coding;

/// For how long after its last request a document is rendered ahead of each publication.
const DEMAND_TTL: Duration = Duration::from_mins(5);

/// When each whole document was last requested in each content coding.
#[derive(Debug)]
pub(super) struct Demand {
    started: Instant,
    /// Milliseconds after `started`, plus one; 0 for never.
    requested_at: [[AtomicU64; Coding::ALL.len()]; Document::ALL.len()],
}

impl Demand {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), requested_at: Default::default() }
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records a request; requests for filtered documents are ignored.
    pub(super) fn record(&self, resource: &Resource, coding: Coding) {
        let Resource::Document(requested) = resource else { return };
        if let Some(document) = Document::ALL.iter().position(|document| document == requested) {
            let now = self.now_millis().saturating_add(1);
            self.requested_at[document][coding as usize].store(now, Ordering::Relaxed);
        }
    }

    /// The documents that were requested within the last [`DEMAND_TTL`].
    pub(super) fn recent(&self) -> Vec<(Document, Coding)> {
        let now = self.now_millis();
        let ttl = u64::try_from(DEMAND_TTL.as_millis()).unwrap_or(u64::MAX);
        let mut recent = Vec::new();
        for (document, codings) in Document::ALL.into_iter().zip(&self.requested_at) {
            for (coding, requested_at) in Coding::ALL.into_iter().zip(codings) {
                let requested_at = requested_at.load(Ordering::Relaxed);
                if requested_at > 0 && now.saturating_sub(requested_at) <= ttl {
                    recent.push((document, coding));
                }
            }
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::render::Format;

    #[tokio::test(start_paused = true)]
    async fn demand_for_a_document_lasts_five_minutes() {
        let demand = Demand::new();
        assert_eq!(demand.recent(), []);
        demand.record(&Resource::Document(Document::Incidents(Format::Csv)), Coding::Gzip);
        demand.record(&Resource::Filtered("/incidents low".into()), Coding::Gzip);
        let expected = [(Document::Incidents(Format::Csv), Coding::Gzip)];
        assert_eq!(demand.recent(), expected);
        advance(Duration::from_secs(299)).await;
        assert_eq!(demand.recent(), expected);
        advance(Duration::from_secs(2)).await;
        assert_eq!(demand.recent(), []);
    }
}
