//! The people behind the employees: names, e-mail addresses and host names, computed from numbers,
//! and the table of them.

use super::{population, write};

const FIRST_NAMES: [&str; 40] = [
    "Ada", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Keiko",
    "Liam", "Mina", "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tessa", "Umar", "Vera",
    "Wei", "Ximena", "Yusuf", "Zoe", "Anton", "Bianca", "Cyrus", "Dalia", "Emil", "Freya", "Gavin",
    "Hanna", "Ivan", "Jana", "Kofi", "Lena", "Marek", "Nadia",
];

const LAST_NAMES: [&str; 50] = [
    "Abbott", "Berg", "Castro", "Dahl", "Ekberg", "Fischer", "Garcia", "Hassan", "Ito", "Jensen",
    "Kowalski", "Lindgren", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Santos",
    "Tanaka", "Ueda", "Vargas", "Weber", "Xu", "Yilmaz", "Zeman", "Almeida", "Brandt", "Costa",
    "Dubois", "Eriksen", "Ferrari", "Gruber", "Horvat", "Ivanov", "Jansen", "Keller", "Larsen",
    "Meyer", "Nguyen", "Olsen", "Pereira", "Richter", "Silva", "Thomsen", "Urban", "Vogel",
    "Wagner", "Young", "Zhang",
];

/// How many different names there are.
const NAMES: u64 = (FIRST_NAMES.len() * LAST_NAMES.len()) as u64;

/// A person's name, and how often it was given before: two employees may have the same name, but
/// not the same e-mail address.
fn name(employee: u64) -> (&'static str, &'static str, u64) {
    // The factor has no divisor in common with the number of names, so this is a permutation.
    let index = usize::try_from((employee * 777 + 11) % NAMES).expect("an index fits");
    let (first, last) = (index % FIRST_NAMES.len(), index / FIRST_NAMES.len());
    (FIRST_NAMES[first], LAST_NAMES[last], employee / NAMES)
}

/// Such as `Ada Berg`.
pub(super) fn full_name(employee: u64) -> String {
    let (first, last, _) = name(employee);
    format!("{first} {last}")
}

/// Such as `Ada.Berg@corp.example`; the table of people has it in lower case.
pub(super) fn email(employee: u64) -> String {
    match name(employee) {
        (first, last, 0) => format!("{first}.{last}@corp.example"),
        (first, last, earlier) => format!("{first}.{last}{}@corp.example", earlier + 1),
    }
}

/// Such as `lt-447770`.
pub(super) fn hostname(employee: u64) -> String {
    format!("lt-{}", population::id(employee))
}

/// Writes the person's row of the table of people.
pub(super) fn write_person(out: &mut Vec<u8>, employee: u64) {
    write(
        out,
        format_args!(
            "{{\"employee\":{},\"email\":\"{}\",\"hostname\":\"{}\",\"name\":\"{}\"}}",
            population::id(employee),
            email(employee).to_lowercase(),
            hostname(employee),
            full_name(employee),
        ),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_people_share_an_address_or_a_host() {
        let employees = 0..3 * NAMES;
        let emails: HashSet<String> = employees.clone().map(email).collect();
        let hosts: HashSet<String> = employees.clone().map(hostname).collect();
        assert_eq!((emails.len(), hosts.len()), (employees.clone().count(), employees.count()));
        assert_eq!(full_name(5), full_name(5 + NAMES));
        assert_ne!(email(5), email(5 + NAMES));
    }
}
