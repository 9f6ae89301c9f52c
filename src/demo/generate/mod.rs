//! Makes data in the upstream's shapes: any number of records, or the fixtures with their
//! hand-written quirks.
//!
//! The same seed gives the same bytes, on every platform and with every version of every crate.

mod population;
mod quirks;
mod rng;
mod stream;

use std::io::Write as _;

use population::Population;
use stream::Stream;

use super::Endpoint;

pub use quirks::{Quirk, quirks};

/// How much data to make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Records of all sources together; each source gets its equal share.
    pub incidents: u64,
    /// Employees in the identities table, two machines each; from 1 to [`Plan::MOST_EMPLOYEES`].
    pub employees: u64,
    /// Another seed gives other data.
    pub seed: u64,
}

impl Plan {
    /// The most employees that there are ids for.
    pub const MOST_EMPLOYEES: u64 = population::MOST_EMPLOYEES;

    /// How many employees so many records would come from: one for each 25, at least 60, at most
    /// 100,000.
    #[must_use]
    pub const fn usual_employees(incidents: u64) -> u64 {
        match incidents / 25 {
            ..60 => 60,
            100_000.. => 100_000,
            employees => employees,
        }
    }

    /// The endpoint's whole answer: `{"results":[…]}`, or the identities object.
    ///
    /// # Panics
    ///
    /// If the employees are none, or more than [`Plan::MOST_EMPLOYEES`].
    #[must_use]
    pub fn body(&self, endpoint: Endpoint) -> Vec<u8> {
        assert!(
            (1..=Self::MOST_EMPLOYEES).contains(&self.employees),
            "no ids for {} employees",
            self.employees
        );
        let population = Population { employees: self.employees };
        if endpoint == Endpoint::Identities {
            return Layout::TABLE
                .body(population.machines(), |machine, out| write_entry(out, machine));
        }
        let sources = Endpoint::ALL.len() as u64 - 1;
        // Identities have index 0; the first sources take what does not divide.
        let has_one_more = endpoint.index() as u64 <= self.incidents % sources;
        let records = self.incidents / sources + u64::from(has_one_more);
        let mut stream = Stream::new(endpoint, population, records, self.seed);
        Layout::LIST.body(records, |_, out| stream.write(out))
    }
}

/// What stands in the repository as `fixtures/<name>.json`, quirks included.
#[must_use]
pub fn fixture(endpoint: Endpoint) -> Vec<u8> {
    const SEED: u64 = 20_210_826;
    const RECORDS: u64 = 200;
    let population = Population { employees: 60 };
    let quirks: Vec<Quirk> = quirks().filter(|quirk| quirk.endpoint == endpoint).collect();
    let quirk_at =
        |index| quirks.iter().find(|quirk| quirk.at == index).map(|quirk| quirk.text.as_bytes());
    if endpoint == Endpoint::Identities {
        let mut machines = 0..population.machines();
        return Layout::TABLE.body(population.machines() + quirks.len() as u64, |index, out| {
            match quirk_at(index) {
                Some(text) => out.extend_from_slice(text),
                None => machines.by_ref().take(1).for_each(|machine| write_entry(out, machine)),
            }
        });
    }
    let layout = if endpoint == Endpoint::Other { Layout::SPACED_LIST } else { Layout::LIST };
    let mut stream = Stream::new(endpoint, population, RECORDS, SEED);
    layout.body(RECORDS, |index, out| match quirk_at(index) {
        Some(text) => out.extend_from_slice(text),
        None => stream.write(out),
    })
}

/// What stands around and between the parts of a body.
struct Layout {
    open: &'static [u8],
    between: &'static [u8],
    close: &'static [u8],
}

impl Layout {
    const TABLE: Self = Self { open: b"{", between: b",", close: b"}" };
    const LIST: Self = Self { open: b"{\"results\":[", between: b",", close: b"]}" };
    /// As Python's `json.dumps` prints, with a line's end.
    const SPACED_LIST: Self = Self { open: b"{\"results\": [", between: b", ", close: b"]}\n" };

    fn body(&self, parts: u64, mut write: impl FnMut(u64, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = self.open.to_vec();
        for index in 0..parts {
            if index > 0 {
                out.extend_from_slice(self.between);
            }
            write(index, &mut out);
        }
        out.extend_from_slice(self.close);
        out.shrink_to_fit();
        out
    }
}

/// Writes the machine's entry of the identities object.
fn write_entry(out: &mut Vec<u8>, machine: u64) {
    out.push(b'"');
    population::write_address(out, machine);
    write!(out, "\":{}", population::id(population::owner(machine)))
        .expect("writing to memory succeeds");
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Results<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }

    #[test]
    fn a_plan_gives_exactly_its_records_and_the_same_bytes_each_time() {
        for incidents in [0, 1, 6, 7, 10, 5003] {
            let plan = Plan { incidents, employees: 60, seed: 3 };
            let mut total = 0;
            for endpoint in &Endpoint::ALL[1..] {
                let body = plan.body(*endpoint);
                total += serde_json::from_slice::<Results<'_>>(&body).unwrap().results.len() as u64;
                assert_eq!(body, plan.body(*endpoint));
            }
            assert_eq!(total, incidents);
        }
        let plan = Plan { incidents: 700, employees: 60, seed: 3 };
        let other = Plan { seed: 4, ..plan };
        assert_ne!(plan.body(Endpoint::Denial), other.body(Endpoint::Denial));
    }

    #[test]
    fn the_table_has_two_machines_for_each_employee() {
        let body = Plan { incidents: 0, employees: 100, seed: 3 }.body(Endpoint::Identities);
        let table: std::collections::HashMap<String, u64> = serde_json::from_slice(&body).unwrap();
        assert_eq!(table.len(), 200);
        let owners: std::collections::HashSet<u64> = table.into_values().collect();
        assert_eq!(owners.len(), 100);
    }

    #[test]
    fn employees_grow_with_the_records_within_limits() {
        assert_eq!(Plan::usual_employees(0), 60);
        assert_eq!(Plan::usual_employees(100_000), 4000);
        assert_eq!(Plan::usual_employees(1_000_000_000), 100_000);
    }
}
