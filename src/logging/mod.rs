//! The log on stderr: one event a line, as JSON or as text.

mod json;
mod otlp;
mod panics;
mod writer;

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::json::JsonLines;
use self::otlp::Exporter;
pub use self::otlp::{is_exporting, join_trace};
use self::writer::LogBuffer;
use crate::config::{LogFormat, Otlp};

/// The prefix of the targets of our own events.
const CRATE: &str = "incident_gateway";

/// The target of the pool of connections to PostgreSQL. It warns of each connection that breaks, of
/// which the store's own messages tell once.
const POSTGRES_POOL: &str = "deadpool.postgres";

/// How long the last lines may take to be written when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The running log. When it is dropped, the last lines are written and the last spans sent.
#[derive(Debug)]
pub struct Log {
    buffer: LogBuffer,
    exporter: Option<Exporter>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(exporter) = &self.exporter {
            exporter.shut_down();
        }
        self.buffer.flush_within(FLUSH_TIMEOUT);
    }
}

/// Why the log cannot start.
#[derive(Debug)]
pub enum LogError {
    /// The filter cannot be parsed.
    Filter(String),
    /// No thread could be started.
    System(std::io::Error),
    /// The exporter of traces cannot be set up.
    Otlp(String),
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(why) => {
                write!(
                    f,
                    "`RUST_LOG`: {why}; set a level such as `info`, or a filter such as \
                     `incident_gateway=debug`"
                )
            }
            Self::System(error) => write!(f, "cannot start the log's thread: {error}"),
            Self::Otlp(why) => write!(f, "`otlp.endpoint`: {why}"),
        }
    }
}

impl std::error::Error for LogError {}

/// Starts the log, which includes panics, and the export of traces if a collector is configured.
/// Must not be called on a thread of a runtime.
///
/// `filter` is the value of `RUST_LOG`, `info` by default. The default format is text on a
/// terminal, JSON elsewhere.
///
/// Of libraries, only warnings and errors are logged, whatever the filter says: at finer levels
/// some of them log headers, and so credentials. Those of the pool of database connections are
/// logged only with a filter.
///
/// # Errors
///
/// When the filter cannot be parsed, no thread can be started, or the exporter cannot be set up.
pub fn start(
    format: Option<LogFormat>,
    filter: Option<&str>,
    otlp: &Otlp,
) -> Result<Log, LogError> {
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = filter.filter(|filter| !filter.is_empty());
    let is_default = filter.is_none();
    let filter = match filter {
        Some(filter) => {
            EnvFilter::try_new(filter).map_err(|error| LogError::Filter(error.to_string()))?
        }
        None => EnvFilter::default().add_directive(LevelFilter::INFO.into()),
    };
    let no_library_details = filter_fn(move |metadata| {
        let is_repeated = is_default && metadata.target() == POSTGRES_POOL;
        metadata.target().starts_with(CRATE)
            || *metadata.level() <= tracing::Level::WARN && !is_repeated
    });
    let drop_notice = match format {
        LogFormat::Json => json::drop_notice,
        LogFormat::Text => text_drop_notice,
    };
    let buffer = LogBuffer::start(drop_notice).map_err(LogError::System)?;
    let lines = match format {
        LogFormat::Json => JsonLines(buffer.clone()).boxed(),
        LogFormat::Text => {
            fmt::layer().with_writer(buffer.clone()).with_target(false).with_ansi(terminal).boxed()
        }
    };
    let exporter =
        otlp.endpoint.as_ref().map(Exporter::start).transpose().map_err(LogError::Otlp)?;
    let traces = exporter
        .as_ref()
        .map(|exporter| tracing_opentelemetry::layer().with_tracer(exporter.tracer()));
    // Spans of libraries, such as those of the exporter's own calls, are not exported.
    let traces = traces
        .map(|layer| layer.with_filter(filter_fn(|metadata| metadata.target().starts_with(CRATE))));
    tracing_subscriber::registry()
        .with(lines)
        .with(no_library_details)
        .with(filter)
        .with(traces)
        .init();
    panics::log_panics(buffer.clone());
    Ok(Log { buffer, exporter })
}

/// The message that replaces lines that were dropped.
const DROPPED_MESSAGE: &str = "log lines were dropped because stderr was not read";

fn text_drop_notice(lines: u64) -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    format!("{now:.6}  WARN {DROPPED_MESSAGE} lines={lines}\n")
}
