//! Tables of rows and of addresses, page by page.

use super::*;
use crate::config::{HttpOrigin, Table};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn table(records: Option<&str>) -> Table {
    let rows = TableRows {
        records: records.map(path),
        employee: vec![path("/employee/id")],
        keys: vec![(IdentityKind::Email, vec![path("$.mails[*].address")])],
        name: vec![path("name")],
    };
    Table { origin: Origin::Http(HttpOrigin::endpoint("/people")), every: None, rows: Some(rows) }
}

fn decode(table: &Table, pages: &[&str]) -> Result<IdentityTable, DecodeError> {
    let mut decoder = TableDecoder::new(table);
    for page in pages {
        decoder.add_page(Bytes::from((*page).to_owned()))?;
    }
    Ok(decoder.finish())
}

const ROWS: &str = r#"{"results":[
    {"employee":{"id":["-",7,8]},"mails":[{"address":["A@x.example","b@x.example"]},{}],
        "name":["","Ann"]},
    {"employee":{"id":"e8"},"mails":[{"address":null},{"address":"\u0063@x.example"}],"name":9},
    {"employee":{"id":true},"mails":[{"address":"d@x.example"}],"name":"Dan"},
    {"employee":{"id":null},"mails":[{"address":"d@x.example"}]},
    "no object"]}"#;

#[test]
fn rows_are_read_by_their_paths() {
    let table = decode(&table(None), &[ROWS, r#"{"results":[]}"#]).unwrap();
    let employee = |mail: &str| {
        let employee = table.employee_by_text(IdentityKind::Email, mail)?;
        Some(table.ids().list()[employee as usize].to_string())
    };
    for (mail, id) in [("a", Some("7")), ("b", Some("7")), ("c", Some("e8")), ("d", None)] {
        assert_eq!(employee(&format!("{mail}@x.example")).as_deref(), id, "{mail}");
    }
    assert_eq!((table.name("7"), table.name("e8")), (Some("Ann"), None));
    assert_eq!((table.records(), table.size_bytes()), (5, ROWS.len() + 14));
    assert!(table.has(IdentityKind::Email) && !table.has(IdentityKind::Ip));
}

#[test]
fn the_first_path_of_a_row_that_holds_something_is_used() {
    let mut table = table(None);
    table.rows = Some(TableRows {
        records: None,
        employee: vec![path("number"), path("/id")],
        keys: vec![(IdentityKind::Email, vec![path("mail"), path("$.old[*]")])],
        name: vec![path("name"), path("full")],
    });
    let rows = r#"{"results":[
        {"number":1,"id":9,"mail":["-","a@x","b@x"],"old":["c@x"],"name":"","full":"Ann"},
        {"number":["N/A",null],"id":2,"mail":"unknown","old":["d@x","","e@x"],"name":"-"},
        {"number":true,"id":3,"mail":"f@x"},
        {"id":4,"mail":false,"old":["g@x"],"name":4,"full":"Dan"}]}"#;
    let table = decode(&table, &[rows]).unwrap();
    let employee = |mail: &str| {
        let employee = table.employee_by_text(IdentityKind::Email, &format!("{mail}@x"))?;
        Some(table.ids().list()[employee as usize].to_string())
    };
    for (mail, id) in [
        ("a", Some("1")),
        ("b", Some("1")),
        ("c", None),
        ("d", Some("2")),
        ("e", Some("2")),
        ("f", None),
        ("g", None),
    ] {
        assert_eq!(employee(mail).as_deref(), id, "{mail}");
    }
    assert_eq!(["1", "2", "4"].map(|id| table.name(id)), [Some("Ann"), Some("-"), None]);
}

#[test]
fn pages_say_what_follows_and_lines_are_rows() {
    let list = table(Some(""));
    let mut decoder = TableDecoder::new(&list);
    let row = r#"{"employee":{"id":1},"mails":[{"address":"a@x.example"}]}"#;
    let page = decoder.add_page(Bytes::from(format!("[{row},{row}]"))).unwrap();
    assert_eq!((page.records, page.next), (2, None));
    let lines = row.replace("a@", "b@");
    assert_eq!(decoder.add_lines(format!("\n{lines}\n\n").as_bytes()).unwrap().records, 1);
    let table = decoder.finish();
    assert_eq!((table.len(), table.size_bytes()), (2, 2 * row.len() + lines.len() + 6));

    let digest_of_lines = |parts: &[&str]| {
        let mut decoder = TableDecoder::new(&list);
        for part in parts {
            decoder.add_lines(part.as_bytes()).unwrap();
        }
        decoder.finish()
    };
    let whole = digest_of_lines(&["{}\n{}\n"]);
    assert!(whole.is_same_as(&digest_of_lines(&["{}\n", "{}\n"])), "however they are cut");
    assert!(!whole.is_same_as(&digest_of_lines(&["{}\n[]\n"])));
}

#[test]
fn an_answer_of_another_shape_is_refused() {
    for page in ["", "[]", "{}", r#"{"results":{}}"#, r#"{"results":[{]}"#] {
        assert!(decode(&table(None), &[ROWS, page]).is_err(), "{page}");
    }
}

#[test]
fn an_object_of_addresses_fails_by_its_paths_too() {
    let mut http = HttpOrigin::endpoint("/identities/");
    http.fail_if = vec![path("/errors")];
    let table = Table { origin: Origin::Http(http), every: None, rows: None };
    let addresses = decode(&table, &[r#"{"17.0.0.1":1,"errors":[]}"#]).unwrap();
    assert_eq!((addresses.len(), addresses.has(IdentityKind::Ip)), (1, true));
    for page in [r#"{"17.0.0.1":1,"errors":[1]}"#, "\u{feff}{\"errors\":\"busy\"}"] {
        let error = decode(&table, &[page]).unwrap_err();
        assert!(matches!(error, DecodeError::Answer(_)), "{error}");
        assert_eq!(error.to_string(), "the answer has something at `/errors`");
    }
    assert!(matches!(decode(&table, &["{}", "[]"]), Err(DecodeError::Json(_))));
}
