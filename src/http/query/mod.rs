//! Parses the query string of a request for incidents.

mod time;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use super::visibility::Visibility;
use crate::access::Scope;
use crate::decode::Priority;
use crate::render::Filter;
use crate::snapshot::View;

/// A parsed query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which incidents to return.
    pub filter: Filter,
    /// `complete`: whether to refuse an answer that is not complete.
    pub complete: Option<bool>,
    /// The names of the filter's sources, in the same order.
    types: Vec<Arc<str>>,
}

/// The query keys that a route accepts, which follow from whose incidents it shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AllowedKeys<'a> {
    /// All keys.
    All,
    /// All but `employee_id`: the route shows the employee with this id.
    AllButEmployee(&'a str),
    /// Only `complete`: the route shows what belongs to no single employee.
    CompleteOnly,
}

impl AllowedKeys<'_> {
    /// The names of the keys.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::All => &["employee_id", "type", "priority", "since", "until", "complete"],
            Self::AllButEmployee(_) => &["type", "priority", "since", "until", "complete"],
            Self::CompleteOnly => &["complete"],
        }
    }
}

impl Query {
    /// Parses a query string; `sources` are the valid values of `type`.
    ///
    /// `employee_id`, `type` and `priority` take several values, separated by commas or by
    /// repeating the key.
    ///
    /// The filter permits no more than `scope`: one that is limited to an employee limits the
    /// filter to that employee, whatever the query says.
    ///
    /// # Errors
    ///
    /// - [`Problem::Forbidden`] if the route, or an `employee_id` of the query, is beyond `scope`.
    /// - [`Problem::InvalidQuery`], which names the key or value and what is valid.
    pub fn parse(
        query: Option<&str>,
        keys: AllowedKeys<'_>,
        sources: &[Arc<str>],
        scope: &Scope,
    ) -> Result<Self, Problem> {
        let visibility = Visibility::of(scope)?;
        match keys {
            AllowedKeys::All => {}
            AllowedKeys::AllButEmployee(id) => visibility.require_employee(id)?,
            AllowedKeys::CompleteOnly => visibility.require_everything()?,
        }
        // Sets, so that a value that is repeated thousands of times is stored once.
        let (mut employees, mut types, mut priorities) = (None, None, None);
        let mut parsed = Self::default();
        for pair in pairs(query) {
            let (key, value) = pair?;
            check_key(&key, keys.names())?;
            let filter = &mut parsed.filter;
            match key.as_str() {
                "employee_id" => add_ids(&mut employees, &value)?,
                "type" => add(&mut types, &value, |name| {
                    sources.iter().position(|source| **source == *name).ok_or_else(|| {
                        invalid(format!(
                            "unknown type `{}`; there are {}",
                            excerpt(name),
                            sources.join(", ")
                        ))
                    })
                })?,
                "priority" => add(&mut priorities, &value, priority)?,
                "since" => once(&mut filter.since, "since", time("since", &value)?)?,
                "until" => once(&mut filter.until, "until", time("until", &value)?)?,
                _ => once(&mut parsed.complete, "complete", boolean("complete", &value)?)?,
            }
        }
        parsed.filter.employees = visible_employees(employees, &visibility)?;
        parsed.filter.sources = types.map(Vec::from_iter);
        let named = parsed.filter.sources.iter().flatten();
        parsed.types = named.map(|source| Arc::clone(&sources[*source])).collect();
        parsed.filter.priorities = priorities.map(Vec::from_iter);
        Ok(parsed)
    }
}

impl Query {
    /// The names of the filter's sources.
    #[must_use]
    pub fn types(&self) -> Option<&[Arc<str>]> {
        self.filter.sources.as_ref().map(|_| &*self.types)
    }

    /// The filter for a view. The query may have been parsed before a reload that has changed the
    /// sources of the view.
    #[must_use]
    pub fn filter_for(&self, view: &View) -> Cow<'_, Filter> {
        let mut named = self.filter.sources.iter().flatten().zip(&self.types);
        if named.all(|(source, name)| view.names().get(*source) == Some(name)) {
            return Cow::Borrowed(&self.filter);
        }
        let sources = view.names().iter().enumerate();
        let wanted = sources.filter(|(_, name)| self.types.contains(name));
        let sources = Some(wanted.map(|(source, _)| source).collect());
        Cow::Owned(Filter { sources, ..self.filter.clone() })
    }
}

/// Refuses a key that is not among those that there are.
pub(super) fn check_key(key: &str, names: &[&str]) -> Result<(), Problem> {
    if names.contains(&key) {
        return Ok(());
    }
    refuse(format!("unknown key `{}`; there are {}", excerpt(key), names.join(", ")))
}

/// The priority with this name.
pub(super) fn priority(name: &str) -> Result<Priority, Problem> {
    Priority::from_name(name).ok_or_else(|| {
        invalid(format!(
            "unknown priority `{}`; there are low, medium, high, critical",
            excerpt(name)
        ))
    })
}

/// The employees of the filter: those of the query, as far as they may be seen.
pub(super) fn visible_employees(
    queried: Option<BTreeSet<String>>,
    visibility: &Visibility,
) -> Result<Option<Vec<String>>, Problem> {
    for id in queried.iter().flatten() {
        visibility.require_employee(id)?;
    }
    Ok(match visibility.only_employee() {
        Some(own) => Some(vec![own.to_string()]),
        None => queried.map(Vec::from_iter),
    })
}

/// The keys and values of a query, decoded, in their order.
pub(super) fn pairs(
    query: Option<&str>,
) -> impl Iterator<Item = Result<(String, String), Problem>> {
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(key)?, decode(value)?))
    })
}

pub(super) fn invalid(detail: String) -> Problem {
    Problem::InvalidQuery(detail)
}

pub(super) fn refuse<T>(detail: String) -> Result<T, Problem> {
    Err(invalid(detail))
}

/// The beginning of a caller's text, for quoting in an error.
pub(super) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 40;
    let mut excerpt: String = text.chars().take(MAX_CHARS).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}

/// Decodes a key or value as HTML forms encode it (`+` is a space).
fn decode(text: &str) -> Result<String, Problem> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => refuse("the query is not UTF-8 when percent-decoded".to_owned()),
    }
}

/// Adds the values of a comma-separated list to a condition.
pub(super) fn add<T: Ord>(
    condition: &mut Option<BTreeSet<T>>,
    list: &str,
    value: impl Fn(&str) -> Result<T, Problem>,
) -> Result<(), Problem> {
    let values = condition.get_or_insert_default();
    for item in list.split(',') {
        values.insert(value(item)?);
    }
    Ok(())
}

/// Adds the employee ids of a comma-separated list to a condition.
pub(super) fn add_ids(condition: &mut Option<BTreeSet<String>>, list: &str) -> Result<(), Problem> {
    let ids = condition.get_or_insert_default();
    for id in list.split(',') {
        if id.is_empty() {
            return refuse("`employee_id` names no employee".to_owned());
        }
        if !ids.contains(id) {
            ids.insert(id.to_owned());
        }
    }
    Ok(())
}

pub(super) fn once<T>(condition: &mut Option<T>, key: &str, value: T) -> Result<(), Problem> {
    match condition.replace(value) {
        None => Ok(()),
        Some(_) => refuse(format!("`{key}` is given more than once")),
    }
}

pub(super) fn boolean(key: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => refuse(format!("`{key}` is `{}`; it takes true or false", excerpt(other))),
    }
}

pub(super) fn time(key: &str, value: &str) -> Result<f64, Problem> {
    time::parse(value).ok_or_else(|| {
        invalid(format!(
            "`{key}` is `{}`; it takes seconds since the epoch (1629939474.5) or an RFC 3339 time (2021-08-26T00:57:54Z)",
            excerpt(value)
        ))
    })
}

#[cfg(test)]
mod tests;
