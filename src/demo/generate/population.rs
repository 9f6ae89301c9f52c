//! The employees and their machines. Ids and addresses are computed from numbers, not stored.

use std::net::Ipv4Addr;

use super::rng::Rng;

/// The most employees: there are this many six-digit ids.
pub(super) const MAX_EMPLOYEES: u64 = 900_000;

/// Machines from this number on belong to nobody and are not in the identity table.
const FIRST_UNLISTED_MACHINE: u64 = 12_000_000;

/// The number of machines in records that are not in the identity table.
const UNLISTED_MACHINES: u64 = 1_000;

/// Each employee `e` has two machines: numbers `2e` and `2e + 1`.
const MACHINES_EACH: u64 = 2;

/// The employees, from 0 to `employees - 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub(super) employees: u64,
}

impl Population {
    pub(super) const fn machines(self) -> u64 {
        self.employees * MACHINES_EACH
    }

    /// Draws an employee. Smaller numbers are more likely.
    pub(super) fn employee(self, rng: &mut Rng) -> u64 {
        let bound = rng.below(self.employees) + 1;
        rng.below(bound)
    }
}

/// One of an employee's machines.
pub(super) fn machine_of(employee: u64, rng: &mut Rng) -> u64 {
    employee * MACHINES_EACH + rng.below(MACHINES_EACH)
}

/// A machine that is not in the identity table.
pub(super) fn unlisted_machine(rng: &mut Rng) -> u64 {
    FIRST_UNLISTED_MACHINE + rng.below(UNLISTED_MACHINES)
}

/// The six-digit id of an employee, a different one for each of [`MAX_EMPLOYEES`]. The first two
/// are 447770 and 656611, so that examples can name them.
pub(super) const fn id(employee: u64) -> u64 {
    // The factor has no divisor in common with 900,000, so this is a permutation.
    100_000 + (employee * 208_841 + 347_770) % MAX_EMPLOYEES
}

/// The employee whose machine it is.
pub(super) const fn owner(machine: u64) -> u64 {
    machine / MACHINES_EACH
}

/// The machine's address in 17.0.0.0/8. That of the first machine is 17.105.244.255.
pub(super) const fn address(machine: u64) -> Ipv4Addr {
    // An odd factor makes this a permutation of the 24 bits.
    let [.., b, c, d] = (machine.wrapping_mul(0x009E_3779) ^ 0x0069_F4FF).to_be_bytes();
    Ipv4Addr::new(17, b, c, d)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_employees_share_an_id_and_no_two_machines_an_address() {
        let ids: HashSet<u64> = (0..MAX_EMPLOYEES).map(id).collect();
        assert_eq!(ids.len() as u64, MAX_EMPLOYEES);
        assert!(ids.iter().all(|id| (100_000..1_000_000).contains(id)));

        let unlisted = FIRST_UNLISTED_MACHINE..FIRST_UNLISTED_MACHINE + UNLISTED_MACHINES;
        let machines = (0..MAX_EMPLOYEES * MACHINES_EACH).chain(unlisted);
        let addresses: HashSet<Ipv4Addr> = machines.clone().map(address).collect();
        assert_eq!(addresses.len(), machines.count());
    }

    #[test]
    fn the_first_employees_are_those_that_examples_name() {
        assert_eq!((id(0), id(1)), (447_770, 656_611));
        assert_eq!(address(0).to_string(), "17.105.244.255");
    }
}
