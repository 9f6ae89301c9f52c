//! Finding the next page in `Link` headers.
#![no_main]

use http::header::{HeaderMap, HeaderValue, LINK};
use incident_gateway::request::next_link;
use libfuzzer_sys::fuzz_target;
use reqwest::Url;

fuzz_target!(|bytes: &[u8]| {
    let page = Url::parse("https://api.example.test/logs?page=1").expect("a URL");
    let lines =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for value in lines {
        headers.append(LINK, value);
    }
    let found = next_link(&headers, &page).map(str::to_owned);
    if let Some(target) = &found {
        assert!(!target.contains('>'), "a target ends at the first bracket");
        let mut alone = HeaderMap::new();
        let link = format!("<{target}>; rel=\"next\"");
        alone.insert(LINK, HeaderValue::from_bytes(link.as_bytes()).expect("a header's value"));
        assert_eq!(next_link(&alone, &page), Some(&**target), "the same target alone is found");
    }
    // A link to the next page in front of all others is the one that counts.
    let mut first = HeaderMap::new();
    first.append(LINK, HeaderValue::from_static("</first>; rel=next"));
    for value in headers.get_all(LINK) {
        first.append(LINK, value.clone());
    }
    assert_eq!(next_link(&first, &page), Some("/first"));
});
