//! Whom identity values name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::order::OrderKey;
use super::{NO_SLOT, Reason, narrow};
use crate::decode::{self, EmployeeId, Identities, Ids};

/// The employees that the identities or identity values name, each once, by numbers: first those of
/// the identities, in their order, then the others as they are met.
pub(super) struct Employees<'a> {
    identities: Option<&'a Identities>,
    /// How many the identities name.
    known: u32,
    others: Ids,
}

/// Four slots an employee must have numbers of 32 bits too.
const FEWER_THAN: u32 = NO_SLOT / 4;

impl<'a> Employees<'a> {
    pub(super) fn new(identities: Option<&'a Identities>) -> Self {
        let known = identities.map_or(0, |identities| identities.ids().len());
        assert!(known < FEWER_THAN as usize, "fewer than 2^30 employees");
        Self { identities, known: narrow(known), others: Ids::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.known as usize + self.others.len()
    }

    /// The employee whose id is a small number.
    #[inline]
    pub(super) fn number(&mut self, number: u32) -> u32 {
        let known = self.identities.and_then(|identities| identities.ids().find_number(number));
        known.unwrap_or_else(|| {
            let other = self.others.number(number);
            self.other_at(other)
        })
    }

    /// The employee of any id.
    fn id(&mut self, id: &str) -> u32 {
        let known = self.identities.and_then(|identities| identities.ids().find(id));
        known.unwrap_or_else(|| {
            let other = self.others.intern(id);
            self.other_at(other)
        })
    }

    fn other_at(&self, place: u32) -> u32 {
        let employee = self.known + place;
        assert!(employee < FEWER_THAN, "fewer than 2^30 employees");
        employee
    }

    /// The employee that a canonical address belongs to.
    #[inline]
    pub(super) fn address(&self, address: IpAddr) -> Result<u32, Reason> {
        let identities = self.identities.ok_or(Reason::IdentitiesUnavailable)?;
        identities.employee(address).ok_or(Reason::UnknownIp)
    }

    /// Decides by the value alone: an IPv4 or IPv6 address is looked up, anything else is the
    /// employee's id itself.
    pub(super) fn other(&mut self, value: Option<Cow<'_, str>>) -> Result<u32, Reason> {
        let value = value.ok_or(Reason::MissingIdentity)?;
        match decode::address(&value) {
            Some(address) => self.address(address),
            None => Ok(self.id(&value)),
        }
    }

    fn ids(&self) -> impl Iterator<Item = &EmployeeId> {
        self.identities
            .map_or(&[][..], |identities| identities.ids().list())
            .iter()
            .chain(self.others.list())
    }

    pub(super) fn get(&self, employee: u32) -> &EmployeeId {
        match (self.identities, employee.checked_sub(self.known)) {
            (Some(identities), None) => &identities.ids().list()[employee as usize],
            (_, other) => &self.others.list()[other.unwrap_or_default() as usize],
        }
    }

    /// The employees with at least one incident, in the order of the document.
    pub(super) fn ranked(&self, counts: &[u32]) -> Vec<u32> {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for ((id, employee), counts) in self.ids().zip(0..).zip(counts.chunks_exact(4)) {
            match id {
                _ if counts == [0; 4] => {}
                EmployeeId::Number(number) => numbers.push((*number, employee)),
                EmployeeId::Text(text) => texts.push((OrderKey::new(text), employee)),
            }
        }
        numbers.sort_unstable();
        texts.sort_unstable();
        let mut ranked = Vec::with_capacity(numbers.len() + texts.len());
        let mut texts = texts.into_iter().peekable();
        for (number, employee) in numbers {
            if texts.peek().is_some() {
                let mut buffer = itoa::Buffer::new();
                let number = OrderKey::new(buffer.format(number));
                while let Some((_, employee)) = texts.next_if(|(text, _)| *text < number) {
                    ranked.push(employee);
                }
            }
            ranked.push(employee);
        }
        ranked.extend(texts.map(|(_, employee)| employee));
        ranked
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn addresses_are_compared_as_addresses() {
        let identities = Identities::decode(Bytes::from_static(
            br#"{"17.1.2.3": 7, "2001:DB8:0::1": "eight", "::ffff:17.9.9.9": "009", "17.0.0.1": null, "17.0.0.2": "17.1.2.3", "host": 5}"#,
        ))
        .unwrap();
        let mut employees = Employees::new(Some(&identities));
        let mut resolve = |value: &'static str| {
            employees
                .other(Some(Cow::Borrowed(value)))
                .map(|employee| employees.get(employee).to_string())
        };
        for seven in ["17.1.2.3", "::ffff:17.1.2.3", "::FFFF:1101:203"] {
            assert_eq!(resolve(seven).as_deref(), Ok("7"), "{seven}");
        }
        assert_eq!(resolve("2001:db8::1").as_deref(), Ok("eight"));
        assert_eq!(resolve("2001:0db8:0000:0000:0000:0000:0000:0001").as_deref(), Ok("eight"));
        assert_eq!(resolve("17.9.9.9").as_deref(), Ok("009"));
        for unknown in ["17.0.0.1", "17.0.0.2", "17.255.255.255", "::1"] {
            assert_eq!(resolve(unknown), Err(Reason::UnknownIp), "{unknown}");
        }
        for id in [
            "1234",
            "host",
            "17.1.2",
            "017.1.2.3",
            " 17.1.2.3",
            "17.1.2.3:80",
            "fe80::1%eth0",
            "::ffff:17.1.2",
        ] {
            assert_eq!(resolve(id).as_deref(), Ok(id), "{id}");
        }
        let mut nobody = Employees::new(None);
        assert_eq!(nobody.other(Some("::1".into())), Err(Reason::IdentitiesUnavailable));
        assert_eq!(nobody.other(Some("1234".into())), Ok(nobody.number(1234)));
        assert_eq!(nobody.other(None), Err(Reason::MissingIdentity));
    }

    #[test]
    fn an_id_names_the_same_employee_however_it_came() {
        let identities =
            Identities::decode(Bytes::from_static(br#"{"17.0.0.1": 7, "17.0.0.2": "x"}"#)).unwrap();
        let mut employees = Employees::new(Some(&identities));
        let seven = employees.address([17, 0, 0, 1].into()).unwrap();
        assert_eq!((employees.number(7), employees.other(Some("7".into()))), (seven, Ok(seven)));
        assert_eq!(employees.other(Some("x".into())), employees.address([17, 0, 0, 2].into()));
        assert_eq!(employees.other(Some("8".into())), Ok(employees.number(8)));
        assert_eq!(employees.other(Some("y".into())), employees.other(Some("y".into())));
        assert_eq!(employees.len(), 4);
    }

    #[test]
    fn numbers_stand_among_the_other_ids_by_their_value() {
        let mut employees = Employees::new(None);
        let ids = ["x", "8", "0100000000", "10", "-3", "008", "7", "123456789", "", "0", "00"];
        let numbers = ids.map(|id| employees.other(Some(id.into())).unwrap());
        let mut counts = vec![1; 4 * ids.len()];
        counts[numbers[3] as usize * 4..][..4].fill(0);
        let ranked = employees
            .ranked(&counts)
            .into_iter()
            .map(|employee| employees.get(employee).to_string());
        let mut sorted: Vec<_> = ids.into_iter().filter(|id| *id != "10").collect();
        sorted.sort_by_key(|id| OrderKey::new(id));
        assert_eq!(ranked.collect::<Vec<_>>(), sorted);
    }
}
