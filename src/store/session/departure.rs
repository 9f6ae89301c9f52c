//! That a process is to give its lease back, and that it has done so.

use tokio::sync::watch;

/// Asks for a departure, and tells when it is complete. Clones are about the same departure.
#[derive(Clone, Debug)]
pub struct Departure(watch::Sender<Progress>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Progress {
    NotAsked,
    Asked,
    Complete,
}

impl Default for Departure {
    /// It was not asked for.
    fn default() -> Self {
        Self(watch::Sender::new(Progress::NotAsked))
    }
}

impl Departure {
    /// Asks for it, unless somebody has.
    pub fn ask(&self) {
        self.advance(Progress::Asked);
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        self.reaches(Progress::Asked).await;
    }

    /// Says that it is complete.
    pub fn complete(&self) {
        self.advance(Progress::Complete);
    }

    /// Waits until it is complete.
    pub async fn completed(&self) {
        self.reaches(Progress::Complete).await;
    }

    /// Whether it is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.0.borrow() == Progress::Complete
    }

    fn advance(&self, to: Progress) {
        self.0.send_if_modified(|progress| {
            let is_later = *progress < to;
            *progress = to.max(*progress);
            is_later
        });
    }

    async fn reaches(&self, progress: Progress) {
        // There is a sender: this value.
        let _ = self.0.subscribe().wait_for(|reached| *reached >= progress).await;
    }
}
