//! Answers of Elasticsearch's bulk API: an item for each operation.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::ItemStatus;
use super::excerpt::excerpt;
use crate::store::StableId;
use crate::upstream::Mask;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    items: &'a RawValue,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: &'a RawValue,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<&'a RawValue>,
    status: u16,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads an object. By itself, serde takes a list of the values of its members, too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(json).ok())?
}

/// What the items of an answer of Elasticsearch's bulk API say of the records with these ids, in
/// the order of the ids. An item with an `_id` is of that record, one without is of the record at
/// its place.
///
/// # Errors
///
/// Says what is wrong with the answer, and quotes nothing from it.
pub fn bulk_items(answer: &[u8], ids: &[StableId]) -> Result<Vec<ItemStatus>, String> {
    masked_items(answer, ids, &Mask::of_auth(None, &[]))
}

/// The same of an answer that may repeat secrets.
pub(super) fn masked_items(
    answer: &[u8],
    ids: &[StableId],
    mask: &Mask,
) -> Result<Vec<ItemStatus>, String> {
    const NO_ANSWER: &str = "it is no JSON object with the status of each item";
    let Answer { items } = str::from_utf8(answer).ok().and_then(object).ok_or(NO_ANSWER)?;
    let (items, count) = serde_json::Deserializer::from_str(items.get())
        .deserialize_seq(FirstItems { most: ids.len() })
        .map_err(|_| NO_ANSWER)?;
    if count != ids.len() {
        return Err(format!("it has {count} items for {} records", ids.len()));
    }
    let mut places = Places { ids, by_text: HashMap::new() };
    let mut statuses: Vec<Option<ItemStatus>> = vec![None; ids.len()];
    for (index, item) in items.into_iter().enumerate() {
        let Item { create } = object(item.get()).ok_or(NO_ANSWER)?;
        let create: Created<'_> = object(create.get()).ok_or(NO_ANSWER)?;
        let place = places.of(index, create.id).ok_or("an item has an id that was not sent")?;
        let status = item_status(&create, mask)?;
        if statuses[place].replace(status).is_some() {
            return Err("two items are of the same record".to_owned());
        }
    }
    // As many items as records, none of them of the same: each record has one.
    Ok(statuses.into_iter().flatten().collect())
}

fn item_status(create: &Created<'_>, mask: &Mask) -> Result<ItemStatus, String> {
    match create.status {
        status @ 200..300 => Ok(ItemStatus { status, error: String::new() }),
        status @ 400..600 => {
            let error = create.error.map_or("", RawValue::get);
            Ok(ItemStatus { status, error: excerpt(error.as_bytes(), mask) })
        }
        _ => Err("an item has a status that is none of 2xx, 4xx and 5xx".to_owned()),
    }
}

/// The places of the records in the request.
struct Places<'a> {
    ids: &'a [StableId],
    /// Made only for answers that are in another order.
    by_text: HashMap<String, usize>,
}

impl Places<'_> {
    /// The place of the record of the item with this index; `None` if it was not sent.
    fn of(&mut self, index: usize, id: Option<&RawValue>) -> Option<usize> {
        let Some(id) = id else { return Some(index) };
        let id: String = serde_json::from_str(id.get()).ok()?;
        if self.ids[index].to_string() == id {
            return Some(index);
        }
        if self.by_text.is_empty() {
            let texts = self.ids.iter().map(StableId::to_string);
            self.by_text = texts.enumerate().map(|(place, text)| (text, place)).collect();
        }
        self.by_text.get(&id).copied()
    }
}

/// Reads the first items, and counts all: an answer may have millions of them.
struct FirstItems {
    most: usize,
}

impl<'de> Visitor<'de> for FirstItems {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.most
            && let Some(item) = list.next_element()?
        {
            items.push(item);
        }
        let mut count = items.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((items, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, records: usize) -> Result<Vec<ItemStatus>, String> {
        let ids: Vec<StableId> = (0..records).map(id).collect();
        bulk_items(answer.as_bytes(), &ids)
    }

    fn id(record: usize) -> StableId {
        StableId([u8::try_from(record).unwrap(); 16])
    }

    /// An answer whose items have these ids, and the statuses 400, 401 and so on.
    fn answer(ids: &[&dyn fmt::Display]) -> String {
        let item = |(at, id)| format!(r#"{{"create":{{"_id":{id},"status":{}}}}}"#, 400 + at);
        let items: Vec<String> = ids.iter().enumerate().map(item).collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    }

    #[test]
    fn items_are_of_the_records_with_their_ids() {
        let quoted: Vec<String> = (0..4).map(|record| format!("\"{}\"", id(record))).collect();
        let [a, b, c, d] = &quoted[..] else { panic!() };
        let statuses = |ids: &[&dyn fmt::Display]| {
            let items = read(&answer(ids), ids.len())?;
            Ok::<_, String>(items.into_iter().map(|item| item.status).collect::<Vec<u16>>())
        };
        assert_eq!(statuses(&[a, b, c]), Ok(vec![400, 401, 402]));
        assert_eq!(statuses(&[c, a, b]), Ok(vec![401, 402, 400]));
        assert_eq!(statuses(&[b, a, &"null"]), Ok(vec![401, 400, 402]));
        for (ids, expected) in [
            ([a, b, d], "not sent"),
            ([a, a, b], "the same record"),
            ([a, b, &"7".to_owned()], "not sent"),
            ([b, &"null".to_owned(), c], "the same record"),
        ] {
            let error = statuses(&ids.map(|id| id as &dyn fmt::Display)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn each_item_has_its_status_and_its_error() {
        let answer = r#"{"took":30,"errors":true,"items":[
            {"create":{"_index":"i","_version":1,"result":"created","status":201}},
            {"create":{"_id":"01010101010101010101010101010101","status":409,
                "error":{"type":"version_conflict_engine_exception","reason":"exists"}}},
            {"create":{"_index":"i","status":400,"error":"no\nobject"}},
            {"create":{"_id":"03030303030303030303030303030303","status":503,"error":null}}]}"#;
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
            (r#"[[{"create":{"status":201}}]]"#, "no JSON object"),
            (r#"{"items":[[{"status":201}]]}"#, "no JSON object"),
            (r#"{"items":[{"create":[null,201,null]}]}"#, "no JSON object"),
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
