//! Who reads a stream: which events it has, and how their ids are written.

use std::sync::Arc;

use ::ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ::ring::rand::{SecureRandom, SystemRandom};

use super::event::Audience;
use crate::hex;
use crate::http::visibility::Visibility;

/// A sealed number is a nonce, the encrypted number and a tag.
const TAG_START: usize = NONCE_LEN + size_of::<u64>();
const SEALED_BYTES: usize = TAG_START + MAX_TAG_LEN;

/// The secrets that the ids of a feed's events are made with.
pub(super) struct IdSecrets {
    /// A number that distinguishes the event ids of this process from those of others. It is
    /// greater than those of earlier processes, so that ids never go back.
    generation: u64,
    key: Arc<LessSafeKey>,
}

/// The reader of one stream.
///
/// Who sees everything gets the numbers of events as ids. They count all events, so for one
/// employee they are encrypted, and authenticated together with the employee: an id tells nothing
/// about other events, two ids of one event differ, and no other reader can use them.
#[derive(Clone)]
pub(super) enum Reader {
    /// Sees all events.
    Everything { generation: u64 },
    /// Sees the events of one employee, and those that concern everybody.
    Employee { id: Arc<str>, key: Arc<LessSafeKey> },
}

impl IdSecrets {
    /// Secrets with a random key.
    pub(super) fn new(generation: u64) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &random::<32>()).expect("the key has 256 bits");
        Self { generation, key: Arc::new(LessSafeKey::new(key)) }
    }

    /// The reader of a stream for this visibility.
    pub(super) fn reader(&self, visibility: &Visibility) -> Reader {
        match visibility.only_employee() {
            None => Reader::Everything { generation: self.generation },
            Some(id) => Reader::Employee { id: Arc::clone(id), key: Arc::clone(&self.key) },
        }
    }
}

impl Reader {
    /// Whether events for this audience are in the stream.
    pub(super) fn sees(&self, audience: &Audience) -> bool {
        match (self, audience) {
            (Self::Everything { .. }, _) | (_, Audience::Everybody) => true,
            (Self::Employee { id, .. }, Audience::Employee(employee)) => id == employee,
            (Self::Employee { id, .. }, Audience::AnyOf(recipients)) => recipients.contains(id),
            (Self::Employee { .. }, Audience::WholeData) => false,
        }
    }

    /// The id of the event with this number.
    pub(super) fn id(&self, number: u64) -> String {
        match self {
            Self::Everything { generation } => format!("{generation:016x}-{number}"),
            Self::Employee { id, key } => {
                let nonce = random::<NONCE_LEN>();
                let mut sealed = number.to_be_bytes();
                let tag = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(id.as_bytes()),
                        &mut sealed,
                    )
                    .expect("eight bytes can be sealed");
                let mut bytes = [0; SEALED_BYTES];
                bytes[..NONCE_LEN].copy_from_slice(&nonce);
                bytes[NONCE_LEN..TAG_START].copy_from_slice(&sealed);
                bytes[TAG_START..].copy_from_slice(tag.as_ref());
                hex::digits(bytes).as_flattened().iter().map(|digit| char::from(*digit)).collect()
            }
        }
    }

    /// The number in an id that was made for this reader.
    pub(super) fn parse_id(&self, id: &str) -> Option<u64> {
        match self {
            Self::Everything { generation } => {
                let (of, number) = id.split_once('-')?;
                let number = number.parse().ok()?;
                (u64::from_str_radix(of, 16).ok()? == *generation).then_some(number)
            }
            Self::Employee { id: employee, key } => {
                let mut bytes: [u8; SEALED_BYTES] = hex::bytes(id)?;
                let (nonce, sealed) = bytes.split_at_mut(NONCE_LEN);
                let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
                let number =
                    key.open_in_place(nonce, Aad::from(employee.as_bytes()), sealed).ok()?;
                Some(u64::from_be_bytes(number.try_into().ok()?))
            }
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has a source of random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::recipients::Recipients;
    use super::*;

    fn employee(secrets: &IdSecrets, id: &str) -> Reader {
        secrets.reader(&Visibility::Employee(id.into()))
    }

    #[test]
    fn an_id_is_valid_for_its_own_reader_alone() {
        let secrets = IdSecrets::new(7);
        let all = secrets.reader(&Visibility::Everything);
        let (seven, eight) = (employee(&secrets, "7"), employee(&secrets, "8"));
        let other = employee(&IdSecrets::new(7), "7");
        for number in [0, 1, u64::MAX] {
            let id = seven.id(number);
            assert_eq!(seven.parse_id(&id), Some(number));
            for reader in [&all, &eight, &other] {
                assert_eq!(reader.parse_id(&id), None, "{id}");
            }
            assert_eq!(all.parse_id(&all.id(number)), Some(number));
            assert_eq!(seven.parse_id(&all.id(number)), None);
        }
    }

    #[test]
    fn an_id_of_another_generation_is_invalid() {
        let reader = |generation| IdSecrets::new(generation).reader(&Visibility::Everything);
        let (before, after) = (reader(9), reader(10));
        assert_eq!(after.parse_id(&before.id(3)), None);
        assert!(before.id(u64::MAX) < after.id(0), "ids go up");
    }

    #[test]
    fn ids_for_one_employee_do_not_show_their_order() {
        let secrets = IdSecrets::new(7);
        let seven = employee(&secrets, "7");
        let ids: std::collections::HashSet<String> = (0..100).map(|_| seven.id(1)).collect();
        assert_eq!(ids.len(), 100, "ids of one event differ");
        assert!(ids.iter().all(|id| id.len() == 2 * SEALED_BYTES));
    }

    #[test]
    fn ids_that_were_changed_are_invalid() {
        let seven = employee(&IdSecrets::new(7), "7");
        let id = seven.id(5);
        for position in 0..id.len() {
            let digit = if &id[position..=position] == "0" { "1" } else { "0" };
            let changed = format!("{}{digit}{}", &id[..position], &id[position + 1..]);
            assert_eq!(seven.parse_id(&changed), None, "{changed}");
        }
        for changed in ["", "é", &id[2..], &format!("{id}00"), &id.replace(|_| true, "é")] {
            assert_eq!(seven.parse_id(changed), None, "{changed}");
        }
    }

    #[test]
    fn one_employee_sees_their_own_events_and_those_of_everybody() {
        let secrets = IdSecrets::new(7);
        let (all, seven) = (secrets.reader(&Visibility::Everything), employee(&secrets, "7"));
        for (audience, is_seen) in [
            (Audience::Everybody, true),
            (Audience::Employee("7".into()), true),
            (Audience::Employee("77".into()), false),
            (Audience::AnyOf(Recipients::new(["8", "7", "9"]).unwrap()), true),
            (Audience::AnyOf(Recipients::new(["8", "77", ""]).unwrap()), false),
            (Audience::AnyOf(Recipients::new([]).unwrap()), false),
            (Audience::WholeData, false),
        ] {
            assert!(all.sees(&audience));
            assert_eq!(seven.sees(&audience), is_seen, "{audience:?}");
        }
    }
}
