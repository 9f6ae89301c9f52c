//! The frame around the content of every page: title, assets, links, and how fresh the data is.

use tokio::time::Instant;

use super::asset;
use super::freshness_summary::FreshnessSummary;
use super::links::Root;
use crate::http::freshness;
use crate::http::visibility::Visibility;
use crate::snapshot::{Completeness, Snapshot};

/// A page that lacks data reloads itself when the next attempt to fetch a missing source is due, so
/// that its retries back off like the gateway's. These are the bounds of the delay.
const MIN_RELOAD_SECONDS: u64 = 2;
const MAX_RELOAD_SECONDS: u64 = 30;

/// The frame around the content of a page.
pub(super) struct Layout {
    pub(super) title: String,
    pub(super) root: Root,
    pub(super) freshness: FreshnessSummary,
    /// Whether the caller may see everything, so that links to it make sense.
    pub(super) sees_everything: bool,
    /// After how many seconds the page reloads itself; `None` if no data is missing.
    pub(super) reload_seconds: Option<u64>,
    /// Whether the page has no content yet, so that the script must reload it as a whole.
    pub(super) is_waiting: bool,
}

impl Layout {
    pub(super) fn new(
        title: impl Into<String>,
        root: Root,
        snapshot: &Snapshot,
        visibility: &Visibility,
    ) -> Self {
        let now = Instant::now();
        let is_partial = snapshot.completeness(now) == Completeness::Partial;
        Self {
            title: title.into(),
            root,
            freshness: FreshnessSummary::new(snapshot, now, visibility),
            sees_everything: visibility.is_everything(),
            reload_seconds: is_partial.then(|| reload_seconds(snapshot, now)),
            is_waiting: false,
        }
    }

    /// The layout of a page that only states what is missing, until there is content.
    pub(super) fn waiting(
        title: impl Into<String>,
        root: Root,
        snapshot: &Snapshot,
        visibility: &Visibility,
    ) -> Self {
        Self {
            reload_seconds: Some(reload_seconds(snapshot, Instant::now())),
            is_waiting: true,
            ..Self::new(title, root, snapshot, visibility)
        }
    }

    pub(super) fn css(&self) -> String {
        asset::CSS.url(self.root)
    }

    pub(super) fn js(&self) -> String {
        asset::JS.url(self.root)
    }

    pub(super) fn icon(&self) -> String {
        asset::ICON.url(self.root)
    }
}

fn reload_seconds(snapshot: &Snapshot, now: Instant) -> u64 {
    let next_attempt = freshness::retry_after(snapshot, now).as_secs();
    next_attempt.clamp(MIN_RELOAD_SECONDS, MAX_RELOAD_SECONDS)
}
