//! What of the incident data a caller may see.

use std::sync::Arc;

use super::problem::Problem;
use crate::access::Scope;
use crate::render::Filter;

/// What of the incident data a caller may see. Whatever tells of incidents (filters, headers,
/// counts, events, pages) is made for one visibility, so that no resource can forget the scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Visibility {
    /// All of it.
    Everything,
    /// The incidents of the employee with this id, and nothing that tells of others.
    Employee(Arc<str>),
}

impl Visibility {
    /// What a scope permits. Any scope that is not known to permit incidents permits none.
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`] if it permits none.
    pub(super) fn of(scope: &Scope) -> Result<Self, Problem> {
        match scope.only_employee() {
            Some(id) => Ok(Self::Employee(Arc::clone(id))),
            None if matches!(scope, Scope::All | Scope::Incidents) => Ok(Self::Everything),
            None => Err(Problem::Forbidden),
        }
    }

    /// Whether all of the data may be seen, and counts that tell of all of it.
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// The employee whose incidents alone may be seen.
    pub(super) fn only_employee(&self) -> Option<&Arc<str>> {
        match self {
            Self::Everything => None,
            Self::Employee(id) => Some(id),
        }
    }

    /// The conditions of a filter that the caller has chosen: without the one that the visibility
    /// adds. Links need no more.
    pub(super) fn chosen(&self, filter: &Filter) -> Filter {
        let chosen = filter.clone();
        if self.is_everything() { chosen } else { Filter { employees: None, ..chosen } }
    }

    /// Refuses what only those may see who may see all of the data.
    pub(super) fn require_everything(&self) -> Result<(), Problem> {
        if self.is_everything() { Ok(()) } else { Err(Problem::Forbidden) }
    }

    /// Refuses the employee with this id, unless their incidents may be seen.
    pub(super) fn require_employee(&self, id: &str) -> Result<(), Problem> {
        if self.only_employee().is_none_or(|own| **own == *id) {
            Ok(())
        } else {
            Err(Problem::Forbidden)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scopes_of_incidents_permit_incidents() {
        let own = Scope::Employee("7".into());
        assert_eq!(Visibility::of(&Scope::All), Ok(Visibility::Everything));
        assert_eq!(Visibility::of(&Scope::Incidents), Ok(Visibility::Everything));
        assert_eq!(Visibility::of(&own), Ok(Visibility::Employee("7".into())));
        for scope in [Scope::Metrics, Scope::Nothing] {
            assert_eq!(Visibility::of(&scope), Err(Problem::Forbidden), "{scope:?}");
        }
    }

    #[test]
    fn an_employee_is_compared_by_the_whole_id() {
        let own = Visibility::Employee("7".into());
        assert_eq!(own.require_employee("7"), Ok(()));
        for other in ["", "07", "77", "7 ", "8"] {
            assert_eq!(own.require_employee(other), Err(Problem::Forbidden), "{other:?}");
            assert_eq!(Visibility::Everything.require_employee(other), Ok(()));
        }
        assert_eq!(own.require_everything(), Err(Problem::Forbidden));
        assert_eq!(Visibility::Everything.require_everything(), Ok(()));
    }
}
