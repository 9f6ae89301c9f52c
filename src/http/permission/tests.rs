use proptest::prelude::*;

use super::*;
use crate::http::problem::Problem;
use crate::http::query::{AllowedKeys, Query};

/// Whether the employee with the id `7` may ask for this.
fn own(path_and_query: &str) -> bool {
    is_permitted_to(&Scope::Employee("7".into()), path_and_query)
}

fn is_permitted_to(scope: &Scope, path_and_query: &str) -> bool {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    is_permitted(scope, &Route::public(path), query)
}

#[test]
fn an_employee_may_ask_for_what_names_nobody_else() {
    for path in [
        "/incidents",
        "/incidents?type=denial&priority=low",
        "/incidents?employee_id=7",
        "/incidents?employee_id=7,7&employee_id=%37",
        "/incidents/7",
        "/incidents/%37",
        "/incidents/7?since=1",
        "/summary",
        "/summary?employee_id=7",
        "/history",
        "/history?employee_id=7,7&current=false&limit=9",
        "/history/summary?employee_id=7",
        "/sources",
        "/events",
        "/openapi.json",
        "/",
        "/?employee_id=7&page=2",
        "/?employee_id=&since=",
        "/employees/7",
        "/employees/7?page=2",
        "/employees/?employee_id=7",
        "/assets/style.css",
        "/nowhere",
        "/nowhere?employee_id=8",
        "/incidents/7/8",
        // Refused by the route.
        "/incidents?employee_id=",
        "/incidents?employee_id=%ff",
        "/incidents?%ff=8",
        "/incidents?Employee_id=8",
    ] {
        assert!(own(path), "{path}");
    }
}

#[test]
fn an_employee_may_not_ask_for_others() {
    for path in [
        "/unattributed",
        "/unattributed?complete=true",
        "/incidents/8",
        "/incidents/07",
        "/incidents/%38",
        "/incidents/7%20",
        "/incidents/7,8",
        "/incidents/%37%2C8",
        "/incidents?employee_id=8",
        "/history?employee_id=8",
        "/history?employee_id=7,8&cursor=x",
        "/history/summary?employee_id=8",
        "/incidents?employee_id=07",
        "/incidents?employee_id=7,8",
        "/incidents?employee_id=8,7",
        "/incidents?employee_id=7%2C8",
        "/incidents?employee_id=7&employee_id=8",
        "/incidents?employee_id=8&employee_id=7",
        "/incidents?employee%5Fid=8",
        "/incidents?%65mployee_id=%38",
        "/incidents?employee_id=+7",
        "/incidents?employee_id=7+",
        "/incidents?employee_id=%207",
        "/incidents?&&employee_id=8&&",
        "/incidents?bogus=1&employee_id=8",
        "/incidents?employee_id=8&%ff",
        "/incidents/7?employee_id=8",
        "/summary?employee_id=8",
        "/?employee_id=8",
        "/events?employee_id=8",
        "/employees/8",
        "/employees/%38",
        "/employees/7?employee_id=8",
        "/employees/?employee_id=8",
        "/employees/?employee_id=7,8",
        "/employees/?employee_id=7&employee_id=8",
    ] {
        assert!(!own(path), "{path}");
    }
}

#[test]
fn an_id_with_a_comma_is_one_id_where_the_query_names_one() {
    let scope = Scope::Employee("a,b".into());
    assert!(is_permitted_to(&scope, "/employees/?employee_id=a,b"));
    assert!(is_permitted_to(&scope, "/incidents/a,b"));
    assert!(!is_permitted_to(&scope, "/incidents?employee_id=a,b"));
    assert!(!is_permitted_to(&Scope::Employee("a".into()), "/employees/?employee_id=a,b"));
}

#[test]
fn each_scope_has_its_routes() {
    let incidents = ["/incidents", "/incidents/8", "/unattributed", "/", "/nowhere"];
    let own = Scope::Employee("7".into());
    let own_and_metrics = Scope::EmployeeAndMetrics("7".into());
    for (scope, expected, has_metrics) in [
        (&Scope::All, [true; 5], true),
        (&Scope::Incidents, [true; 5], false),
        (&own, [true, false, false, true, true], false),
        (&own_and_metrics, [true, false, false, true, true], true),
        (&Scope::Metrics, [false; 5], true),
        (&Scope::Nothing, [false; 5], false),
    ] {
        assert_eq!(incidents.map(|path| is_permitted_to(scope, path)), expected, "{scope:?}");
        assert_eq!(is_permitted(scope, &Route::Metrics, None), has_metrics, "{scope:?}");
    }
}

/// A query of pieces that come close to naming an employee.
fn query() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "employee_id",
        "employee%5fid",
        "%65mployee_id",
        "Employee_id",
        "=",
        "=",
        "&",
        "&",
        ",",
        "%2C",
        "7",
        "%37",
        "8",
        "%38",
        "+",
        "%20",
        "%00",
        "%ff",
        "%",
        "%3D",
        "%26",
        ";",
        "#",
        "since=1",
        "complete=true",
        "",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// The layer and the route decode a query alike: what passes the layer is never about others,
    /// and what the layer refuses would not have been answered.
    #[test]
    fn a_query_is_understood_as_the_route_understands_it(query in query()) {
        let scope = Scope::Employee("7".into());
        let is_permitted = is_permitted(&scope, &Route::Incidents, Some(&query));
        match Query::parse(Some(&query), AllowedKeys::All, &["denial".into()], &scope) {
            Ok(parsed) => {
                prop_assert!(is_permitted);
                prop_assert_eq!(parsed.filter.employees, Some(vec!["7".to_owned()]));
            }
            Err(Problem::Forbidden) => prop_assert!(!is_permitted),
            Err(problem) => prop_assert!(matches!(problem, Problem::InvalidQuery(_))),
        }
    }
}
