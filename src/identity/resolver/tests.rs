//! Values looked up in tables of addresses.

use std::sync::Arc;

use bytes::Bytes;

use super::UnresolvedIdentity::{NotAnIdentity, TableUnavailable, UnknownIdentity, UnknownIp};
use super::*;

fn table(body: &'static str) -> TableSlot {
    let table = IdentityTable::decode(Bytes::from_static(body.as_bytes())).unwrap();
    TableSlot::addresses(Some(Arc::new(table)))
}

#[test]
fn addresses_are_looked_up_as_addresses() {
    let tables = [table(
        r#"{"17.1.2.3": 7, "2001:DB8:0::1": "eight", "::ffff:17.9.9.9": "009",
            "17.0.0.1": null, "17.0.0.2": "17.1.2.3", "host": 5, "fe80::1%eth1": "nine"}"#,
    )];
    let mut resolver = Resolver::new(&tables);
    let mut resolve = |value: &'static str| {
        let employee = resolver.resolve(Some(Cow::Borrowed(value)));
        employee.map(|employee| resolver.employee_id(employee).to_string())
    };
    for seven in ["17.1.2.3", "::ffff:17.1.2.3", "::FFFF:1101:203", " 17.1.2.3", "17.1.2.3:443"] {
        assert_eq!(resolve(seven).as_deref(), Ok("7"), "{seven}");
    }
    for eight in ["2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", "[2001:db8::1]:443"] {
        assert_eq!(resolve(eight).as_deref(), Ok("eight"), "{eight}");
    }
    assert_eq!(resolve("17.9.9.9").as_deref(), Ok("009"));
    assert_eq!(resolve("fe80::1%eth0").as_deref(), Ok("nine"));
    for unknown in ["17.0.0.1", "17.0.0.2", "17.255.255.255", "::1", "[::1]:80"] {
        assert_eq!(resolve(unknown), Err(UnknownIp), "{unknown}");
    }
    for id in ["1234", "host", "17.1.2", "017.1.2.3", " 1234", "17.1.2.3:x", "::ffff:17.1.2"] {
        assert_eq!(resolve(id).as_deref(), Ok(id), "{id}");
    }
}

#[test]
fn without_a_table_only_ids_are_resolved() {
    let mut resolver = Resolver::new(&[]);
    assert_eq!(resolver.resolve(Some("::1".into())), Err(UnknownIp));
    let missing = [TableSlot::addresses(None)];
    let mut resolver = Resolver::new(&missing);
    assert_eq!(resolver.resolve(Some("::1".into())), Err(TableUnavailable));
    assert_eq!(resolver.resolve(Some("1234".into())), Ok(resolver.by_number(1234)));
    assert_eq!(resolver.resolve(None), Err(NotAnIdentity));
}

#[test]
fn an_id_names_the_same_employee_as_number_as_text_and_by_address() {
    let tables = [table(r#"{"17.0.0.1": 7, "17.0.0.2": "x"}"#)];
    let mut resolver = Resolver::new(&tables);
    let seven = resolver.by_address([17, 0, 0, 1].into()).unwrap();
    assert_eq!((resolver.by_number(7), resolver.resolve(Some("7".into()))), (seven, Ok(seven)));
    assert_eq!(resolver.resolve(Some("x".into())), resolver.by_address([17, 0, 0, 2].into()));
    assert_eq!(resolver.resolve(Some("8".into())), Ok(resolver.by_number(8)));
    assert_eq!(resolver.resolve(Some("y".into())), resolver.resolve(Some("y".into())));
    assert_eq!(resolver.employee_count(), 4);
}

#[test]
fn tables_are_asked_in_order_up_to_a_missing_one_that_might_have_the_key() {
    let first = table(r#"{"17.0.0.1": 1, "17.0.0.2": "x"}"#);
    let second = table(r#"{"17.0.0.1": 2, "17.0.0.3": "x", "17.0.0.4": 9, "17.0.0.5": 1}"#);
    let missing = TableSlot::addresses(None);
    let of_emails = TableSlot { kinds: [IdentityKind::Email].into_iter().collect(), table: None };
    let addresses = ["17.0.0.1", "17.0.0.2", "17.0.0.3", "17.0.0.4", "17.0.0.5", "17.0.0.6"];
    let found = |slots: &[&TableSlot]| {
        let slots: Vec<TableSlot> = slots.iter().copied().cloned().collect();
        let mut resolver = Resolver::new(&slots);
        let found = addresses.map(|address| resolver.by_address(address.parse().unwrap()));
        assert_eq!(resolver.by_text(IdentityKind::Hostname, "h"), Err(UnknownIdentity));
        found.map(|found| found.map(|index| resolver.employee_id(index).to_string()))
    };
    let employee = |id: &str| Ok(id.to_owned());
    let all =
        [employee("1"), employee("x"), employee("x"), employee("9"), employee("1"), Err(UnknownIp)];
    assert_eq!(found(&[&first, &second]), all);
    assert_eq!(found(&[&of_emails, &first, &second, &of_emails]), all, "none has addresses");
    let unavailable = Err(TableUnavailable);
    let of_first = [employee("1"), employee("x")];
    let after_first = [(); 4].map(|()| unavailable.clone());
    assert_eq!(found(&[&first, &missing, &second]), [&of_first[..], &after_first].concat()[..]);
    assert_eq!(found(&[&missing, &first]), [(); 6].map(|()| unavailable.clone()));
    let mut last = all;
    (last[0], last[1], last[5]) = (employee("2"), unavailable.clone(), unavailable);
    assert_eq!(found(&[&second, &missing]), last);
}

#[test]
fn an_employee_of_several_tables_has_one_index() {
    let slots = [
        TableSlot::addresses(None),
        table(r#"{"17.0.0.1": 7}"#),
        table(r#"{"17.0.0.2": "y", "17.0.0.3": "7", "17.0.0.4": "x"}"#),
    ];
    let mut resolver = Resolver::new(&slots[1..]);
    let mut by_address = |last| resolver.by_address([17, 0, 0, last].into()).unwrap();
    assert_eq!((by_address(1), by_address(3), by_address(4)), (0, 0, 1));
    assert_eq!((by_address(2), by_address(2), by_address(4)), (2, 2, 1));
    assert_eq!((resolver.by_id("x"), resolver.by_number(7), resolver.by_id("7")), (1, 0, 0));
    assert_eq!(resolver.employee_count(), 3);
    let ids: Vec<String> = resolver.ids().map(ToString::to_string).collect();
    assert_eq!(ids, ["7", "x", "y"]);
    let mut resolver = Resolver::new(&slots);
    assert_eq!(resolver.by_address([17, 0, 0, 1].into()), Err(TableUnavailable));
    assert_eq!((resolver.employee_count(), resolver.by_number(7)), (1, 0));
}
