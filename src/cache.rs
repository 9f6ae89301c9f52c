//! What is kept: each source's last good batch, and rendered answers.
//!
//! moka keeps time by its own clock, so that only bounds memory here: how old data may be served is
//! decided from [`crate::snapshot::Policy`], by the time it was fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use moka::future::Cache as Moka;
use tokio::time::Instant;

use crate::background::spawn_cpu_bound;
use crate::decode::{Identities, Incidents};
use crate::render::compress::{Coding, compress};
use crate::render::{self, Filter};
use crate::snapshot::View;

/// A source's whole answer, decoded.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Of the identities endpoint.
    Identities(Arc<Identities>),
    /// Of an incident endpoint.
    Incidents(Arc<Incidents>),
}

impl Batch {
    /// The answer's bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Identities(identities) => identities.body(),
            Self::Incidents(incidents) => incidents.body(),
        }
    }

    /// How many records, or addresses, it has.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Identities(identities) => identities.len(),
            Self::Incidents(incidents) => incidents.records().len(),
        }
    }
}

/// A form in which incidents are given out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// One document, grouped.
    Json,
    /// A record a line.
    Ndjson,
    /// A table.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// Its media type, as `Content-Type` states it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// A view's incidents that meet the filter, in this format.
    #[must_use]
    pub fn render(self, view: &View, filter: &Filter) -> Vec<u8> {
        match self {
            Self::Json => render::incidents(view, filter),
            Self::Ndjson => render::ndjson(view, filter),
            Self::Csv => render::csv(view, filter),
        }
    }
}

/// What is asked of a view. Answers to the same question are the same bytes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    /// All incidents.
    Incidents(Format),
    /// The unattributed.
    Unattributed,
    /// A narrower one, by the canonical text of its route and filter.
    Other(Arc<str>),
}

/// Which answer: to what, of which view, in which coding.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    view: u64,
    question: Question,
    coding: Coding,
}

/// Rendered, coded and ready to be sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The bytes.
    pub body: Bytes,
    /// A strong entity tag over the bytes (RFC 9110, section 8.8.3).
    pub etag: HeaderValue,
}

impl Answer {
    fn new(body: Bytes) -> Self {
        let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&body));
        Self {
            body,
            etag: HeaderValue::try_from(etag).expect("hexadecimal digits make a header value"),
        }
    }
}

/// Rendering panicked; the answer cannot be given.
#[derive(Clone, Copy, Debug)]
pub struct RenderFailed;

/// The whole documents that are rendered before a snapshot is published, when callers have asked
/// for them lately.
pub const DOCUMENTS: [Question; 4] = [
    Question::Incidents(Format::Json),
    Question::Incidents(Format::Ndjson),
    Question::Incidents(Format::Csv),
    Question::Unattributed,
];

/// For how long after a request a document is made ready before its publication.
const WANTED_FOR: Duration = Duration::from_mins(5);

/// What a small answer costs beside its bytes, so that many small ones stay bounded too.
const ENTRY_OVERHEAD: usize = 512;

/// The gateway's cache.
#[derive(Debug)]
pub struct Cache {
    last_good: Moka<usize, Batch>,
    answers: Moka<Key, Arc<Answer>>,
    /// When each document was last asked for in each coding, in milliseconds after `started`, plus
    /// one; 0 for never.
    wanted: [[AtomicU64; Coding::ALL.len()]; DOCUMENTS.len()],
    started: Instant,
}

impl Cache {
    /// An empty cache: batches live `stale_for`, answers to narrow questions take at most
    /// `max_bytes` together. Whole documents are not counted: there are few of them, and they go
    /// with their view.
    #[must_use]
    pub fn new(stale_for: Duration, max_bytes: u64) -> Self {
        let weight = |key: &Key, answer: &Arc<Answer>| match key.question {
            Question::Other(_) => {
                u32::try_from(answer.body.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
            }
            Question::Incidents(_) | Question::Unattributed => 0,
        };
        Self {
            last_good: Moka::builder().time_to_live(stale_for).build(),
            answers: Moka::builder().weigher(weight).max_capacity(max_bytes).build(),
            wanted: Default::default(),
            started: Instant::now(),
        }
    }

    /// Keeps a source's batch in place of the one before.
    pub async fn keep(&self, source: usize, batch: Batch) {
        self.last_good.insert(source, batch).await;
        // Else the one before stays in moka's queue of writes, and views may be a while apart.
        self.last_good.run_pending_tasks().await;
    }

    /// A source's last good batch.
    pub async fn last_good(&self, source: usize) -> Option<Batch> {
        self.last_good.get(&source).await
    }

    /// Lets go of a source's batch.
    pub async fn forget(&self, source: usize) {
        self.last_good.invalidate(&source).await;
        self.last_good.run_pending_tasks().await;
    }

    /// The answer to a question about a view. It is rendered once, however many ask, by a task that
    /// goes on when the caller stops waiting.
    ///
    /// # Errors
    ///
    /// When rendering panicked.
    pub async fn answer(
        self: &Arc<Self>,
        view: &Arc<View>,
        question: Question,
        coding: Coding,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Answer>, RenderFailed> {
        self.want(&question, coding);
        let key = Key { view: view.id(), question, coding };
        if let Some(answer) = self.answers.get(&key).await {
            return Ok(answer);
        }
        let cache = Arc::clone(self);
        tokio::spawn(async move { cache.make(key, render).await })
            .await
            .unwrap_or(Err(RenderFailed))
    }

    /// The same, rendered by the thread that asks: for what takes less than to have another thread
    /// do it.
    pub async fn answer_at_once(
        &self,
        view: &View,
        question: Question,
        coding: Coding,
        render: impl FnOnce() -> Vec<u8>,
    ) -> Arc<Answer> {
        let key = Key { view: view.id(), question, coding };
        if let Some(answer) = self.answers.get(&key).await {
            return answer;
        }
        let answer = Arc::new(Answer::new(compress(Bytes::from(render()), coding)));
        self.answers.insert(key, Arc::clone(&answer)).await;
        answer
    }

    async fn make(
        &self,
        key: Key,
        render: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Answer>, RenderFailed> {
        let coding = key.coding;
        let plain = match coding {
            Coding::Identity => None,
            Coding::Gzip | Coding::Zstd => {
                self.answers.get(&Key { coding: Coding::Identity, ..key.clone() }).await
            }
        };
        let made = async {
            let work = move || {
                let plain =
                    plain.map_or_else(|| Bytes::from(render()), |answer| answer.body.clone());
                Arc::new(Answer::new(compress(plain, coding)))
            };
            spawn_cpu_bound(work).await.map_err(|_| RenderFailed)
        };
        self.answers.try_get_with(key, made).await.map_err(|failed| *failed)
    }

    /// Notes that a caller asks for this, before it waits for data: a snapshot that is published
    /// meanwhile then comes with the answer rendered, and nothing is left to do when the caller's
    /// budget ends.
    pub fn want(&self, question: &Question, coding: Coding) {
        if let Some(document) = DOCUMENTS.iter().position(|document| document == question) {
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.wanted[document][coding as usize].store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Renders the documents that callers have asked for lately, so that publishing the view costs
    /// none of them time.
    pub async fn warm(self: &Arc<Self>, view: &Arc<View>) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let patience = u64::try_from(WANTED_FOR.as_millis()).unwrap_or(u64::MAX);
        for (question, codings) in DOCUMENTS.into_iter().zip(&self.wanted) {
            for (coding, wanted) in Coding::ALL.into_iter().zip(codings) {
                let wanted = wanted.load(Ordering::Relaxed);
                if wanted == 0 || now.saturating_sub(wanted) > patience {
                    continue;
                }
                let key = Key { view: view.id(), question: question.clone(), coding };
                let (view, question) = (Arc::clone(view), question.clone());
                // A failure shows again, and is answered, when a caller asks.
                let _ = self.make(key, move || render_document(&view, &question)).await;
            }
        }
    }

    /// Lets go of all answers of other views.
    pub async fn retire_all_but(&self, view: u64) {
        let retired: Vec<_> =
            self.answers.iter().filter(|(key, _)| key.view != view).map(|(key, _)| key).collect();
        for key in retired {
            self.answers.invalidate(&*key).await;
        }
        self.answers.run_pending_tasks().await;
        self.last_good.run_pending_tasks().await;
    }
}

/// The bytes of a whole document.
fn render_document(view: &View, question: &Question) -> Vec<u8> {
    match question {
        Question::Incidents(format) => format.render(view, &Filter::default()),
        Question::Unattributed => render::unattributed(view),
        Question::Other(_) => unreachable!("only whole documents are made ahead"),
    }
}
