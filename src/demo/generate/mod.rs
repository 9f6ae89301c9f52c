//! Generates data in the upstream's formats that looks like production's.
//!
//! The output is a function of seed and time alone: it does not depend on the platform or on the
//! version of any crate.

mod arrivals;
mod mapped;
mod people;
mod population;
mod records;
mod rng;

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use population::Population;
use records::Records;

use super::Endpoint;
use super::list_query::ListQuery;
use super::ticks::ticks;

/// A fixed number of records over about a day, for load tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The number of records of the seven plain sources together, divided equally among them. Each
    /// mapped source has as many as one of them.
    pub incidents: u64,
    /// The number of employees in the identity table, who have two machines each; from 1 to
    /// [`Plan::MAX_EMPLOYEES`].
    pub employees: u64,
    /// Another seed gives other data.
    pub seed: u64,
}

impl Plan {
    /// The most employees that there are ids for.
    pub const MAX_EMPLOYEES: u64 = population::MAX_EMPLOYEES;

    /// When the data of [`Plan::body`] ends: 2021-09-25T00:00:00Z, in seconds since the epoch.
    const END_SECONDS: u64 = 1_632_528_000;

    /// A realistic number of employees for this number of records: one per 25 records, at least 60,
    /// at most 100,000.
    #[must_use]
    pub const fn usual_employees(incidents: u64) -> u64 {
        match incidents / 25 {
            ..60 => 60,
            100_000.. => 100_000,
            employees => employees,
        }
    }

    /// The endpoint's body at a fixed time, so that it never changes; of a list in pages, the first
    /// page.
    ///
    /// # Panics
    ///
    /// If there are no employees, or more than [`Plan::MAX_EMPLOYEES`].
    #[must_use]
    pub fn body(&self, endpoint: Endpoint) -> Vec<u8> {
        self.body_at(endpoint, UNIX_EPOCH + std::time::Duration::from_secs(Self::END_SECONDS))
    }

    /// The endpoint's body with timestamps that end at `now`.
    ///
    /// # Panics
    ///
    /// If there are no employees, or more than [`Plan::MAX_EMPLOYEES`].
    #[must_use]
    pub fn body_at(&self, endpoint: Endpoint, now: SystemTime) -> Vec<u8> {
        self.page_at(endpoint, now, &ListQuery::default())
    }

    /// The part of [`Plan::body_at`] that the query asks for; the endpoints of plain sources ignore
    /// it.
    pub(super) fn page_at(
        &self,
        endpoint: Endpoint,
        now: SystemTime,
        query: &ListQuery,
    ) -> Vec<u8> {
        assert!(
            (1..=Self::MAX_EMPLOYEES).contains(&self.employees),
            "no ids for {} employees",
            self.employees
        );
        let sources = Endpoint::PLAIN.len() as u64 - 1;
        // Identities have index 0. The first sources get the remainder of the division.
        let has_one_more = endpoint.index() as u64 <= self.incidents % sources;
        let records = self.incidents / sources + u64::from(has_one_more);
        let population = Population { employees: self.employees };
        body(endpoint, population, records, self.seed, now, query)
    }
}

/// The number of employees of [`live_body`].
const LIVE_EMPLOYEES: u64 = 400;

/// The endpoint's body at `now` with the incidents of about the last day; of a list in pages, the
/// first page. Every few seconds a new incident arrives at one of the sources, and its oldest is
/// dropped.
#[must_use]
pub fn live_body(endpoint: Endpoint, seed: u64, now: SystemTime) -> Vec<u8> {
    live_page(endpoint, seed, now, &ListQuery::default())
}

/// The part of [`live_body`] that the query asks for; the endpoints of plain sources ignore it.
pub(super) fn live_page(
    endpoint: Endpoint,
    seed: u64,
    now: SystemTime,
    query: &ListQuery,
) -> Vec<u8> {
    let per_day = match endpoint {
        Endpoint::Identities | Endpoint::People => 0,
        Endpoint::Denial => 4_300,
        Endpoint::Intrusion => 1_700,
        Endpoint::Executable => 500,
        Endpoint::Misuse => 900,
        Endpoint::Unauthorized => 300,
        Endpoint::Probing => 5_200,
        Endpoint::Other => 1_100,
        Endpoint::Signin => 1_400,
        Endpoint::Mail => 450,
    };
    body(endpoint, Population { employees: LIVE_EMPLOYEES }, per_day, seed, now, query)
}

fn body(
    endpoint: Endpoint,
    population: Population,
    records: u64,
    seed: u64,
    now: SystemTime,
    query: &ListQuery,
) -> Vec<u8> {
    let (open, close) = (b"{\"results\":[", b"]}");
    match endpoint {
        Endpoint::Identities => {
            return enclose(b"{", 0..population.machines(), b"}", write_identity);
        }
        Endpoint::People => {
            return enclose(open, 0..population.employees, close, people::write_person);
        }
        _ => {}
    }
    let (source, now) = (Records::new(endpoint, population, records, seed), ticks(now));
    match endpoint {
        Endpoint::Signin => mapped::signin_page(&source, now, query),
        Endpoint::Mail => mapped::mail_list(&source, now, query),
        _ => enclose(open, source.window(now), close, |out, number| source.write(out, number)),
    }
}

/// Writes parts separated by commas, between `open` and `close`.
fn enclose(
    open: &[u8],
    parts: std::ops::Range<u64>,
    close: &[u8],
    mut write: impl FnMut(&mut Vec<u8>, u64),
) -> Vec<u8> {
    let mut out = open.to_vec();
    for number in parts.clone() {
        if number > parts.start {
            out.push(b',');
        }
        write(&mut out, number);
    }
    out.extend_from_slice(close);
    out.shrink_to_fit();
    out
}

/// Writes the machine's entry of the identity table.
fn write_identity(out: &mut Vec<u8>, machine: u64) {
    let (address, id) = (population::address(machine), population::id(population::owner(machine)));
    write(out, format_args!("\"{address}\":{id}"));
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory succeeds");
}

#[cfg(test)]
mod tests;
