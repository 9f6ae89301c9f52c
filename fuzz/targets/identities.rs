//! Decoding the identities endpoint's body, against a table made by `serde_json`.
#![no_main]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use incident_gateway::identity::IdentityTable;
use libfuzzer_sys::fuzz_target;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members in their order, repeated names included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The address that a text spells, without what may surround it: written apart from the gateway's
/// own way, by trying every way to cut the text.
fn address(text: &str) -> Option<IpAddr> {
    let bare = |text: &str| {
        let text = text.split('%').next().unwrap_or_default().trim();
        text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    };
    let is_port = |text: &str| {
        let text = text.trim();
        text.bytes().all(|byte| byte.is_ascii_digit())
            && text.trim_start_matches('0').len() <= 5
            && text.parse::<u32>().is_ok_and(|port| port <= 0xffff) | text.is_empty()
    };
    let text = text.trim();
    if let Some(inside) = text.strip_prefix('[') {
        let (address, after) = inside.split_at(inside.find(']')?);
        let after = after[1..].trim();
        let is_end = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return if is_end { bare(address) } else { None };
    }
    bare(text).or_else(|| {
        let colon = text.rfind(':')?;
        if is_port(&text[colon + 1..]) { bare(&text[..colon]) } else { None }
    })
}

/// The employee that a value names.
fn employee(value: &RawValue) -> Option<String> {
    match value.get().as_bytes()[0] {
        b'"' => serde_json::from_str::<String>(value.get())
            .ok()
            .filter(|text| text.len() <= 256 && address(text).is_none()),
        b'-' | b'0'..=b'9' => Some(value.get().to_owned()).filter(|text| text.len() <= 256),
        _ => None,
    }
}

fuzz_target!(|body: &[u8]| {
    let decoded = IdentityTable::decode(Bytes::copy_from_slice(body));
    let reference = std::str::from_utf8(body)
        .ok()
        .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
        .and_then(|text| serde_json::from_str::<Members<'_>>(text).ok());
    let identities = match (decoded, &reference) {
        (Ok(identities), _) => identities,
        (Err(error), Some(Members(members))) => {
            let foreign =
                !members.is_empty() && members.iter().all(|(name, _)| address(name).is_none());
            assert!(
                foreign || error.to_string().contains("too deep"),
                "refused what serde_json takes: {error}"
            );
            return;
        }
        (Err(_), None) => return,
    };
    let unmarked = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    serde_json::from_slice::<IgnoredAny>(unmarked).expect("what is taken is JSON");
    let Some(Members(members)) = reference else { return };
    let mut table = HashMap::new();
    for (name, value) in &members {
        let Some(address) = address(name) else { continue };
        match employee(value) {
            Some(employee) => table.insert(address, employee),
            None => table.remove(&address),
        };
    }
    assert_eq!(identities.len(), table.len());
    for (address, employee) in table {
        let found = identities
            .employee(address)
            .map(|place| identities.ids().list()[place as usize].to_string());
        assert_eq!(found.as_deref(), Some(&*employee));
    }
});
