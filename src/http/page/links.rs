//! Links between pages.
//!
//! All links are relative, so that a proxy can serve the gateway below any path.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::display::rfc3339;
use crate::decode::Priority;
use crate::render::{EMPLOYEE_KEY, Filter, employee_path, escape, is_path_segment};

/// The relative path from a page to the gateway's root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root(&'static str);

impl Root {
    /// From `/`.
    pub(super) const SAME: Self = Self("./");
    /// From a page one level below, such as `/employees/{id}`.
    pub(super) const PARENT: Self = Self("../");
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A time as a query accepts it.
pub(super) fn time(seconds: f64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}

/// The query string, including the question mark, for this filter and page (from 0). It is empty
/// for the first page of everything.
pub(super) fn query(filter: &Filter, names: &[Arc<str>], page: usize) -> String {
    let mut query = String::new();
    let mut add = |key: &str, value: &str| {
        let separator = if query.is_empty() { '?' } else { '&' };
        write!(query, "{separator}{key}={value}").expect("writing to a string does not fail");
    };
    // Each id has a key of its own, because a query separates ids by commas.
    for id in filter.employees.iter().flatten() {
        add(EMPLOYEE_KEY, &escape(id).to_string());
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

/// The link to the overview with this filter.
pub(super) fn overview(root: Root, filter: &Filter, names: &[Arc<str>], page: usize) -> String {
    format!("{root}{}", query(filter, names, page))
}

/// The link to an employee's page with the same filter, except for its employees.
pub(super) fn employee(
    root: Root,
    id: &str,
    filter: &Filter,
    names: &[Arc<str>],
    page: usize,
) -> String {
    let query = query(&Filter { employees: None, ..filter.clone() }, names, page);
    let path = employee_path(id);
    // An id that no path can have is in a query already.
    let query = if path.contains('?') { query.replacen('?', "&", 1) } else { query };
    format!("{root}{path}{query}")
}

/// The link to an employee's incidents as JSON; `None` for an id that neither a path nor a query
/// can contain.
pub(super) fn document(root: Root, id: &str) -> Option<String> {
    if is_path_segment(id) {
        Some(format!("{root}incidents/{}", escape(id)))
    } else if !id.is_empty() && !id.contains(',') {
        Some(format!("{root}incidents?{EMPLOYEE_KEY}={}", escape(id)))
    } else {
        None
    }
}

/// The link to an employee's history as JSON; `None` for an id that a query cannot contain.
pub(super) fn history(root: Root, id: &str) -> Option<String> {
    let is_expressible = !id.is_empty() && !id.contains(',');
    is_expressible.then(|| format!("{root}history?{EMPLOYEE_KEY}={}", escape(id)))
}

/// The same filter, limited to one priority.
pub(super) fn with_priority(priority: Priority, filter: &Filter) -> Filter {
    Filter { priorities: Some(vec![priority]), ..filter.clone() }
}

/// One page of a list.
pub(super) struct Pager {
    /// What the items are called.
    pub(super) items: &'static str,
    /// The first and the last item on this page, from 1. If there is none, `first` exceeds `last`.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) total: usize,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl Pager {
    /// The page with this number (from 0) of a list, with links made by `href`.
    pub(super) fn new(
        items: &'static str,
        total: usize,
        page: usize,
        size: usize,
        href: impl Fn(usize) -> String,
    ) -> Self {
        let begin = (page * size).min(total);
        let end = (begin + size).min(total);
        let last_page = total.saturating_sub(1) / size;
        Self {
            items,
            first: begin + 1,
            last: end,
            total,
            previous: (page > 0).then(|| href((page - 1).min(last_page))),
            next: (end < total).then(|| href(page + 1)),
        }
    }

    /// The indices of the items on this page.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first - 1..self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;
    use crate::http::{AllowedKeys, Query};

    #[test]
    fn a_query_is_parsed_to_the_filter_it_was_made_from() {
        let names: [Arc<str>; 2] = ["denial".into(), "other".into()];
        let filter = Filter {
            employees: Some(vec!["<a&b>".to_owned(), "é 1".to_owned()]),
            sources: Some(vec![0, 1]),
            priorities: Some(vec![Priority::High, Priority::Critical]),
            since: Some(1_629_939_474.134_612_8),
            until: Some(1_629_939_475.0),
        };
        let text = query(&filter, &names, 0);
        assert_eq!(
            Query::parse(Some(&text[1..]), AllowedKeys::All, &names, &Scope::All).unwrap().filter,
            filter
        );
        assert!(!text.contains('<') && text.contains("until=2021-08-26T00%3A57%3A55Z"), "{text}");
        assert_eq!(query(&Filter::default(), &names, 2), "?page=3");
    }

    #[test]
    fn the_path_names_an_employee_if_that_is_safe() {
        let filter = Filter { since: Some(0.5), ..Filter::default() };
        let link = |id| employee(Root::PARENT, id, &filter, &[], 1);
        assert_eq!(link("a?b#%c é"), "../employees/a%3Fb%23%25c%20%C3%A9?since=0.5&page=2");
        assert_eq!(link("..."), "../employees/...?since=0.5&page=2");
        for (id, escaped) in [("", ""), (".", "."), ("..", ".."), ("a/b", "a%2Fb"), ("\n", "%0A")] {
            assert_eq!(link(id), format!("../employees/?employee_id={escaped}&since=0.5&page=2"));
        }
        assert_eq!(document(Root::SAME, "a b").as_deref(), Some("./incidents/a%20b"));
        assert_eq!(document(Root::SAME, "..").as_deref(), Some("./incidents?employee_id=.."));
        assert_eq!(document(Root::SAME, ""), None);
        assert_eq!(history(Root::PARENT, "é").as_deref(), Some("../history?employee_id=%C3%A9"));
        assert_eq!(history(Root::PARENT, "a,b"), None);
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
