//! Addresses of pages: the present question, changed in one place.

use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::shown::rfc3339;
use crate::decode::Priority;
use crate::render::Filter;

/// Ids longer than this are shown, but no link is made of them: an address has its limits.
const LONGEST_ID: usize = 256;

/// What needs no escape in a path segment or a query value (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of an address.
fn escape(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

/// A time as a query takes it.
pub(super) fn time(seconds: f64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}

/// The query that asks for this filter and page (from 0); empty when it asks for nothing special.
pub(super) fn query(filter: &Filter, names: &[Arc<str>], page: usize) -> String {
    let mut query = String::new();
    let mut add = |key: &str, value: &str| {
        let mark = if query.is_empty() { '?' } else { '&' };
        write!(query, "{mark}{key}={value}").expect("writing to a string does not fail");
    };
    // Ids cannot have commas in a query, so each has a key of its own.
    for id in filter.employees.iter().flatten() {
        add("employee_id", &escape(id).to_string());
    }
    if let Some(sources) = &filter.sources {
        let sources: Vec<&str> = sources.iter().map(|&source| &*names[source]).collect();
        add("type", &sources.join(","));
    }
    if let Some(priorities) = &filter.priorities {
        let priorities: Vec<&str> = priorities.iter().map(|priority| priority.as_str()).collect();
        add("priority", &priorities.join(","));
    }
    for (key, seconds) in [("since", filter.since), ("until", filter.until)] {
        if let Some(seconds) = seconds {
            add(key, &escape(&time(seconds)).to_string());
        }
    }
    if page > 0 {
        add("page", &(page + 1).to_string());
    }
    query
}

/// Where an employee's page is, under the same filter but for the employees.
pub(super) fn employee(id: &str, filter: &Filter, names: &[Arc<str>]) -> Option<String> {
    // A client would take a segment of dots away.
    let linkable = id.len() <= LONGEST_ID && !matches!(id, "" | "." | "..");
    let filter = Filter { employees: None, ..filter.clone() };
    linkable.then(|| format!("/employees/{}{}", escape(id), query(&filter, names, 0)))
}

/// Where an employee's document is.
pub(super) fn document(id: &str) -> String {
    format!("/incidents/{}", escape(id))
}

/// The same filter for one priority alone.
pub(super) fn only(priority: Priority, filter: &Filter) -> Filter {
    Filter { priorities: Some(vec![priority]), ..filter.clone() }
}

/// One page of a list.
pub(super) struct Pager {
    /// What the list's items are called.
    pub(super) of: &'static str,
    /// Of the items, from 1; past the last on a page that has none.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) total: usize,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl Pager {
    /// The page with this number (from 0) of a list, with addresses made by `href`.
    pub(super) fn new(
        of: &'static str,
        total: usize,
        page: usize,
        size: usize,
        href: impl Fn(usize) -> String,
    ) -> Self {
        let begin = (page * size).min(total);
        let end = (begin + size).min(total);
        let last_page = total.saturating_sub(1) / size;
        Self {
            of,
            first: begin + 1,
            last: end,
            total,
            previous: (page > 0).then(|| href((page - 1).min(last_page))),
            next: (end < total).then(|| href(page + 1)),
        }
    }

    /// Which items of the list it shows.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first - 1..self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Keys, Query};

    #[test]
    fn a_query_asks_for_the_filter_it_was_made_of() {
        let names: [Arc<str>; 2] = ["denial".into(), "other".into()];
        let filter = Filter {
            employees: Some(vec!["<a&b>".to_owned(), "é 1".to_owned()]),
            sources: Some(vec![0, 1]),
            priorities: Some(vec![Priority::High, Priority::Critical]),
            since: Some(1_629_939_474.134_612_8),
            until: Some(1_629_939_475.0),
        };
        let text = query(&filter, &names, 0);
        assert_eq!(Query::parse(Some(&text[1..]), Keys::All, &names).unwrap().filter, filter);
        assert!(!text.contains('<') && text.contains("until=2021-08-26T00%3A57%3A55Z"), "{text}");
        assert_eq!(query(&Filter::default(), &names, 2), "?page=3");
        assert_eq!(
            employee("a/b?", &Filter::default(), &names).as_deref(),
            Some("/employees/a%2Fb%3F")
        );
        assert_eq!(employee("..", &Filter::default(), &names), None);
    }

    #[test]
    fn pages_begin_and_end_where_the_list_does() {
        let pager = |total, page| {
            let pager = Pager::new("items", total, page, 50, |page| page.to_string());
            (pager.range(), pager.previous, pager.next)
        };
        assert_eq!(pager(120, 0), (0..50, None, Some("1".to_owned())));
        assert_eq!(pager(120, 2), (100..120, Some("1".to_owned()), None));
        assert_eq!(pager(120, 9), (120..120, Some("2".to_owned()), None));
        assert_eq!(pager(0, 0), (0..0, None, None));
    }
}
