//! Which whole documents callers have asked for lately.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::question::Question;
use crate::render::Document;
use crate::render::compress::Coding;

/// For how long after a request a document is rendered ahead of each publication.
const DEMAND_TTL: Duration = Duration::from_mins(5);

/// When each whole document was last asked for in each coding.
#[derive(Debug)]
pub(super) struct Demand {
    started: Instant,
    /// Milliseconds after `started`, plus one; 0 for never.
    asked_at: [[AtomicU64; Coding::ALL.len()]; Document::ALL.len()],
}

impl Demand {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), asked_at: Default::default() }
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes a request; one for a filtered document changes nothing.
    pub(super) fn record(&self, question: &Question, coding: Coding) {
        let Question::Document(asked) = question else { return };
        if let Some(document) = Document::ALL.iter().position(|document| document == asked) {
            let now = self.now_millis().saturating_add(1);
            self.asked_at[document][coding as usize].store(now, Ordering::Relaxed);
        }
    }

    /// The documents that were asked for within the last [`DEMAND_TTL`].
    pub(super) fn recent(&self) -> Vec<(Document, Coding)> {
        let now = self.now_millis();
        let ttl = u64::try_from(DEMAND_TTL.as_millis()).unwrap_or(u64::MAX);
        let mut recent = Vec::new();
        for (document, codings) in Document::ALL.into_iter().zip(&self.asked_at) {
            for (coding, asked_at) in Coding::ALL.into_iter().zip(codings) {
                let asked_at = asked_at.load(Ordering::Relaxed);
                if asked_at > 0 && now.saturating_sub(asked_at) <= ttl {
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
        demand.record(&Question::Document(Document::Incidents(Format::Csv)), Coding::Gzip);
        demand.record(&Question::Filtered("/incidents low".into()), Coding::Gzip);
        let expected = [(Document::Incidents(Format::Csv), Coding::Gzip)];
        assert_eq!(demand.recent(), expected);
        advance(Duration::from_secs(299)).await;
        assert_eq!(demand.recent(), expected);
        advance(Duration::from_secs(2)).await;
        assert_eq!(demand.recent(), []);
    }
}
