//! Parses the query of a page: that of `/incidents`, and `page`.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::http::Gateway;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::query::{AllowedKeys, Query};
use crate::http::snapshot_selection::RequestPreferences;
use crate::render::EMPLOYEE_KEY;

/// The empty text fields of the filter's form, which browsers send too.
const EMPTY_FIELDS: [&str; 3] = ["employee_id=", "since=", "until="];

/// The highest valid page number.
const MAX_PAGE: usize = 1_000_000;

/// A page's parsed query.
pub(super) struct PageQuery {
    pub(super) preferences: RequestPreferences,
    /// What it shares with the query of `/incidents`.
    pub(super) query: Query,
    /// From 0.
    pub(super) page: usize,
}

impl Gateway {
    pub(super) fn parse_page_query(
        &self,
        query: &str,
        headers: &HeaderMap,
        keys: AllowedKeys<'_>,
        context: &Context,
    ) -> Result<PageQuery, Problem> {
        // What a page says about its query is for those who may see the page.
        context.visibility()?;
        let (pages, rest): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !EMPTY_FIELDS.contains(pair))
            .partition(|pair| key(pair) == "page");
        let page = match pages[..] {
            [] => 1,
            [page] => page
                .strip_prefix("page=")
                .and_then(|page| page.parse().ok())
                .filter(|page| (1..=MAX_PAGE).contains(page))
                .ok_or_else(|| {
                    Problem::InvalidQuery(format!("`page` takes a number from 1 to {MAX_PAGE}"))
                })?,
            _ => return Err(Problem::InvalidQuery("`page` is given more than once".to_owned())),
        };
        let (query, preferences) =
            self.parse_query(Some(&rest.join("&")), headers, keys, context)?;
        Ok(PageQuery { preferences, query, page: page - 1 })
    }
}

/// The employee that a query names, and the rest of the query.
pub(super) fn split_employee(query: &str) -> Result<(String, String), Problem> {
    let (ids, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|pair| key(pair) == EMPLOYEE_KEY);
    let id = match ids[..] {
        [] => return Err(Problem::NotFound),
        [pair] => pair.split_once('=').map_or("", |(_, id)| id).replace('+', " "),
        _ => {
            let detail = format!("`{EMPLOYEE_KEY}` is given more than once");
            return Err(Problem::InvalidQuery(detail));
        }
    };
    let id = percent_decode_str(&id).decode_utf8().map_err(|_| {
        Problem::InvalidQuery(format!("`{EMPLOYEE_KEY}` is not UTF-8 when percent-decoded"))
    })?;
    Ok((id.into_owned(), rest.join("&")))
}

fn key(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_employee() {
        let split = |query| split_employee(query);
        let named = |id: &str, rest: &str| Ok((id.to_owned(), rest.to_owned()));
        assert_eq!(split("employee_id=.."), named("..", ""));
        assert_eq!(
            split("since=1&employee_id=a%2Fb+c,d&page=2"),
            named("a/b c,d", "since=1&page=2")
        );
        assert_eq!(split("employee_id="), named("", ""));
        assert_eq!(split("since=1"), Err(Problem::NotFound));
        for query in ["employee_id=a&employee_id=b", "employee_id=%ff"] {
            assert!(matches!(split(query), Err(Problem::InvalidQuery(_))), "{query}");
        }
    }
}
