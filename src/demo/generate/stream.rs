//! The records of one incident source, one after the other.

use std::io::Write as _;

use super::population::{self, Population};
use super::rng::Rng;
use crate::demo::Endpoint;

/// Times are counted in steps of 100 ns, which gives the upstream's 17-digit timestamps.
const SECOND: u64 = 10_000_000;

/// The first moment: 2021-08-26T00:00:00Z.
const START: u64 = 1_629_936_000 * SECOND;

/// What the data spans, however many records there are.
const SPAN: u64 = 30 * 24 * 3600 * SECOND;

/// Each source has a record at each of these moments, all about the same employee: ties across the
/// sources.
const STORM_EVERY: u64 = 12 * 3600 * SECOND;

const PRIORITIES: [&str; 20] = [
    "low", "low", "low", "low", "low", "low", "low", "low", "low", "low", "medium", "medium",
    "medium", "medium", "medium", "medium", "high", "high", "high", "critical",
];

/// What a record tells; the previous one is kept, because some come in bursts.
#[derive(Clone, Copy, Debug)]
struct Incident {
    employee: u64,
    priority: &'static str,
    time: u64,
}

/// Writes one source's records in the order in which the upstream lists them.
#[derive(Debug)]
pub(super) struct Stream {
    endpoint: Endpoint,
    population: Population,
    seed: u64,
    rng: Rng,
    /// The mean time between two records.
    gap: u64,
    now: u64,
    last: Option<Incident>,
}

impl Stream {
    /// The source's records, of which about `records` are going to be taken.
    pub(super) fn new(endpoint: Endpoint, population: Population, records: u64, seed: u64) -> Self {
        Self {
            endpoint,
            population,
            seed,
            rng: Rng::new(seed, endpoint.index() as u64),
            gap: SPAN / records.max(1),
            now: START,
            last: None,
        }
    }

    /// Writes the next record, without whitespace.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        let incident = self.next_incident();
        self.last = Some(incident);
        let Incident { employee, priority, time } = incident;
        out.extend_from_slice(b"{\"priority\":\"");
        out.extend_from_slice(priority.as_bytes());
        out.push(b'"');
        match self.endpoint {
            Endpoint::Identities => unreachable!("identities are no incidents"),
            Endpoint::Denial => {
                self.write_id(out, "reported_by", employee);
                write_time(out, time);
                self.write_any_address(out, "source_ip");
            }
            Endpoint::Intrusion => {
                self.write_machine(out, "internal_ip", employee);
                write_time(out, time);
                self.write_any_address(out, "source_ip");
            }
            Endpoint::Executable => {
                self.write_machine(out, "machine_ip", employee);
                write_time(out, time);
            }
            Endpoint::Misuse | Endpoint::Unauthorized => {
                self.write_id(out, "employee_id", employee);
                write_time(out, time);
            }
            Endpoint::Probing => {
                self.write_machine(out, "ip", employee);
                write_time(out, time);
            }
            Endpoint::Other => {
                if self.rng.one_in(3) {
                    self.write_machine(out, "identifier", employee);
                } else {
                    self.write_id(out, "identifier", employee);
                }
                write_time(out, time);
            }
        }
        if self.rng.one_in(40) {
            self.write_extra(out);
        }
        out.push(b'}');
    }

    fn next_incident(&mut self) -> Incident {
        if let Some(last) = self.last
            && self.rng.one_in(50)
        {
            return last;
        }
        let before = self.now;
        if self.rng.one_in(80) {
            // A run that comes late: from here the list ascends again, below what it had reached.
            self.now = self.now.saturating_sub(25 * self.gap).max(START);
        } else {
            self.now += 1 + self.rng.below(2 * self.gap);
        }
        let storm = self.now / STORM_EVERY;
        if storm > before / STORM_EVERY {
            let mut chance = Rng::new(self.seed, storm);
            let employee = self.population.employee(&mut chance);
            return Incident {
                employee,
                priority: chance.pick(&PRIORITIES),
                time: storm * STORM_EVERY,
            };
        }
        Incident {
            employee: self.population.employee(&mut self.rng),
            priority: self.rng.pick(&PRIORITIES),
            time: self.now,
        }
    }

    fn write_id(&mut self, out: &mut Vec<u8>, field: &str, employee: u64) {
        let quote = if self.rng.one_in(12) { "\"" } else { "" };
        write!(out, ",\"{field}\":{quote}{}{quote}", population::id(employee))
            .expect("writing to memory succeeds");
    }

    /// Writes an address of the employee, or now and then of somebody whom the table does not know.
    fn write_machine(&mut self, out: &mut Vec<u8>, field: &str, employee: u64) {
        let machine = if self.rng.one_in(40) {
            population::stranger(&mut self.rng)
        } else {
            population::machine_of(employee, &mut self.rng)
        };
        self.write_address(out, field, machine);
    }

    /// Writes the address of anybody: it is not the record's identity.
    fn write_any_address(&mut self, out: &mut Vec<u8>, field: &str) {
        let employee = self.population.employee(&mut self.rng);
        self.write_machine(out, field, employee);
    }

    fn write_address(&mut self, out: &mut Vec<u8>, field: &str, machine: u64) {
        write!(out, ",\"{field}\":\"").expect("writing to memory succeeds");
        if self.rng.one_in(30) {
            population::write_address_otherwise(out, machine, &mut self.rng);
        } else {
            population::write_address(out, machine);
        }
        out.push(b'"');
    }

    /// Writes a member that the gateway knows nothing of.
    fn write_extra(&mut self, out: &mut Vec<u8>) {
        let (rule, score) = (self.rng.below(100), self.rng.below(100));
        match self.rng.below(3) {
            0 => write!(out, ",\"rule\":\"R-{rule:02}\""),
            1 => write!(out, ",\"score\":0.{score:02}"),
            _ => write!(out, ",\"details\":{{\"port\":{rule},\"tags\":[\"a\",\"é\"]}}"),
        }
        .expect("writing to memory succeeds");
    }
}

/// Writes the time as the upstream does: seconds, with as many decimals as there are.
fn write_time(out: &mut Vec<u8>, time: u64) {
    let (seconds, fraction) = (time / SECOND, time % SECOND);
    write!(out, ",\"timestamp\":{seconds}").expect("writing to memory succeeds");
    if fraction == 0 {
        out.extend_from_slice(b".0");
        return;
    }
    write!(out, ".{fraction:07}").expect("writing to memory succeeds");
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_like_the_upstreams() {
        for (time, wanted) in [
            (16_299_394_741_346_128, ",\"timestamp\":1629939474.1346128"),
            (16_299_394_740_000_100, ",\"timestamp\":1629939474.00001"),
            (16_299_394_740_000_000, ",\"timestamp\":1629939474.0"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn a_stream_is_mostly_sorted_and_has_ties_strangers_and_both_kinds_of_ids() {
        let population = Population { employees: 60 };
        let records = 5000;
        let mut stream = Stream::new(Endpoint::Other, population, records, 7);
        let (mut times, mut text) = (Vec::new(), Vec::new());
        for _ in 0..records {
            stream.write(&mut text);
            text.push(b'\n');
            times.push(stream.last.unwrap().time);
        }
        let text = String::from_utf8(text).unwrap();
        let count = |wanted: &str| text.matches(wanted).count();
        let descents = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
        let equals = times.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((20..=120).contains(&descents), "{descents}");
        assert!((50..=200).contains(&equals), "{equals}");
        assert!(count("\"identifier\":\"17.") > 800 && count("\"identifier\":\"2001:") > 50);
        assert!(count("\"identifier\":\"::") > 10);
        assert!(count("\"low\"") > count("\"critical\"") && count("\"critical\"") > 100);
        let known: Vec<String> = (0..population.machines())
            .map(|machine| {
                let mut address = Vec::new();
                population::write_address(&mut address, machine);
                format!("\"{}\"", String::from_utf8(address).unwrap())
            })
            .collect();
        let strangers = text
            .lines()
            .filter(|line| {
                line.contains("\"identifier\":\"17.")
                    && !known.iter().any(|known| line.contains(known))
            })
            .count();
        assert!((10..=100).contains(&strangers), "{strangers}");
    }
}
