//! Tables that were written and read again answer as before.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::{HttpOrigin, Origin, Table, TableRows};
use crate::identity::TableDecoder;
use crate::json::Path;

const MAX_BYTES: u64 = 1 << 20;

/// A row as its table sends it.
#[derive(Clone, Debug)]
struct TestRow {
    id: String,
    mails: Vec<String>,
    addresses: Vec<String>,
    users: Vec<String>,
    name: String,
}

fn any_row() -> impl Strategy<Value = TestRow> {
    let texts = |pattern| proptest::collection::vec(pattern, 0..3);
    let id = prop_oneof!["[0-9]{1,9}", "e[0-9]", "[a-zé ]{0,4}", "x{250,260}"];
    let address = prop_oneof!["10\\.0\\.0\\.[0-9]{1,2}", "fd00::[0-9a-f]{1,3}"];
    (
        id,
        texts("[a-c]@x\\.example"),
        proptest::collection::vec(address, 0..3),
        texts("[a-dé]"),
        ".{0,5}",
    )
        .prop_map(|(id, mails, addresses, users, name)| TestRow {
            id,
            mails,
            addresses,
            users,
            name,
        })
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn table_of_rows(rows: &[TestRow]) -> IdentityTable {
    let settings = Table {
        origin: Origin::Http(HttpOrigin::endpoint("/people")),
        every: None,
        rows: Some(TableRows {
            records: None,
            employee: vec![path("id")],
            keys: vec![
                (IdentityKind::Email, vec![path("$.mails[*]")]),
                (IdentityKind::Ip, vec![path("$.addresses[*]")]),
                (IdentityKind::Username, vec![path("$.users[*]")]),
            ],
            name: vec![path("name")],
        }),
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({ "id": row.id, "mails": row.mails, "addresses": row.addresses,
                "users": row.users, "name": row.name })
        })
        .collect();
    let body = serde_json::json!({ "results": rows }).to_string();
    let mut decoder = TableDecoder::new(&settings);
    decoder.add_page(body.into()).unwrap();
    decoder.finish()
}

/// Everything that a table answers.
fn answers(table: &IdentityTable, rows: &[TestRow]) -> Vec<String> {
    let mut answers = vec![format!(
        "{:?}",
        (
            IdentityKind::ALL.map(|kind| (table.has(kind), table.key_count(kind))),
            (table.len(), table.records(), table.size_bytes()),
            (table.conflicts(), table.oversized_ids(), table.has_names()),
            table.ids().list(),
        )
    )];
    for row in rows {
        let addresses = row.addresses.iter().filter_map(|text| text.parse().ok());
        answers.extend(addresses.map(|address| format!("{:?}", table.employee(address))));
        for (kind, keys) in
            [(IdentityKind::Email, &row.mails), (IdentityKind::Username, &row.users)]
        {
            answers
                .extend(keys.iter().map(|key| format!("{:?}", table.employee_by_text(kind, key))));
        }
        answers.push(format!("{:?}", (table.ids().find(&row.id), table.name(&row.id))));
    }
    answers
}

proptest! {
    #[test]
    fn a_table_that_was_written_and_read_answers_alike(
        rows in proptest::collection::vec(any_row(), 0..12),
    ) {
        let table = table_of_rows(&rows);
        let bytes = table.to_bytes();
        let read = IdentityTable::from_bytes(&bytes, MAX_BYTES).unwrap();
        prop_assert_eq!(answers(&read, &rows), answers(&table, &rows));
        prop_assert!(read.is_same_as(&table));
        prop_assert_eq!(read.to_bytes(), bytes, "equal tables have equal bytes");
    }

    /// Whatever is changed, reading ends, with a table or with an error.
    #[test]
    fn damaged_bytes_are_refused_or_read(
        rows in proptest::collection::vec(any_row(), 0..6),
        position in any::<prop::sample::Index>(),
        changed in any::<u8>(),
        length in any::<prop::sample::Index>(),
    ) {
        let table = table_of_rows(&rows);
        let mut plain = decompress(&table.to_bytes()[1..], MAX_BYTES).unwrap();
        prop_assert!(Reader(&plain[..length.index(plain.len())]).table().is_none());
        let position = position.index(plain.len());
        plain[position] = changed;
        let mut bytes = vec![FORMAT];
        zstd::stream::copy_encode(&*plain, &mut bytes, COMPRESSION_LEVEL).unwrap();
        if let Ok(read) = IdentityTable::from_bytes(&bytes, MAX_BYTES) {
            prop_assert!(read.texts.sorted().iter().all(|key| (key.2 as usize) < read.ids.len()));
        }
    }
}

#[test]
fn a_table_of_addresses_is_written_and_read() {
    let body = Bytes::from_static(br#"{"10.0.0.1":7,"10.0.0.2":"e8","fd00::1":7,"10.0.0.1":9}"#);
    let table = IdentityTable::decode(body).unwrap();
    let read = IdentityTable::from_bytes(&table.to_bytes(), MAX_BYTES).unwrap();
    for address in ["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.3"] {
        let address = address.parse().unwrap();
        assert_eq!(read.employee(address), table.employee(address), "{address}");
    }
    assert_eq!((read.conflicts(), read.records()), (1, 3));
    assert!(read.is_same_as(&table));
}

#[test]
fn bytes_of_another_format_and_large_ones_are_refused() {
    let read = |bytes: &[u8], max| IdentityTable::from_bytes(bytes, max).unwrap_err();
    let bytes = table_of_rows(&[]).to_bytes();
    assert_eq!(read(&[], MAX_BYTES), TableBytesError::Damaged);
    assert_eq!(read(&bytes[..3], MAX_BYTES), TableBytesError::Damaged);
    let newer = [&[FORMAT + 1], &bytes[1..]].concat();
    assert_eq!(read(&newer, MAX_BYTES), TableBytesError::UnknownFormat);
    let mut bomb = vec![FORMAT];
    let zeros = vec![0_u8; 10 << 20];
    zstd::stream::copy_encode(&*zeros, &mut bomb, COMPRESSION_LEVEL).unwrap();
    assert_eq!(read(&bomb, MAX_BYTES), TableBytesError::TooLarge);
}
