//! Objects of addresses.

use super::*;
use crate::identity::EmployeeId;

fn decode(body: &str) -> Result<IdentityTable, DecodeError> {
    IdentityTable::decode(Bytes::from(body.to_owned()))
}

fn employee(table: &IdentityTable, address: &str) -> Option<EmployeeId> {
    let employee = table.employee(address.parse().unwrap())?;
    Some(table.ids().list()[employee as usize].clone())
}

#[test]
fn the_last_entry_for_an_address_counts() {
    let table = decode(
        r#"{"17.0.0.1":1,"17.0.0.1":2,"::ffff:17.0.0.2":"x","::1":3,"host":4,"17.0.0.3":[],
            "17.0.0.4":7,"17.0.0.4:80":null}"#,
    )
    .unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(employee(&table, "17.0.0.1"), Some(EmployeeId::Number(2)));
    assert_eq!(employee(&table, "17.0.0.2"), Some(EmployeeId::Text("x".into())));
    assert_eq!(employee(&table, "17.0.0.3"), None);
    assert_eq!(employee(&table, "17.0.0.4"), None);
}

#[test]
fn an_address_of_two_employees_is_a_conflict() {
    for (body, conflicts) in [
        (r#"{"17.0.0.1":1,"17.0.0.2":1,"17.0.0.1":"1"}"#, 0),
        (r#"{"17.0.0.1":1,"17.0.0.1:80":2,"::ffff:17.0.0.1":"2","17.0.0.1":1}"#, 2),
        (r#"{"::1":"x","[::1]":"y"}"#, 1),
    ] {
        assert_eq!(decode(body).unwrap().conflicts(), conflicts, "{body}");
    }
}

#[test]
fn tables_of_the_same_bytes_are_the_same() {
    let table = decode(r#"{"::1":1}"#).unwrap();
    assert_eq!(table.size_bytes(), 9);
    assert!(table.is_same_as(&decode(r#"{"::1":1}"#).unwrap()));
    assert!(!table.is_same_as(&decode(r#"{"::1":2}"#).unwrap()));
}

#[test]
fn addresses_in_names_may_have_a_zone_a_port_brackets_and_blanks() {
    let table = decode(
        r#"{" 17.0.0.1":1,"17.0.0.2:443":2,"[2001:db8::1]:443":3,"fe80::1%eth0":4,
            "\u005b2001:db8::2\u005d":5}"#,
    )
    .unwrap();
    for (address, number) in
        [("17.0.0.1", 1), ("17.0.0.2", 2), ("2001:db8::1", 3), ("fe80::1", 4), ("2001:db8::2", 5)]
    {
        assert_eq!(employee(&table, address), Some(EmployeeId::Number(number)), "{address}");
    }
}

#[test]
fn a_value_that_is_an_address_names_nobody() {
    let table = decode(r#"{"17.0.0.1":"17.1.2.3","17.0.0.2":" 17.1.2.3:80"}"#).unwrap();
    assert!(table.is_empty() && table.ids().is_empty());
}

#[test]
fn an_id_has_at_most_256_bytes() {
    let (long, longer) = ("é".repeat(128), "é".repeat(129));
    let escaped = "\\u0061".repeat(256);
    let table = decode(&format!(
        r#"{{"17.0.0.1":"{long}","17.0.0.2":"{longer}","17.0.0.3":"{escaped}","17.0.0.4":5}}"#
    ))
    .unwrap();
    assert_eq!(employee(&table, "17.0.0.1"), Some(EmployeeId::Text(long.into())));
    assert_eq!(employee(&table, "17.0.0.2"), None);
    assert_eq!(employee(&table, "17.0.0.3"), Some(EmployeeId::Text("a".repeat(256).into())));
    assert_eq!((table.len(), table.oversized_ids()), (3, 1));
}

#[test]
fn an_empty_object_is_an_empty_table() {
    assert!(decode("{}").unwrap().is_empty());
    assert!(decode("\u{feff} { } ").unwrap().is_empty());
}

#[test]
fn other_documents_are_refused() {
    for body in [
        "",
        "[]",
        "null",
        r#"{"error":"busy"}"#,
        r#"{"17.0.0.1":1"#,
        r#"{"17.0.0.1":1}{}"#,
        r#"{"17.0.0.1" 1}"#,
    ] {
        assert!(decode(body).is_err(), "{body}");
    }
}
