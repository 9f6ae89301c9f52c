//! The routes: maps paths to resources.

use percent_encoding::percent_decode_str;

/// The path of the event streams.
pub(super) const EVENTS_PATH: &str = "/events";

/// A resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    Incidents,
    Employee(String),
    Unattributed,
    Summary,
    History,
    HistorySummary,
    Sources,
    Events,
    OpenApi,
    Page,
    EmployeePage(String),
    Asset(String),
    Healthz,
    Readyz,
    Metrics,
    Unknown,
}

impl Route {
    pub(super) fn public(path: &str) -> Self {
        match path {
            "/incidents" => Self::Incidents,
            "/unattributed" => Self::Unattributed,
            "/summary" => Self::Summary,
            "/history" => Self::History,
            "/history/summary" => Self::HistorySummary,
            "/sources" => Self::Sources,
            EVENTS_PATH => Self::Events,
            "/openapi.json" => Self::OpenApi,
            "/" => Self::Page,
            // The id of the employee is in the query.
            "/employees/" => Self::EmployeePage(String::new()),
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ => Self::with_parameter(path).unwrap_or(Self::Unknown),
        }
    }

    /// The route of a path whose last segment is a parameter, which must not be empty.
    fn with_parameter(path: &str) -> Option<Self> {
        let segment = |prefix: &str| {
            let segment =
                path.strip_prefix(prefix).filter(|name| !name.is_empty() && !name.contains('/'))?;
            Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
        };
        segment("/incidents/")
            .map(Self::Employee)
            .or_else(|| segment("/employees/").map(Self::EmployeePage))
            .or_else(|| segment("/assets/").map(Self::Asset))
    }

    pub(super) fn admin(path: &str) -> Self {
        match path {
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            _ => Self::Unknown,
        }
    }

    /// The route's label in metrics and logs: its path, with its parameters' names.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Incidents => "/incidents",
            Self::Employee(_) => "/incidents/{employee_id}",
            Self::Unattributed => "/unattributed",
            Self::Summary => "/summary",
            Self::History => "/history",
            Self::HistorySummary => "/history/summary",
            Self::Sources => "/sources",
            Self::Events => EVENTS_PATH,
            Self::OpenApi => "/openapi.json",
            Self::Page => "/",
            Self::EmployeePage(_) => "/employees/{employee_id}",
            Self::Asset(_) => "/assets/{name}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Unknown => "other",
        }
    }

    /// The labels of all routes of the public listener.
    #[cfg(test)]
    pub(super) fn public_labels() -> Vec<&'static str> {
        let name = String::new;
        let routes = [
            Self::Incidents,
            Self::Employee(name()),
            Self::Unattributed,
            Self::Summary,
            Self::History,
            Self::HistorySummary,
            Self::Sources,
            Self::Events,
            Self::OpenApi,
            Self::Page,
            Self::EmployeePage(name()),
            Self::Asset(name()),
            Self::Healthz,
            Self::Readyz,
        ];
        for route in &routes {
            // Fails to compile when a route is added, as a reminder to add it to the list above.
            match route {
                Self::Incidents
                | Self::Employee(_)
                | Self::Unattributed
                | Self::Summary
                | Self::History
                | Self::HistorySummary
                | Self::Sources
                | Self::Events
                | Self::OpenApi
                | Self::Page
                | Self::EmployeePage(_)
                | Self::Asset(_)
                | Self::Healthz
                | Self::Readyz
                | Self::Metrics
                | Self::Unknown => {}
            }
        }
        routes.iter().map(Self::label).collect()
    }

    /// Whether the route is for monitoring: it is exempt from limits and the check of `Host`, and
    /// successful requests are not logged.
    pub(super) const fn is_probe(&self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz | Self::Metrics)
    }
}
