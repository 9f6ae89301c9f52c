//! The records of one incident source.

use super::arrivals::{Arrivals, TICKS_PER_DAY};
use super::population::{self, Population};
use super::rng::Rng;
use super::write;
use crate::demo::Endpoint;
use crate::demo::ticks::TICKS_PER_SECOND;

/// One address in this many is not in the identity table. About half of the records have an
/// address, so this affects about 1 % of them.
const ONE_UNKNOWN_ADDRESS_IN: u64 = 60;

/// One record in this many repeats the employee, priority and time of the record before it.
const ONE_REPEAT_IN: u64 = 50;

/// One record in this many is listed late: after records with a later time.
const ONE_LATE_IN: u64 = 80;

/// The largest delay of such a record: the mean time in which this many records arrive.
const MAX_RECORDS_LATE: u64 = 25;

const PRIORITIES: [&str; 40] = [
    "low", "low", "low", "low", "low", "low", "low", "low", "low", "low", "low", "low", "low",
    "low", "low", "low", "low", "low", "low", "low", "low", "low", "low", "medium", "medium",
    "medium", "medium", "medium", "medium", "medium", "medium", "medium", "medium", "high", "high",
    "high", "high", "high", "high", "critical",
];

/// The content of a record, independent of the source's field names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incident {
    pub(super) employee: u64,
    pub(super) priority: &'static str,
    /// In ticks since the epoch.
    pub(super) time: u64,
}

/// One source's records. Each is a function of its number.
#[derive(Debug)]
pub(super) struct Records {
    endpoint: Endpoint,
    population: Population,
    arrivals: Arrivals,
    seed: u64,
}

impl Records {
    /// The records of a source at which `per_day` records arrive each day.
    pub(super) fn new(endpoint: Endpoint, population: Population, per_day: u64, seed: u64) -> Self {
        let mut seeds = Rng::new(seed, endpoint.index() as u64);
        let arrivals = Arrivals { per_day, seed: seeds.next() };
        Self { endpoint, population, arrivals, seed: seeds.next() }
    }

    /// The numbers of the records that the source lists at `now`: the last `per_day` ones.
    pub(super) fn window(&self, now: u64) -> std::ops::Range<u64> {
        let end = self.arrived_by(now);
        end.saturating_sub(self.arrivals.per_day)..end
    }

    /// How many records have arrived by `now`, which is also the number of the next.
    pub(super) fn arrived_by(&self, now: u64) -> u64 {
        if self.arrivals.per_day == 0 { 0 } else { self.arrivals.count_by(now) }
    }

    /// The content of the record with this number, and the generator for the rest of it. Unlike
    /// those that [`Records::write`] writes, none repeats the one before.
    pub(super) fn unrepeated(&self, number: u64) -> (Rng, Incident) {
        let mut rng = Rng::new(self.seed, number);
        let incident = self.draw(&mut rng, number);
        (rng, incident)
    }

    /// Writes the record with this number, without whitespace.
    pub(super) fn write(&self, out: &mut Vec<u8>, number: u64) {
        let mut rng = Rng::new(self.seed, number);
        let repeats = rng.one_in(ONE_REPEAT_IN) && number > 0;
        let incident = if repeats {
            // Uses a separate generator, so that the remaining draws are those of this record.
            let mut rng = Rng::new(self.seed, number - 1);
            let _ = rng.one_in(ONE_REPEAT_IN);
            self.draw(&mut rng, number - 1)
        } else {
            self.draw(&mut rng, number)
        };
        let Incident { employee, priority, time } = incident;
        write(out, format_args!("{{\"priority\":\"{priority}\""));
        match self.endpoint {
            Endpoint::Denial => {
                write_id(out, "reported_by", employee);
                write_time(out, time);
                self.write_unrelated_address(out, &mut rng);
            }
            Endpoint::Intrusion => {
                write_machine(out, "internal_ip", employee, &mut rng);
                write_time(out, time);
                self.write_unrelated_address(out, &mut rng);
            }
            Endpoint::Executable => {
                write_machine(out, "machine_ip", employee, &mut rng);
                write_time(out, time);
            }
            Endpoint::Misuse | Endpoint::Unauthorized => {
                write_id(out, "employee_id", employee);
                write_time(out, time);
            }
            Endpoint::Probing => {
                write_machine(out, "ip", employee, &mut rng);
                write_time(out, time);
            }
            Endpoint::Other => {
                if rng.one_in(3) {
                    write_machine(out, "identifier", employee, &mut rng);
                } else {
                    write_id(out, "identifier", employee);
                }
                write_time(out, time);
            }
            Endpoint::Identities | Endpoint::People | Endpoint::Signin | Endpoint::Mail => {
                unreachable!("only plain sources have such records")
            }
        }
        out.push(b'}');
    }

    fn draw(&self, rng: &mut Rng, number: u64) -> Incident {
        let mut time = self.arrivals.time(number);
        if rng.one_in(ONE_LATE_IN) {
            time -= rng.below(TICKS_PER_DAY / self.arrivals.per_day * MAX_RECORDS_LATE);
        }
        let employee = self.population.employee(rng);
        Incident { employee, priority: rng.pick(&PRIORITIES), time }
    }

    /// Writes an address that does not identify the record's employee.
    fn write_unrelated_address(&self, out: &mut Vec<u8>, rng: &mut Rng) {
        let employee = self.population.employee(rng);
        write_machine(out, "source_ip", employee, rng);
    }
}

fn write_id(out: &mut Vec<u8>, field: &str, employee: u64) {
    write(out, format_args!(",\"{field}\":{}", population::id(employee)));
}

/// Writes an address of the employee, or sometimes one that is not in the identity table.
fn write_machine(out: &mut Vec<u8>, field: &str, employee: u64, rng: &mut Rng) {
    let machine = if rng.one_in(ONE_UNKNOWN_ADDRESS_IN) {
        population::unlisted_machine(rng)
    } else {
        population::machine_of(employee, rng)
    };
    write(out, format_args!(",\"{field}\":\"{}\"", population::address(machine)));
}

/// Writes the time as the upstream does: seconds, without trailing zeros.
fn write_time(out: &mut Vec<u8>, time: u64) {
    let (seconds, fraction) = (time / TICKS_PER_SECOND, time % TICKS_PER_SECOND);
    write(out, format_args!(",\"timestamp\":{seconds}"));
    if fraction == 0 {
        out.extend_from_slice(b".0");
        return;
    }
    write(out, format_args!(".{fraction:07}"));
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Record {
        priority: String,
        timestamp: f64,
        identifier: serde_json::Value,
    }

    #[test]
    fn times_are_written_like_the_upstreams() {
        for (time, expected) in [
            (16_299_394_741_346_128, ",\"timestamp\":1629939474.1346128"),
            (16_299_394_740_000_100, ",\"timestamp\":1629939474.00001"),
            (16_299_394_740_000_000, ",\"timestamp\":1629939474.0"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn records_are_mostly_in_order_with_ties_and_a_few_unlisted_addresses() {
        let population = Population { employees: 400 };
        let source = Records::new(Endpoint::Other, population, 10_000, 7);
        let records: Vec<Record> = source
            .window(18_000_000_000_000_000)
            .map(|number| {
                let mut text = Vec::new();
                source.write(&mut text, number);
                serde_json::from_slice(&text).unwrap()
            })
            .collect();
        assert_eq!(records.len(), 10_000);
        let pairs = || records.windows(2).map(|pair| (pair[0].timestamp, pair[1].timestamp));
        let descents = pairs().filter(|(first, second)| first > second).count();
        let ties = pairs().filter(|(first, second)| (first - second).abs() < 1e-9).count();
        assert!((60..=200).contains(&descents) && (100..=300).contains(&ties), "{descents} {ties}");

        let count = |priority| records.iter().filter(|record| record.priority == priority).count();
        let shares = ["low", "medium", "high", "critical"].map(count);
        for (share, expected) in shares.into_iter().zip([5_750, 2_500, 1_500, 250]) {
            assert!(share.abs_diff(expected) < expected / 5, "{shares:?}");
        }

        let listed: HashSet<String> = (0..population.machines())
            .map(|machine| population::address(machine).to_string())
            .collect();
        let addresses = records.iter().filter_map(|record| record.identifier.as_str());
        let (known, unknown): (Vec<&str>, Vec<&str>) =
            addresses.partition(|address| listed.contains(*address));
        assert!((3_000..3_600).contains(&known.len()), "{}", known.len());
        assert!((30..=90).contains(&unknown.len()), "{unknown:?}");
    }
}
