//! Reading what an answer of Elasticsearch's bulk API says of each record.
#![no_main]

use incident_gateway::forward::{ItemStatus, bulk_items};
use incident_gateway::store::StableId;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const RECORDS: u8 = 3;

/// What is said of the record at this place, read by a general reader.
fn expected(answer: &Value, ids: &[StableId], place: usize) -> Option<u16> {
    let items = answer["items"].as_array()?;
    let is_of_record = |(index, item): &(usize, &Value)| match &item["create"]["_id"] {
        Value::Null => *index == place,
        id => id.as_str() == Some(&ids[place].to_string()),
    };
    let (_, item) = items.iter().enumerate().find(is_of_record)?;
    u16::try_from(item["create"]["status"].as_u64()?).ok()
}

fuzz_target!(|answer: &[u8]| {
    let ids: Vec<StableId> = (0..RECORDS).map(|record| StableId([record; 16])).collect();
    let items = match bulk_items(answer, &ids) {
        Ok(items) => items,
        Err(why) => {
            assert!(why.len() < 100 && why.is_ascii(), "{why}: an error quotes nothing");
            return;
        }
    };
    assert_eq!(items.len(), ids.len(), "each record has an item");
    // This reader has limits on what the other does not read: depth, and the size of numbers. Of
    // members of the same name it takes the last, where the other refuses them.
    let Ok(value) = serde_json::from_slice::<Value>(answer) else { return };
    for (place, ItemStatus { status, error }) in items.into_iter().enumerate() {
        assert_eq!(expected(&value, &ids, place), Some(status));
        assert!(matches!(status, 200..300 | 400..600) && error.len() <= 200);
        assert!(!error.chars().any(char::is_control));
    }
});
