//! The formats of incidents, and the documents that cover a whole view.

use super::Filter;
use crate::snapshot::View;

/// A format of incidents.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// One JSON document, grouped by employee and priority.
    Json,
    /// A line for each incident, each a JSON object.
    Ndjson,
    /// A table (RFC 4180) with a row for each incident.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// Renders the incidents of a view that meet the filter.
    #[must_use]
    pub fn render(self, view: &View, filter: &Filter) -> Vec<u8> {
        match self {
            Self::Json => super::incidents(view, filter),
            Self::Ndjson => super::ndjson(view, filter),
            Self::Csv => super::csv(view, filter),
        }
    }
}

/// A document that covers a whole view. There are few, so they can be rendered ahead of requests.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Document {
    /// All incidents, in one of the formats.
    Incidents(Format),
    /// The records without an employee, with reasons.
    Unattributed,
}

impl Document {
    /// Every document.
    pub const ALL: [Self; 4] = [
        Self::Incidents(Format::Json),
        Self::Incidents(Format::Ndjson),
        Self::Incidents(Format::Csv),
        Self::Unattributed,
    ];

    /// Renders the document of a view.
    #[must_use]
    pub fn render(self, view: &View) -> Vec<u8> {
        match self {
            Self::Incidents(format) => format.render(view, &Filter::default()),
            Self::Unattributed => super::unattributed(view),
        }
    }
}
