//! What queries are parsed to, within a scope, and why they are refused.

use super::*;
use crate::join::join;

fn parse(query: &str) -> Result<Query, Problem> {
    parse_as(query, AllowedKeys::All, &Scope::All)
}

fn parse_as(query: &str, keys: AllowedKeys<'_>, scope: &Scope) -> Result<Query, Problem> {
    Query::parse(Some(query), keys, &["denial".into(), "other".into()], scope)
}

#[test]
fn a_filter_never_exceeds_the_scope() {
    let own = Scope::Employee("7".into());
    for query in ["", "employee_id=7", "employee_id=7,7&employee_id=%37", "priority=low"] {
        let filter = parse_as(query, AllowedKeys::All, &own).unwrap().filter;
        assert_eq!(filter.employees, Some(vec!["7".to_owned()]), "{query}");
    }
    for query in ["employee_id=8", "employee_id=7,8", "employee_id=7&employee_id=+7"] {
        let refused = parse_as(query, AllowedKeys::All, &own);
        assert_eq!(refused, Err(Problem::Forbidden), "{query}");
    }
    let filter = parse_as("since=1", AllowedKeys::AllButEmployee("7"), &own).unwrap().filter;
    assert_eq!((filter.employees, filter.since), (Some(vec!["7".to_owned()]), Some(1.0)));
    for keys in [AllowedKeys::AllButEmployee("8"), AllowedKeys::CompleteOnly] {
        assert_eq!(parse_as("", keys, &own), Err(Problem::Forbidden), "{keys:?}");
    }
    for scope in [Scope::Metrics, Scope::Nothing] {
        for keys in [AllowedKeys::All, AllowedKeys::AllButEmployee("7"), AllowedKeys::CompleteOnly]
        {
            assert_eq!(parse_as("", keys, &scope), Err(Problem::Forbidden), "{keys:?}");
        }
    }
    let read = parse_as("employee_id=8", AllowedKeys::All, &Scope::Incidents).unwrap().filter;
    assert_eq!(read.employees, Some(vec!["8".to_owned()]));
}

#[test]
fn all_keys_of_a_query_are_parsed() {
    let query = parse(
        "type=other&type=denial,other&priority=critical%2Clow&employee_id=b,a&since=1.5e3&until=1970-01-01T01:00:00+00:00&complete=true",
    );
    let filter = Filter {
        employees: Some(vec!["a".to_owned(), "b".to_owned()]),
        sources: Some(vec![0, 1]),
        priorities: Some(vec![Priority::Low, Priority::Critical]),
        since: Some(1500.0),
        until: Some(3600.0),
    };
    let types = vec!["denial".into(), "other".into()];
    assert_eq!(query, Ok(Query { filter, complete: Some(true), types }));
    assert_eq!(parse(""), Ok(Query::default()));
    assert_eq!(parse("since=-5").map(|query| query.filter.since), Ok(Some(-5.0)));
    assert_eq!(
        parse("since=2021-08-26T00:57:54.25Z").map(|query| query.filter.since),
        Ok(Some(1_629_939_474.25))
    );
}

#[test]
fn a_filter_is_of_the_sources_of_the_view() {
    let view = |names: &[&str]| {
        let names: Arc<[Arc<str>]> = names.iter().map(|name| Arc::from(*name)).collect();
        let batches: Box<[_]> = names.iter().map(|_| None).collect();
        let index = join(&[], &batches);
        View::new(1, names, batches, index)
    };
    let query = parse("type=other,denial&since=7").unwrap();
    let sources = |names: &[&str]| {
        let filter = query.filter_for(&view(names)).into_owned();
        assert_eq!(filter.since, Some(7.0));
        filter.sources
    };
    assert_eq!(sources(&["denial", "other"]), Some(vec![0, 1]));
    assert_eq!(sources(&["denial", "other", "new"]), Some(vec![0, 1]));
    assert_eq!(sources(&["new", "other", "denial"]), Some(vec![1, 2]));
    assert_eq!(sources(&["new", "denial"]), Some(vec![1]));
    assert_eq!(sources(&["new"]), Some(Vec::new()), "which no record meets");
    let query = parse("").unwrap();
    assert_eq!(query.filter_for(&view(&["new"])).sources, None);
}

#[test]
fn repeated_values_count_once() {
    let query = "employee_id=b,a,b&".repeat(2000) + &"type=denial,denial&".repeat(1000);
    let filter = parse(&query).unwrap().filter;
    assert_eq!(filter.employees, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(filter.sources, Some(vec![0]));
}

#[test]
fn errors_name_the_invalid_key_or_value() {
    let cases = [
        ("employe_id=1", "unknown key `employe_id`"),
        ("=1", "unknown key ``"),
        ("employee_id=", "names no employee"),
        ("type=mail", "unknown type `mail`; there are denial, other"),
        ("priority=LOW", "unknown priority `LOW`"),
        ("priority=", "unknown priority ``"),
        ("since=NaN", "`since` is `NaN`"),
        ("since=inf", "`since` is `inf`"),
        ("until=-Infinity", "`until` is"),
        ("until=1e999", "`until` is `1e999`"),
        ("since=", "`since` is ``"),
        ("since=2021-08-26", "`since` is `2021-08-26`"),
        ("since=1&since=2", "`since` is given more than once"),
        ("complete=yes", "`complete` is `yes`"),
        ("employee_id=1,", "names no employee"),
        ("%ff=1", "not UTF-8"),
    ];
    for (query, expected) in cases {
        match parse(query) {
            Err(Problem::InvalidQuery(detail)) => {
                assert!(detail.contains(expected), "{query}: {detail}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}
