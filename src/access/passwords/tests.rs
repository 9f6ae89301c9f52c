use super::*;

/// The least cost, so that tests take little time.
const COST: u32 = 4;

fn credentials(user: &str, password: &str) -> UserPass {
    UserPass { user: user.to_owned(), password: password.into() }
}

/// Users with their passwords and the costs of their hashes.
fn passwords(users: &[(&str, &str, u32)]) -> Passwords {
    let line = |(name, password, cost): &(&str, &str, u32)| {
        format!("{name}:{}\n", bcrypt::hash(password, *cost).unwrap())
    };
    let file: String = users.iter().map(line).collect();
    Passwords::new(&Users::parse(&file).unwrap(), KeyedHash::new())
}

/// Whether the password is right, and the cost of finding out.
fn check(passwords: &Passwords, user: &str, password: &str) -> (bool, u32) {
    let work = passwords.work(&credentials(user, password)).unwrap();
    let cost = work.hash.as_str()[4..6].parse().unwrap();
    (work.run(), cost)
}

#[test]
fn whatever_is_wrong_costs_one_hash_of_the_cost_of_a_user() {
    let passwords = passwords(&[("ann", "right", COST)]);
    let too_long = "x".repeat(MAX_PASSWORD_BYTES + 1);
    assert_eq!(check(&passwords, "ann", "right"), (true, COST));
    for (user, password) in [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", too_long.as_str()),
        ("bob", "right"),
        ("bob", ""),
        ("bob", &too_long),
        ("", "right"),
        ("Ann", "right"),
    ] {
        assert_eq!(check(&passwords, user, password), (false, COST), "{user}");
    }
}

#[test]
fn a_name_that_is_unknown_always_costs_the_same_and_as_much_as_some_user() {
    let passwords = passwords(&[("ann", "a", COST), ("bob", "b", COST + 1), ("cy", "c", COST + 2)]);
    let mut costs = Vec::new();
    for number in 0..100 {
        let cost = || {
            let work = passwords.work(&credentials(&number.to_string(), "")).unwrap();
            work.hash.as_str()[4..6].parse::<u32>().unwrap()
        };
        let first = cost();
        assert_eq!(cost(), first);
        costs.push(first);
    }
    for expected in COST..=COST + 2 {
        let count = costs.iter().filter(|cost| **cost == expected).count();
        assert!((10..70).contains(&count), "{count} of 100 cost {expected}");
    }
}

#[test]
fn a_password_of_72_bytes_is_compared_whole_and_a_longer_one_is_wrong() {
    let password = "é".repeat(MAX_PASSWORD_BYTES / 2);
    let passwords = passwords(&[("ann", &password, COST)]);
    assert!(check(&passwords, "ann", &password).0);
    let mut shorter = password.clone();
    shorter.pop();
    assert!(!check(&passwords, "ann", &shorter).0);
    // bcrypt alone would take it.
    assert!(!check(&passwords, "ann", &format!("{password}x")).0);
}

#[test]
fn every_version_of_bcrypt_is_compared() {
    let hash = bcrypt::hash_with_result("right", COST).unwrap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let line = format!("ann:{}\n", hash.format_for_version(version));
        let passwords = Passwords::new(&Users::parse(&line).unwrap(), KeyedHash::new());
        assert!(check(&passwords, "ann", "right").0);
        assert!(!check(&passwords, "ann", "wrong").0);
    }
}

#[test]
fn only_a_verified_password_is_remembered_for_its_user_alone() {
    let passwords = passwords(&[("ann", "same", COST), ("bob", "same", COST)]);
    let is_remembered =
        |user, password| passwords.remembered(&credentials(user, password)).is_some();
    assert!(!is_remembered("ann", "same"));
    let grant = passwords.remember(&credentials("ann", "same")).unwrap();
    assert_eq!(grant.principal.as_deref(), Some("ann"));
    assert_eq!(grant.scope, Scope::All);
    assert!(is_remembered("ann", "same"));
    for (user, password) in [("ann", "sam"), ("ann", ""), ("bob", "same"), ("cy", "same")] {
        assert!(!is_remembered(user, password), "{user}");
    }
    assert!(passwords.remember(&credentials("cy", "same")).is_none());
}

#[test]
fn without_users_there_is_nothing_to_compare_with() {
    assert!(passwords(&[]).work(&credentials("ann", "right")).is_none());
}
