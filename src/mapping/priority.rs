//! Priorities, and how values of a source's records map to them.

use super::{MappingError, Paths};
use crate::json::{Found, ValueKind};

/// How urgent an incident is, in the order in which the document lists them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl Priority {
    /// Every priority, in order.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in records and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The priority with this name; names are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name)
    }
}

/// How a record's priority is found (`priority` of a mapped source).
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityMapping {
    at: Paths,
    rule: PriorityRule,
    default: Option<Priority>,
}

/// What a value means, beside the four names of priorities, which always mean themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityRule(Rule);

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Names,
    Values(Vec<(String, Priority)>),
    AtLeast(Vec<(f64, Priority)>),
}

impl PriorityRule {
    /// The four names alone.
    #[must_use]
    pub const fn names() -> Self {
        Self(Rule::Names)
    }

    /// These values (`values`), compared without regard to case; looked up before the four names.
    ///
    /// # Errors
    ///
    /// When there are none, or when two values that differ in case alone mean different priorities.
    pub fn values(values: Vec<(String, Priority)>) -> Result<Self, MappingError> {
        if values.is_empty() {
            return Err(MappingError::new("`values` is empty; leave it out"));
        }
        for (index, (value, priority)) in values.iter().enumerate() {
            let same = values[..index].iter().find(|(other, _)| equal_without_case(other, value));
            if let Some((other, _)) = same.filter(|(_, other)| other != priority) {
                return Err(MappingError::new(format!(
                    "`{other}` and `{value}` differ in case alone, which is not regarded; keep one"
                )));
            }
        }
        Ok(Self(Rule::Values(values)))
    }

    /// Numbers at least as great as these (`at_least`).
    ///
    /// # Errors
    ///
    /// When there are none, when one is not finite, or when they do not ascend.
    pub fn at_least(thresholds: Vec<(f64, Priority)>) -> Result<Self, MappingError> {
        if thresholds.is_empty() {
            return Err(MappingError::new("`at_least` is empty; leave it out"));
        }
        if thresholds.iter().any(|(least, _)| !least.is_finite()) {
            return Err(MappingError::new("the numbers of `at_least` must be finite"));
        }
        if let Some(pair) = thresholds.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(MappingError::new(format!(
                "the numbers of `at_least` must ascend; {} comes before {}",
                pair[0].0, pair[1].0
            )));
        }
        Ok(Self(Rule::AtLeast(thresholds)))
    }

    /// The configured `values`, unless there are none.
    #[must_use]
    pub fn as_values(&self) -> Option<&[(String, Priority)]> {
        match &self.0 {
            Rule::Values(values) => Some(values),
            _ => None,
        }
    }

    /// The configured `at_least`, ascending, unless there is none.
    #[must_use]
    pub fn as_at_least(&self) -> Option<&[(f64, Priority)]> {
        match &self.0 {
            Rule::AtLeast(thresholds) => Some(thresholds),
            _ => None,
        }
    }
}

impl PriorityMapping {
    /// `at` are the paths to the value, `rule` says what the value means, and `default` is the
    /// priority of records whose value is absent or maps to nothing. Without a path every record
    /// has the default.
    ///
    /// # Errors
    ///
    /// When there is neither a path nor a default.
    pub fn new(
        at: Paths,
        rule: PriorityRule,
        default: Option<Priority>,
    ) -> Result<Self, MappingError> {
        if at.is_empty() && default.is_none() {
            return Err(MappingError::new("`at` or `default` is missing"));
        }
        Ok(Self { at, rule, default })
    }

    /// The paths to the value.
    #[must_use]
    pub fn at(&self) -> &[crate::json::Path] {
        &self.at
    }

    /// What the value means.
    #[must_use]
    pub fn rule(&self) -> &PriorityRule {
        &self.rule
    }

    /// The priority of records whose value is absent or maps to nothing.
    #[must_use]
    pub fn default_priority(&self) -> Option<Priority> {
        self.default
    }

    /// The priority that a value maps to, without regard to [`Self::default_priority`]. `raw` is
    /// the value's JSON text.
    #[must_use]
    pub fn map(&self, kind: ValueKind, raw: &str) -> Option<Priority> {
        let text = match (Found { kind, raw }).text() {
            Some(text) => text,
            None if matches!(raw, "true" | "false") => raw.into(),
            None => return None,
        };
        let mapped = match &self.rule.0 {
            Rule::Names => None,
            Rule::Values(values) => values
                .iter()
                .find(|(value, _)| equal_without_case(value, &text))
                .map(|(_, priority)| *priority),
            Rule::AtLeast(thresholds) => number(&text).and_then(|number| {
                let reached = thresholds.iter().rev().find(|(least, _)| number >= *least);
                reached.map(|(_, priority)| *priority)
            }),
        };
        mapped.or_else(|| {
            Priority::ALL.into_iter().find(|priority| text.eq_ignore_ascii_case(priority.as_str()))
        })
    }
}

/// The number that a decimal text spells.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    // The standard library also reads `inf` and `nan`.
    let is_decimal = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    if is_decimal { text.parse().ok() } else { None }
}

/// Whether two texts are equal without regard to case. It stops at the first difference, because
/// a record's value may be long.
fn equal_without_case(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || lowercase(left).eq(lowercase(right))
}

fn lowercase(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rule: &PriorityRule, json: &str) -> Option<Priority> {
        let mapping = PriorityMapping::new(vec![], rule.clone(), Some(Priority::Low)).unwrap();
        mapping.map(Found::new(json).kind, json)
    }

    #[test]
    fn values_are_looked_up_before_the_names_without_regard_to_case() {
        let values = [("Ä1", Priority::High), ("2", Priority::Medium), ("true", Priority::Low)];
        let values = values.into_iter().chain([("high", Priority::Critical)]);
        let rule = PriorityRule::values(values.map(|(v, p)| (v.to_owned(), p)).collect()).unwrap();
        for (json, priority) in [
            ("\"ä1\"", Some(Priority::High)),
            (r#""\u00c41""#, Some(Priority::High)),
            ("\"ä12\"", None),
            ("\"ä\"", None),
            ("2", Some(Priority::Medium)),
            ("\"2\"", Some(Priority::Medium)),
            ("2.0", None),
            ("true", Some(Priority::Low)),
            ("false", None),
            ("\"HIGH\"", Some(Priority::Critical)),
            ("\"Medium\"", Some(Priority::Medium)),
            ("\"\"", None),
            ("null", None),
            ("{\"a\":1}", None),
            (r#""\ud800""#, None),
        ] {
            assert_eq!(map(&rule, json), priority, "{json}");
        }
    }

    #[test]
    fn numbers_reach_the_greatest_threshold_that_is_not_above_them() {
        let thresholds =
            vec![(0.0, Priority::Low), (7.0, Priority::Medium), (12.5, Priority::High)];
        let rule = PriorityRule::at_least(thresholds).unwrap();
        for (json, priority) in [
            ("-0.1", None),
            ("-0", Some(Priority::Low)),
            ("6.999", Some(Priority::Low)),
            ("7", Some(Priority::Medium)),
            ("12.5", Some(Priority::High)),
            ("1e3", Some(Priority::High)),
            ("\" 7 \"", Some(Priority::Medium)),
            ("\"12.4\"", Some(Priority::Medium)),
            ("\"inf\"", None),
            ("\"nan\"", None),
            ("\"CRITICAL\"", Some(Priority::Critical)),
            ("true", None),
        ] {
            assert_eq!(map(&rule, json), priority, "{json}");
        }
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let value = |text: &str, priority| (text.to_owned(), priority);
        for (rule, part) in [
            (PriorityRule::values(vec![]), "empty"),
            (
                PriorityRule::values(vec![value("A", Priority::Low), value("a", Priority::High)]),
                "`A` and `a`",
            ),
            (PriorityRule::at_least(vec![]), "empty"),
            (PriorityRule::at_least(vec![(f64::NAN, Priority::Low)]), "finite"),
            (
                PriorityRule::at_least(vec![(7.0, Priority::Low), (7.0, Priority::High)]),
                "must ascend; 7 comes before 7",
            ),
        ] {
            assert!(rule.unwrap_err().detail.contains(part), "{part}");
        }
        assert!(PriorityMapping::new(vec![], PriorityRule::names(), None).is_err());
    }
}
