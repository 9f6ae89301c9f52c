//! Parses the query string of a request for the history.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::cursor::Cursors;
use crate::access::Scope;
use crate::config::is_name;
use crate::http::problem::Problem;
use crate::http::query::{
    add, add_ids, boolean, check_key, excerpt, invalid, once, pairs, priority, time,
    visible_employees,
};
use crate::http::visibility::Visibility;
use crate::store::{HistoryFilter, HistoryPosition};

/// How many records a page has at most, and without `limit`.
pub(in crate::http) const MAX_LIMIT: usize = 10_000;
pub(in crate::http) const DEFAULT_LIMIT: usize = 1_000;

/// How many sources a query may name.
const MAX_TYPES: usize = 1_000;

/// What a URI cannot contain as it is. The query of a request has none of it, but for what an HTTP
/// library lets pass.
const NOT_IN_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The query keys of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum HistoryKeys {
    /// Of `/history`.
    Page,
    /// Of `/history/summary`, which has no pages.
    Summary,
}

impl HistoryKeys {
    /// The names of the keys.
    pub(in crate::http) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Page => {
                &["employee_id", "type", "priority", "since", "until", "current", "limit", "cursor"]
            }
            Self::Summary => &["employee_id", "type", "priority", "since", "until", "current"],
        }
    }
}

/// A parsed query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) filter: HistoryFilter,
    pub(super) limit: usize,
    cursor: Option<String>,
}

impl Query {
    /// Parses a query string. The filter permits no more than `scope`.
    ///
    /// # Errors
    ///
    /// - [`Problem::Forbidden`] if an `employee_id` is beyond `scope`.
    /// - [`Problem::InvalidQuery`], which names the key or value and what is valid.
    pub(super) fn parse(
        query: Option<&str>,
        keys: HistoryKeys,
        scope: &Scope,
    ) -> Result<Self, Problem> {
        let visibility = Visibility::of(scope)?;
        // Sets, so that a value that is repeated thousands of times is stored once.
        let (mut employees, mut types, mut priorities) = (None, None, None);
        let mut filter = HistoryFilter::default();
        let (mut limit, mut cursor) = (None, None);
        for pair in pairs(query) {
            let (key, value) = pair?;
            check_key(&key, keys.names())?;
            match key.as_str() {
                "employee_id" => add_ids(&mut employees, &value)?,
                "type" => add(&mut types, &value, source_name)?,
                "priority" => add(&mut priorities, &value, priority)?,
                "since" => once(&mut filter.since, "since", time("since", &value)?)?,
                "until" => once(&mut filter.until, "until", time("until", &value)?)?,
                "current" => once(&mut filter.current, "current", boolean("current", &value)?)?,
                "limit" => once(&mut limit, "limit", parse_limit(&value)?)?,
                _ => once(&mut cursor, "cursor", value)?,
            }
        }
        filter.employees = visible_employees(employees, &visibility)?;
        if types.as_ref().is_some_and(|types| types.len() > MAX_TYPES) {
            return Err(invalid(format!("`type` takes at most {MAX_TYPES} names")));
        }
        filter.types = types.map(Vec::from_iter);
        filter.priorities = priorities.map(Vec::from_iter);
        Ok(Self { filter, limit: limit.unwrap_or(DEFAULT_LIMIT), cursor })
    }

    /// Where the page begins.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidQuery`] if the cursor is none of these.
    pub(super) fn after(&self, cursors: &Cursors) -> Result<Option<HistoryPosition>, Problem> {
        let position = |text: &String| {
            cursors.decode(text).ok_or_else(|| {
                invalid(format!(
                    "`cursor` is `{}`, which no answer has given you; follow the `Link` of an \
                     answer, or leave it out for the newest records",
                    excerpt(text)
                ))
            })
        };
        self.cursor.as_ref().map(position).transpose()
    }
}

/// The name of a source, configured or not.
fn source_name(name: &str) -> Result<String, Problem> {
    if is_name(name) {
        return Ok(name.to_owned());
    }
    Err(invalid(format!(
        "`type` is `{}`; it takes names of sources: a lower-case letter, then at most 63 \
         lower-case letters, digits, `_` or `-`",
        excerpt(name)
    )))
}

fn parse_limit(value: &str) -> Result<usize, Problem> {
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    let limit = digits.and_then(|digits| digits.parse().ok());
    limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        invalid(format!("`limit` is `{}`; it takes a number from 1 to {MAX_LIMIT}", excerpt(value)))
    })
}

/// The value of `Link` for the page at a cursor: the same query with that cursor. It is
/// relative, so that a proxy can serve the gateway below any path.
pub(super) fn next_link(query: Option<&str>, cursor: &str) -> String {
    let mut link = "<history?".to_owned();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let is_cursor = pairs(Some(pair)).flatten().any(|(key, _)| key == "cursor");
        if !is_cursor {
            link.extend(utf8_percent_encode(pair, NOT_IN_URI));
            link.push('&');
        }
    }
    link.push_str("cursor=");
    link.push_str(cursor);
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Priority;

    fn parse(query: &str) -> Result<Query, Problem> {
        let query = Query::parse(Some(query), HistoryKeys::Page, &Scope::All)?;
        query.after(&Cursors::Open)?;
        Ok(query)
    }

    #[test]
    fn every_key_has_its_meaning() {
        let position = HistoryPosition { timestamp: None, number: 9 };
        let query = format!(
            "employee_id=8,7&type=gone,denial&priority=high&priority=low&since=1.5\
             &until=1970-01-01T00:00:09Z&current=false&limit=10000&cursor={}&&employee_id=7",
            Cursors::Open.encode(position)
        );
        let strings = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
        let parsed = parse(&query).unwrap();
        assert_eq!(parsed.after(&Cursors::Open), Ok(Some(position)));
        assert_eq!(
            Query { cursor: None, ..parsed },
            Query {
                filter: HistoryFilter {
                    employees: strings(&["7", "8"]),
                    types: strings(&["denial", "gone"]),
                    priorities: Some(vec![Priority::Low, Priority::High]),
                    since: Some(1.5),
                    until: Some(9.0),
                    current: Some(false),
                },
                limit: 10_000,
                cursor: None,
            }
        );
        let nothing = Query::parse(None, HistoryKeys::Page, &Scope::All).unwrap();
        assert_eq!(nothing, Query { filter: HistoryFilter::default(), limit: 1000, cursor: None });
    }

    #[test]
    fn refusals_name_the_value_and_what_is_valid() {
        for (query, parts) in [
            ("x=1", ["`x`", "cursor"]),
            ("complete=true", ["`complete`", "current"]),
            ("employee_id=", ["employee_id", "names no employee"]),
            ("type=", ["`type`", "names of sources"]),
            ("type=Denial", ["`Denial`", "lower-case"]),
            ("type=a%00", ["`type`", "lower-case"]),
            ("priority=urgent", ["`urgent`", "critical"]),
            ("since=nan", ["`since`", "RFC 3339"]),
            ("until=inf", ["`until`", "RFC 3339"]),
            ("current=1", ["`current`", "true or false"]),
            ("current=true&current=true", ["`current`", "more than once"]),
            ("limit=0", ["`limit`", "from 1 to 10000"]),
            ("limit=10001", ["`limit`", "from 1 to 10000"]),
            ("limit=", ["`limit`", "from 1 to 10000"]),
            ("limit=%2B5", ["`limit`", "from 1 to 10000"]),
            ("limit=99999999999999999999", ["`limit`", "from 1 to 10000"]),
            ("limit=1&limit=1", ["`limit`", "more than once"]),
            ("cursor=", ["`cursor`", "leave it out"]),
            ("cursor=AAAA", ["`AAAA`", "leave it out"]),
            ("%ff=1", ["UTF-8", "query"]),
        ] {
            let Err(Problem::InvalidQuery(detail)) = parse(query) else { panic!("{query}") };
            assert!(parts.iter().all(|part| detail.contains(part)), "{query}: {detail}");
        }
        for key in ["limit=1", "cursor=AAAA"] {
            let refused = Query::parse(Some(key), HistoryKeys::Summary, &Scope::All);
            assert!(matches!(refused, Err(Problem::InvalidQuery(_))), "{key}");
        }
        let types: Vec<String> = (0..=MAX_TYPES).map(|number| format!("s{number}")).collect();
        assert!(parse(&format!("type={}", types.join(","))).is_err());
        assert!(parse(&format!("type={}", types[1..].join(","))).is_ok());
    }

    #[test]
    fn one_employee_sees_only_their_own() {
        let own = Scope::Employee("7".into());
        let parse = |query| Query::parse(Some(query), HistoryKeys::Page, &own);
        for query in ["", "employee_id=7", "type=denial"] {
            assert_eq!(parse(query).unwrap().filter.employees, Some(vec!["7".to_owned()]));
        }
        assert_eq!(parse("employee_id=8"), Err(Problem::Forbidden));
        for scope in [Scope::Metrics, Scope::Nothing] {
            assert_eq!(Query::parse(None, HistoryKeys::Summary, &scope), Err(Problem::Forbidden));
        }
    }

    #[test]
    fn the_example_of_a_link_is_one() {
        let document = include_str!("../openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        let position = HistoryPosition { timestamp: Some(1_629_939_474.134_612_8), number: 2001 };
        let example = &document["components"]["headers"]["Link"]["example"];
        assert_eq!(
            *example,
            next_link(Some("type=denial&limit=100"), &Cursors::Open.encode(position))
        );
    }

    #[test]
    fn a_link_repeats_the_query_with_another_cursor() {
        let position = HistoryPosition { timestamp: Some(5.0), number: 3 };
        let new = Cursors::Open.encode(position);
        for (query, kept) in [
            (None, ""),
            (Some(""), ""),
            (Some("limit=5&&cursor=x&employee_id=a%2Cb,c"), "limit=5&employee_id=a%2Cb,c&"),
            (
                Some("curs%6Fr=x&since=2021-08-26T00:57:54%2B02:00"),
                "since=2021-08-26T00:57:54%2B02:00&",
            ),
            (Some("employee_id=é>"), "employee_id=%C3%A9%3E&"),
        ] {
            let link = next_link(query, &new);
            assert_eq!(link, format!("<history?{kept}cursor={new}>; rel=\"next\""));
        }
    }
}
