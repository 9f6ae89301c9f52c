//! What the claims of a token permit.

use std::sync::Arc;

use serde_json::Value;

use super::members::Members;
use crate::config::Jwt;
use crate::credentials::Scope;

const READ: &str = "incidents:read";
const SELF: &str = "incidents:self";
const METRICS: &str = "metrics:read";

/// The longest employee id.
const MAX_EMPLOYEE_BYTES: usize = 256;

/// What the claims permit, by the claims that the settings name.
pub(super) fn scope(claims: &Members, settings: &Jwt) -> Scope {
    let given = claims.get(&settings.scope_claim);
    let has = |scope| given.is_some_and(|given| contains(given, scope));
    let (has_read, has_self, has_metrics) = (has(READ), has(SELF), has(METRICS));
    if has_read {
        return if has_metrics { Scope::All } else { Scope::Incidents };
    }
    if has_self {
        return match claims.get(&settings.employee_claim).and_then(employee) {
            Some(id) if has_metrics => Scope::EmployeeAndMetrics(id),
            Some(id) => Scope::Employee(id),
            None => Scope::Nothing,
        };
    }
    if has_metrics { Scope::Metrics } else { Scope::Nothing }
}

/// Whether a claim, text with spaces in between (RFC 8693, section 4.2) or a list, has this scope.
fn contains(claim: &Value, scope: &str) -> bool {
    match claim {
        Value::String(scopes) => scopes.split(' ').any(|given| given == scope),
        Value::Array(scopes) => scopes.iter().any(|given| given.as_str() == Some(scope)),
        _ => false,
    }
}

/// The employee id that a claim gives as text or as a whole number.
fn employee(claim: &Value) -> Option<Arc<str>> {
    let id: Arc<str> = match claim {
        Value::String(id) => id.as_str().into(),
        Value::Number(id) if !id.is_f64() => id.to_string().into(),
        _ => return None,
    };
    (1..=MAX_EMPLOYEE_BYTES).contains(&id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Jwt {
        Jwt {
            issuer: "https://idp.test".to_owned(),
            audience: "gateway".to_owned(),
            jwks_url: None,
            ca: None,
            proxy: None,
            employee_claim: "https://example.test/employee.id".to_owned(),
            scope_claim: "scope".to_owned(),
        }
    }

    fn of(scope_claim: &str, employee_claim: &str) -> Scope {
        let claims = format!(
            r#"{{"scope":{scope_claim},"https://example.test/employee.id":{employee_claim}}}"#
        );
        scope(&serde_json::from_str(&claims).unwrap(), &settings())
    }

    #[test]
    fn known_scopes_are_combined() {
        let own = || Scope::Employee("7".into());
        for (given, expected) in [
            ("incidents:read", Scope::Incidents),
            ("incidents:self", own()),
            ("metrics:read", Scope::Metrics),
            ("incidents:read incidents:self", Scope::Incidents),
            ("incidents:self incidents:read", Scope::Incidents),
            ("incidents:read metrics:read", Scope::All),
            ("incidents:self metrics:read", Scope::EmployeeAndMetrics("7".into())),
            ("metrics:read incidents:self incidents:read", Scope::All),
            ("openid  incidents:self  ", own()),
            ("incidents:self\tincidents:read", Scope::Nothing),
            ("incidents:readonly", Scope::Nothing),
            ("Incidents:Read", Scope::Nothing),
            ("all", Scope::Nothing),
            ("*", Scope::Nothing),
            ("", Scope::Nothing),
        ] {
            assert_eq!(of(&format!("{given:?}"), "7"), expected, "{given}");
            let list: Vec<_> = given.split(' ').collect();
            assert_eq!(of(&serde_json::to_string(&list).unwrap(), "7"), expected, "{given}");
        }
        assert_eq!(of(r#"["incidents:self metrics:read"]"#, "7"), Scope::Nothing);
        assert_eq!(of(r#"[7,null,["incidents:read"],"incidents:self"]"#, "7"), own());
        for other in ["null", "true", "7", r#"{"incidents:read":true}"#] {
            assert_eq!(of(other, "7"), Scope::Nothing, "{other}");
        }
    }

    #[test]
    fn an_employee_is_text_or_a_whole_number() {
        for (claim, id) in [
            ("7", "7"),
            (r#""7""#, "7"),
            (r#""007""#, "007"),
            (r#""jürgen@example.test""#, "jürgen@example.test"),
            ("18446744073709551615", "18446744073709551615"),
            ("-7", "-7"),
        ] {
            assert_eq!(of(r#""incidents:self""#, claim), Scope::Employee(id.into()), "{claim}");
        }
        let long = format!("{:?}", "x".repeat(MAX_EMPLOYEE_BYTES + 1));
        for claim in ["null", "true", r#""""#, "7.5", "7.0", "1e3", "[7]", r#"{"id":7}"#, &long] {
            assert_eq!(of(r#""incidents:self""#, claim), Scope::Nothing, "{claim}");
            assert_eq!(of(r#""incidents:self metrics:read""#, claim), Scope::Nothing, "{claim}");
        }
        let without =
            serde_json::from_str(r#"{"scope":"incidents:self","employee_id":7}"#).unwrap();
        assert_eq!(scope(&without, &settings()), Scope::Nothing);
    }
}
