//! Reads sources once, and keeps what was asked and what came for the report.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::config::Secret;
use futures::future::join_all;
use tokio::time::Instant;

use super::reading::{Failure, Page, Reading, Tables};
use super::report::{Verdict, report};
use super::selection::Selection;
use super::table_report::{table_faults, table_report};
use crate::config::{Config, Origin};
use crate::decode::Incidents;
use crate::identity::{IdentityTable, KeyKinds, TableSlot};
use crate::metrics;
use crate::refresh::{Batch, Fetch, Fetcher as _, SourceFetcher};
use crate::request::Request;
use crate::sources::{SourceId, names};
use crate::upstream::{
    Answer, CallContext, CallObserver, Mask, Observer, SetupError, UpstreamMetrics, Upstreams,
};

/// Calls what is selected once, without retries, and prints the reports.
pub(super) async fn check(mut config: Config, selection: Selection) -> ExitCode {
    config.upstream.retries = 0;
    for upstream in &mut config.upstreams {
        upstream.settings.retries = 0;
    }
    match Readings::read(&config, |id| selection.is_read(id)).await {
        Ok(readings) => {
            let mask = Mask::new(&config, &readings.tokens);
            super::finish(&mask, &readings.reports(&config, &selection))
        }
        Err(error) => crate::cli::fail(&error.to_string()),
    }
}

/// What was read of sources and tables.
pub(super) struct Readings {
    tables: Vec<Option<Reading<Arc<IdentityTable>>>>,
    sources: Vec<Option<Reading<Arc<Incidents>>>>,
    /// The access tokens that were used, which answers may repeat.
    tokens: Vec<Secret>,
}

impl Readings {
    /// Reads what is wanted, at the same time.
    pub(super) async fn read(
        config: &Config,
        is_wanted: impl Fn(SourceId) -> bool,
    ) -> Result<Self, SetupError> {
        let mut registry = metrics::registry();
        let metrics = UpstreamMetrics::register(&mut registry);
        let upstreams = Arc::new(Upstreams::new(config, &metrics, fastrand::u64(..))?);
        let fetcher = SourceFetcher::new(Arc::clone(&upstreams), config, &metrics, false);
        let names = names(config);
        let used_tokens = Mutex::default();
        let read = |id: SourceId| {
            let is_wanted = is_wanted(id);
            let (fetcher, name, tokens) = (&fetcher, names[id].to_string(), &used_tokens);
            async move {
                if is_wanted { Some(read(fetcher, config, id, name, tokens).await) } else { None }
            }
        };
        let tables = join_all((0..config.identities.len()).map(|id| read(SourceId::Table(id))));
        let sources = join_all((0..config.sources.len()).map(|id| read(SourceId::Incidents(id))));
        let (tables, sources) = tokio::join!(tables, sources);
        let table = |reading: Reading<Batch>| {
            reading.map(|batch| match batch {
                Batch::Identities(table) => table,
                Batch::Incidents(_) => unreachable!("a table has identities"),
            })
        };
        let source = |reading: Reading<Batch>| {
            reading.map(|batch| match batch {
                Batch::Incidents(incidents) => incidents,
                Batch::Identities(_) => unreachable!("a source has incidents"),
            })
        };
        Ok(Self {
            tables: tables.into_iter().map(|reading| reading.map(table)).collect(),
            sources: sources.into_iter().map(|reading| reading.map(source)).collect(),
            tokens: used_tokens.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Sets what was read of a table, or of a source.
    pub(super) fn set_table(&mut self, index: usize, reading: Reading<Arc<IdentityTable>>) {
        self.tables[index] = Some(reading);
    }

    /// Sets what was read of a source.
    pub(super) fn set_source(&mut self, index: usize, reading: Reading<Arc<Incidents>>) {
        self.sources[index] = Some(reading);
    }

    /// The reports on what is selected, and on tables that are needed but failed.
    pub(super) fn reports(&self, config: &Config, selection: &Selection) -> Vec<(String, Verdict)> {
        let tables = self.slots(config);
        let mut reports = Vec::new();
        for (index, reading) in self.tables.iter().enumerate() {
            let Some(reading) = reading else { continue };
            let is_reported = selection.reported.contains(&SourceId::Table(index));
            if is_reported || reading.result.is_err() {
                reports.push(table_report(&config.identities[index], reading));
            }
        }
        for (index, reading) in self.sources.iter().enumerate() {
            if let Some(reading) = reading {
                reports.push(report(&config.sources[index], reading, &tables));
            }
        }
        reports
    }

    fn slots(&self, config: &Config) -> Tables {
        let slot = |(index, reading): (usize, &Option<Reading<Arc<IdentityTable>>>)| TableSlot {
            kinds: KeyKinds::of(&config.identities[index]),
            table: reading.as_ref().and_then(|reading| reading.result.as_ref().ok().cloned()),
        };
        let fault = |(index, reading): (usize, &Option<Reading<Arc<IdentityTable>>>)| {
            let faults = reading.as_ref().map(|it| table_faults(&config.identities[index], it));
            faults.unwrap_or_default()
        };
        Tables {
            faults: self.tables.iter().enumerate().map(fault).collect(),
            slots: self.tables.iter().enumerate().map(slot).collect(),
            names: (0..self.tables.len()).map(crate::config::table_name).collect(),
        }
    }
}

async fn read(
    fetcher: &SourceFetcher,
    config: &Config,
    id: SourceId,
    name: String,
    tokens: &Mutex<Vec<Secret>>,
) -> Reading<Batch> {
    let recorder = Arc::new(Recorder::default());
    let context = CallContext {
        observer: Observer::new(Arc::clone(&recorder) as Arc<dyn CallObserver>),
        ..CallContext::default()
    };
    let began = Instant::now();
    let fetch = Fetch { source: id, started: SystemTime::now(), held: None, context };
    let result = fetcher.fetch(fetch).await;
    let (origin, file) = origin(config, id);
    let Recorded { asked: request, pages, refusal, is_repeated, tokens: used } =
        std::mem::take(&mut *recorder.lock());
    tokens.lock().unwrap_or_else(PoisonError::into_inner).extend(used);
    let (result, page_count, duration) = match result {
        Ok(data) => (Ok(data.batch), data.pages, data.duration),
        Err(error) => {
            let failure = Failure {
                outcome: error.kind,
                status: error.status,
                detail: error.detail,
                refusal,
            };
            (Err(failure), pages.len(), began.elapsed())
        }
    };
    let is_file = file.is_some();
    let asked = request.or(file).unwrap_or_default();
    let duration = Some(duration);
    Reading { name, origin, asked, is_file, pages, page_count, is_repeated, duration, result }
}

/// Where a source comes from, and the pattern of its files.
pub(super) fn origin(config: &Config, id: SourceId) -> (String, Option<String>) {
    let origin = match id {
        SourceId::Table(index) => &config.identities[index].origin,
        SourceId::Incidents(index) => &config.sources[index].origin,
    };
    match origin {
        Origin::Http(http) => (format!("upstream `{}`", http.upstream), None),
        Origin::File(pattern) => ("files".to_owned(), Some(pattern.clone())),
    }
}

/// What was asked first, and what came.
#[derive(Default)]
struct Recorded {
    asked: Option<String>,
    pages: Vec<Page>,
    /// The body of an answer with a bad status.
    refusal: Option<String>,
    /// Whether the list ended because the address or cursor of its next page was used before.
    is_repeated: bool,
    tokens: Vec<Secret>,
}

#[derive(Default)]
struct Recorder(Mutex<Recorded>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallObserver for Recorder {
    fn asked(&self, request: &Request) {
        self.lock().asked.get_or_insert_with(|| request_line(request));
    }

    fn answered(&self, answer: &Answer) {
        let (body, headers) = (answer.body.clone(), Some(answer.headers.clone()));
        self.lock().pages.push(Page { body, headers });
    }

    fn refused(&self, body: &[u8]) {
        self.lock().refusal = Some(String::from_utf8_lossy(body).into_owned());
    }

    fn authorized(&self, token: &str) {
        self.lock().tokens.push(token.into());
    }

    fn repeated(&self) {
        self.lock().is_repeated = true;
    }
}

/// Such as `GET https://api.example/alerts?limit=100`. The query is decoded, because people compare
/// it with the documentation of an API.
fn request_line(request: &Request) -> String {
    let mut line = format!("{} {}", request.method, request.url.origin().ascii_serialization());
    line.push_str(request.url.path());
    for (index, (name, value)) in request.url.query_pairs().enumerate() {
        line.push(if index == 0 { '?' } else { '&' });
        line.extend([&*name, "=", &*value]);
    }
    if let Some(body) = &request.body {
        line.push(' ');
        line.push_str(&String::from_utf8_lossy(body));
    }
    line
}
