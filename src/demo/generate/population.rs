//! The employees and their machines, computed rather than stored: a number in, an id or an address
//! out.

use std::io::Write as _;

use super::rng::Rng;

/// The ids are this many, so the employees are at most as many.
pub(super) const MOST_EMPLOYEES: u64 = 900_000;

/// Machine numbers from here on belong to nobody: no identities table lists them.
const STRANGERS: u64 = 12_000_000;

/// Each employee has two machines: numbers `2e` and `2e + 1`.
const MACHINES_EACH: u64 = 2;

/// `employees` people, with a share of incidents that falls from the first to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub(super) employees: u64,
}

impl Population {
    pub(super) const fn machines(self) -> u64 {
        self.employees * MACHINES_EACH
    }

    /// An employee; the first ones have more incidents than the last.
    pub(super) fn employee(self, rng: &mut Rng) -> u64 {
        let bound = rng.below(self.employees) + 1;
        rng.below(bound)
    }
}

/// One of an employee's machines.
pub(super) fn machine_of(employee: u64, rng: &mut Rng) -> u64 {
    employee * MACHINES_EACH + rng.below(MACHINES_EACH)
}

/// A machine that the table does not list.
pub(super) fn stranger(rng: &mut Rng) -> u64 {
    STRANGERS + rng.below(1000)
}

/// The six-digit id of an employee; another one for each of [`MOST_EMPLOYEES`].
pub(super) const fn id(employee: u64) -> u64 {
    // The factor has no divisor in common with 900,000, so this is a permutation.
    100_000 + (employee * 611_953 + 347_770) % MOST_EMPLOYEES
}

/// Whose machine it is.
pub(super) const fn owner(machine: u64) -> u64 {
    machine / MACHINES_EACH
}

/// Writes the machine's address as most programs spell it. One machine in eight has an IPv6
/// address.
pub(super) fn write_address(out: &mut Vec<u8>, machine: u64) {
    if is_v6(machine) {
        // `2001:db8::/32` is for documentation (RFC 3849).
        write(
            out,
            format_args!("2001:db8::{:x}:{:x}", (machine >> 16) + 1, (machine & 0xffff) + 1),
        );
    } else {
        write_v4(out, machine);
    }
}

/// Writes the same address in one of the other ways to spell it.
pub(super) fn write_address_otherwise(out: &mut Vec<u8>, machine: u64, rng: &mut Rng) {
    let (high, low) = ((machine >> 16) + 1, (machine & 0xffff) + 1);
    match (is_v6(machine), rng.below(3)) {
        (true, 0) => write(out, format_args!("2001:DB8::{high:X}:{low:X}")),
        (true, 1) => write(out, format_args!("2001:db8:0:0:0:0:{high:x}:{low:x}")),
        (true, _) => write(out, format_args!("2001:0db8:0000:0000:0000:0000:{high:04x}:{low:04x}")),
        (false, 0) => {
            let [_, a, b, c] = v4(machine);
            write(out, format_args!("::ffff:11{a:02x}:{:x}", u16::from_be_bytes([b, c])));
        }
        (false, 1) => {
            out.extend_from_slice(b"::FFFF:");
            write_v4(out, machine);
        }
        (false, _) => {
            out.extend_from_slice(b"::ffff:");
            write_v4(out, machine);
        }
    }
}

const fn is_v6(machine: u64) -> bool {
    machine % 8 == 7
}

fn write_v4(out: &mut Vec<u8>, machine: u64) {
    let [a, b, c, d] = v4(machine);
    write(out, format_args!("{a}.{b}.{c}.{d}"));
}

const fn v4(machine: u64) -> [u8; 4] {
    // An odd factor makes this a permutation of the 24 bits.
    let [.., b, c, d] = (machine.wrapping_mul(0x009E_3779) ^ 0x0059_34FF).to_be_bytes();
    [17, b, c, d]
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory succeeds");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn no_two_employees_share_an_id_and_no_two_machines_an_address() {
        let ids: HashSet<u64> = (0..MOST_EMPLOYEES).map(id).collect();
        assert_eq!(ids.len() as u64, MOST_EMPLOYEES);
        assert!(ids.iter().all(|id| (100_000..1_000_000).contains(id)));

        let machines = (0..20_000).chain(STRANGERS..STRANGERS + 1000);
        let addresses: HashSet<IpAddr> =
            machines.clone().map(|machine| address(machine, write_address)).collect();
        assert_eq!(addresses.len(), machines.count());
    }

    #[test]
    fn an_address_spelled_otherwise_is_the_same_address() {
        let mut rng = Rng::new(1, 0);
        for machine in (0..2000).chain([1_799_999, 12_000_999]) {
            let plain = address(machine, write_address);
            let other =
                address(machine, |out, machine| write_address_otherwise(out, machine, &mut rng));
            assert_eq!(plain, other);
        }
    }

    fn address(machine: u64, write: impl FnOnce(&mut Vec<u8>, u64)) -> IpAddr {
        let mut text = Vec::new();
        write(&mut text, machine);
        std::str::from_utf8(&text).unwrap().parse::<IpAddr>().unwrap().to_canonical()
    }
}
