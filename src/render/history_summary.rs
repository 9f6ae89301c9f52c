//! Renders the document of `/history/summary`, which has the shape of that of `/summary`.

use std::sync::Arc;

use super::summary::{Document, EmployeeTotal, EmployeeTotals, Tally};
use crate::join::OrderKey;
use crate::store::HistorySummary;

/// Renders the document of `/history/summary`.
///
/// The sources with these names come first, in their order, also those without records; then the
/// others, by name. `person_name` is the name of the person with an employee id. The number of
/// unattributed records is left out unless `counts_unattributed`.
#[must_use]
pub fn history_summary<'a>(
    summary: &'a HistorySummary,
    names: &'a [Arc<str>],
    person_name: impl Fn(&str) -> Option<&'a str>,
    counts_unattributed: bool,
) -> Vec<u8> {
    let mut cells: Vec<(&str, [Tally; 4])> =
        names.iter().map(|name| (&**name, [Tally::default(); 4])).collect();
    // A store lists them by name.
    for cell in &summary.cells {
        let known = cells.iter().position(|(name, _)| *name == cell.source);
        let source = known.unwrap_or_else(|| {
            cells.push((&cell.source, [Tally::default(); 4]));
            cells.len() - 1
        });
        cells[source].1[cell.priority as usize] =
            Tally { count: cell.count, earliest: Some(cell.earliest), latest: Some(cell.latest) };
    }
    let mut top: Vec<_> = summary.top_employees.iter().collect();
    // Equals stay in the order of `/summary`.
    top.sort_by_cached_key(|employee| OrderKey::new(&employee.employee_id));
    let top = top.into_iter().map(|employee| EmployeeTotal {
        employee_id: &employee.employee_id,
        name: person_name(&employee.employee_id),
        count: employee.priorities.iter().sum(),
        priorities: employee.priorities,
        latest: employee.latest,
    });
    let mut employees = EmployeeTotals { count: summary.employees, top: top.collect() };
    employees.keep_top();
    Document::new(cells, counts_unattributed.then_some(summary.unattributed), employees).to_json()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decode::Priority;
    use crate::store::{SummaryCell, SummaryEmployee};

    #[test]
    fn configured_sources_come_first_and_totals_add_up() {
        let cell = |source: &str, priority, count, earliest, latest| SummaryCell {
            source: source.to_owned(),
            priority,
            count,
            earliest,
            latest,
        };
        let summary = HistorySummary {
            cells: vec![
                cell("a-gone", Priority::High, 2, 1.0, 5.0),
                cell("misuse", Priority::Low, 3, 2.0, 9.5),
                cell("misuse", Priority::High, 1, 4.0, 4.0),
                cell("z-gone", Priority::Low, 1, 0.5, 0.5),
            ],
            unattributed: 11,
            employees: 2,
            top_employees: vec![
                SummaryEmployee { employee_id: "7".into(), priorities: [4, 0, 1, 0], latest: 9.5 },
                SummaryEmployee { employee_id: "8".into(), priorities: [0, 0, 2, 0], latest: 5.0 },
            ],
        };
        let names = ["denial".into(), "misuse".into()];
        let name = |id: &str| (id == "7").then_some("Ann");
        let text = String::from_utf8(history_summary(&summary, &names, name, true)).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let order = ["denial", "misuse", "a-gone", "z-gone"];
        let by_type = &text[text.find("by_type").unwrap()..text.find("by_priority").unwrap()];
        assert!(order.map(|name| by_type.find(name).unwrap()).is_sorted(), "{by_type}");
        assert_eq!(document["total"], json!({"count": 7, "earliest": 0.5, "latest": 9.5}));
        assert_eq!(document["unattributed"], 11);
        assert_eq!(
            document["by_type"]["denial"],
            json!({"count": 0, "earliest": null, "latest": null})
        );
        assert_eq!(
            document["by_priority"]["high"],
            json!({"count": 3, "earliest": 1.0, "latest": 5.0})
        );
        assert_eq!(document["by_type_and_priority"]["misuse"]["high"]["count"], 1);
        assert_eq!(document["employees"]["count"], 2);
        assert_eq!(
            document["employees"]["top"][0],
            json!({"employee_id": "7", "name": "Ann", "count": 5, "low": 4, "medium": 0, "high": 1,
                "critical": 0, "latest": 9.5})
        );
        assert_eq!(document["employees"]["top"][1].get("name"), None);
        let own = history_summary(&summary, &names, name, false);
        let own: Value = serde_json::from_slice(&own).unwrap();
        assert_eq!(own.get("unattributed"), None);
    }
}
