//! The log on stderr: one event a line, as JSON or as text.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogFormat;

/// A level or filter that cannot be understood.
#[derive(Debug)]
pub struct BadFilter(String);

impl std::fmt::Display for BadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`RUST_LOG`: {}; set a level such as `info`, or a filter such as `incident_gateway=debug`", self.0)
    }
}

impl std::error::Error for BadFilter {}

/// Starts the log. `filter` is the value of `RUST_LOG`; info where there is none. Without a format, JSON where stderr is
/// no terminal.
///
/// Libraries are held to warnings whatever the filter says, because some of them write headers, and so credentials, at
/// their finest level.
///
/// # Errors
///
/// When the filter cannot be understood.
pub fn start(format: Option<LogFormat>, filter: Option<&str>) -> Result<(), BadFilter> {
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = match filter.filter(|filter| !filter.is_empty()) {
        Some(filter) => EnvFilter::try_new(filter).map_err(|error| BadFilter(error.to_string()))?,
        None => EnvFilter::default().add_directive(LevelFilter::INFO.into()),
    };
    let ours = filter_fn(|metadata| {
        metadata.target().starts_with("incident_gateway") || *metadata.level() <= tracing::Level::WARN
    });
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => layer.with_ansi(terminal).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours)).with(filter).init();
    Ok(())
}
