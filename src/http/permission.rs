//! Which routes a scope permits.

use super::query::pairs;
use super::routes::Route;
use crate::access::Scope;

/// Whether a caller with this scope may ask for a route with this query.
pub(super) fn is_permitted(scope: &Scope, route: &Route, query: Option<&str>) -> bool {
    match scope {
        Scope::All => true,
        Scope::Incidents => *route != Route::Metrics,
        Scope::Employee(own) => *route != Route::Metrics && is_about_nobody_else(own, route, query),
        Scope::EmployeeAndMetrics(own) => {
            *route == Route::Metrics || is_about_nobody_else(own, route, query)
        }
        Scope::Metrics => *route == Route::Metrics,
        Scope::Nothing => false,
    }
}

/// Whether neither the path nor the query names an employee but this one. What cannot be decoded
/// names nobody; the route refuses it.
fn is_about_nobody_else(own: &str, route: &Route, query: Option<&str>) -> bool {
    let (has_list, is_own_path) = match route {
        // The route is of whatever is left.
        Route::Unknown => return true,
        Route::Unattributed => return false,
        // The query names the employee: one, which may contain commas.
        Route::EmployeePage(id) if id.is_empty() => (false, true),
        Route::Employee(id) | Route::EmployeePage(id) => (true, id == own),
        Route::Incidents
        | Route::Summary
        | Route::History
        | Route::HistorySummary
        | Route::Sources
        | Route::Events
        | Route::OpenApi
        | Route::Page
        | Route::Asset(_)
        | Route::Healthz
        | Route::Readyz
        | Route::Metrics => (true, true),
    };
    let is_own = |id: &str| id.is_empty() || id == own;
    is_own_path
        && pairs(query).filter_map(Result::ok).all(|(key, value)| {
            key != "employee_id"
                || if has_list { value.split(',').all(is_own) } else { is_own(&value) }
        })
}

#[cfg(test)]
mod tests;
