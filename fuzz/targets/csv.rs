//! Reading CSV as JSON objects.
#![no_main]

use std::borrow::Cow;

use incident_gateway::files::csv::{Objects, Rows};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let (mut rows, mut fields) = (Rows::new(text), Vec::new());
    let mut table: Vec<Vec<String>> = Vec::new();
    let is_whole = loop {
        match rows.read(&mut fields) {
            Ok(true) => table.push(fields.iter().map(|field| field.to_string()).collect()),
            Ok(false) => break true,
            Err(error) => {
                assert!(error.line >= 1 && error.line <= text.lines().count() + 1);
                break false;
            }
        }
    };
    // Written with quotes, the rows are read back the same.
    let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
    let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
    let written = table.iter().map(line).collect::<Vec<_>>().join("\r\n");
    let mut again = Rows::new(&written);
    for row in &table {
        assert_eq!(again.read(&mut fields), Ok(true));
        assert!(fields.iter().map(Cow::as_ref).eq(row.iter().map(String::as_str)));
    }
    assert_eq!(again.read(&mut fields), Ok(false));

    // Each object is one line of JSON with the columns in order.
    let Ok(mut objects) = Objects::new(text) else {
        assert!(table.is_empty() || text.trim_ascii().is_empty());
        return;
    };
    let mut count = 0;
    loop {
        let mut json = String::new();
        match objects.write_next(&mut json) {
            Ok(true) => {}
            Ok(false) => {
                assert!(is_whole && count == table.len() - 1);
                return;
            }
            Err(_) => {
                let row = table.get(count + 1);
                assert!(row.is_none_or(|row| row.len() != table[0].len()));
                return;
            }
        }
        count += 1;
        assert_eq!(json.matches('\n').count(), 1);
        let object: Value = serde_json::from_str(&json).expect("JSON");
        let object = object.as_object().expect("an object");
        // Of columns with the same name, a parser keeps the last.
        for (name, value) in table[0].iter().zip(&table[count]).rev() {
            let is_last = table[0].iter().rposition(|other| other == name);
            if is_last.is_some_and(|last| table[count][last] == *value) {
                assert_eq!(object[name], **value);
            }
        }
    }
});
