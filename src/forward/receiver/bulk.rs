//! Answers of Elasticsearch's bulk API: an item for each operation, in their order.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ItemStatus;
use super::excerpt::excerpt;
use crate::upstream::Mask;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The items of an answer to a request with so many records. The error says what is wrong, and
/// quotes nothing from the answer.
pub(super) fn items(answer: &[u8], records: usize, mask: &Mask) -> Result<Vec<ItemStatus>, String> {
    let Answer { items } = serde_json::from_slice(answer)
        .map_err(|_| "it is no JSON object with the status of each item".to_owned())?;
    if items.len() != records {
        return Err(format!("it has {} items for {records} records", items.len()));
    }
    let status = |Item { create }: Item<'_>| match create.status {
        status @ 200..300 => Ok(ItemStatus { status, error: String::new() }),
        status @ 400..600 => {
            let error = create.error.map_or("", RawValue::get);
            Ok(ItemStatus { status, error: excerpt(error.as_bytes(), mask) })
        }
        _ => Err("an item has a status that is none of 2xx, 4xx and 5xx".to_owned()),
    };
    items.into_iter().map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, records: usize) -> Result<Vec<ItemStatus>, String> {
        items(answer.as_bytes(), records, &Mask::of_auth(None, &[]))
    }

    #[test]
    fn each_item_has_its_status_and_its_error() {
        let answer = r#"{"took":30,"errors":true,"items":[
            {"create":{"_index":"i","_id":"a","_version":1,"result":"created","status":201}},
            {"create":{"_index":"i","_id":"b","status":409,
                "error":{"type":"version_conflict_engine_exception","reason":"exists"}}},
            {"create":{"_index":"i","_id":"c","status":400,"error":"no\nobject"}},
            {"create":{"_index":"i","_id":"d","status":503,"error":null}}]}"#;
        let item = |status, error: &str| ItemStatus { status, error: error.to_owned() };
        assert_eq!(
            read(answer, 4),
            Ok(vec![
                item(201, ""),
                item(409, r#"{"type":"version_conflict_engine_exception","reason":"exists"}"#),
                item(400, r#""no\nobject""#),
                item(503, ""),
            ])
        );
    }

    #[test]
    fn anything_else_is_told() {
        for (answer, expected) in [
            ("", "no JSON object"),
            ("<html>", "no JSON object"),
            ("[]", "no JSON object"),
            (r#"{"errors":false}"#, "no JSON object"),
            (r#"{"items":[{"index":{"status":201}}]}"#, "no JSON object"),
            (r#"{"items":[{"create":{"status":"201"}}]}"#, "no JSON object"),
            (r#"{"items":[{"create":{"status":201}}]"#, "no JSON object"),
            (r#"{"items":[]}"#, "0 items for 1 records"),
            (r#"{"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#, "2 items for 1"),
            (r#"{"items":[{"create":{"status":302}}]}"#, "status"),
            (r#"{"items":[{"create":{"status":0}}]}"#, "status"),
        ] {
            let error = read(answer, 1).unwrap_err();
            assert!(error.contains(expected), "{answer}: {error}");
        }
    }
}
