//! Signs in an answer that there are more pages, for a source that asks for no next one.

use http::HeaderMap;

use super::shown::shown;
use crate::json::{Found, object_members, unescape};

/// How deep below the body members are looked at.
const MAX_DEPTH: usize = 3;
/// The most hints for one answer.
const MAX_HINTS: usize = 3;
/// How much of a value is shown.
const MAX_VALUE_CHARS: usize = 60;

/// Names of members, without case, `_` and `-`, that lead to the next page.
const NEXT_NAMES: [&str; 14] = [
    "next",
    "nextlink",
    "@odata.nextlink",
    "nextpage",
    "nextpagelink",
    "nexturl",
    "nextkey",
    "nexttoken",
    "nextpagetoken",
    "nextcursor",
    "cursor",
    "after",
    "continuationtoken",
    "scrollid",
];
/// Names of members, likewise, that say that there is more.
const MORE_NAMES: [&str; 4] = ["more", "hasmore", "hasnext", "hasnextpage"];
/// Names of members, likewise, that count all records.
const TOTAL_NAMES: [&str; 5] = ["total", "totalcount", "count", "totalitems", "totalrecords"];

/// What in a page says that there are more, each with what to configure.
pub(super) fn hints(body: &str, headers: Option<&HeaderMap>, records: usize) -> Vec<String> {
    let mut hints = Vec::new();
    if headers.is_some_and(has_next_link) {
        hints.push(
            "the answer has a header Link with rel=\"next\": there are more pages; set `next: link`"
                .to_owned(),
        );
    }
    visit(Found::new(body.trim_ascii()), "", records, &mut hints);
    hints.truncate(MAX_HINTS);
    hints
}

fn has_next_link(headers: &HeaderMap) -> bool {
    let values = headers.get_all(http::header::LINK).iter();
    values.filter_map(|value| value.to_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("rel=\"next\"") || value.contains("rel=next")
    })
}

fn visit(value: Found<'_>, pointer: &str, records: usize, hints: &mut Vec<String>) {
    if !value.raw.starts_with('{') || pointer.matches('/').count() >= MAX_DEPTH {
        return;
    }
    for (spelled, member) in object_members(value.raw) {
        let Some(name) = unescape(spelled) else { continue };
        let here = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let shown_here = shown(&here, 200);
        let key: String =
            name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
        let key = key.as_str();
        if NEXT_NAMES.contains(&key) && holds_something(member) {
            let text = member.text().unwrap_or_default();
            let next = if text.contains("://") || text.starts_with(['/', '?']) {
                format!("{{ url: {shown_here} }}")
            } else {
                format!("{{ cursor: {shown_here}, query: NAME }}")
            };
            let value = shown(member.raw, MAX_VALUE_CHARS);
            hints.push(format!(
                "`{shown_here}` is {value}: it looks like a next page; if so, set `next: {next}`"
            ));
        } else if MORE_NAMES.contains(&key) && member.raw == "true" {
            hints.push(format!(
                "`{shown_here}` is true: there are more pages; set `next`, such as \
                 `next: {{ offset: NAME, size: {records}, more: {shown_here} }}`"
            ));
        } else if TOTAL_NAMES.contains(&key)
            && member.raw.parse::<usize>().is_ok_and(|total| total > records)
        {
            let total = shown(member.raw, MAX_VALUE_CHARS);
            hints.push(format!(
                "`{shown_here}` is {total}, but {records} came: there may be more pages; see the \
                 API's documentation, and set `next`"
            ));
        }
        visit(member, &here, records, hints);
    }
}

fn holds_something(value: Found<'_>) -> bool {
    !matches!(value.raw, "null" | "false" | "true" | "\"\"" | "[]" | "{}" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_next_page_is_told_with_the_setting() {
        for (body, expected) in [
            (
                r#"{"@odata.nextLink":"https://a.example/x","value":[]}"#,
                "{ url: /@odata.nextLink }",
            ),
            (r#"{"paging":{"next":"/v2?o=1"}}"#, "{ url: /paging/next }"),
            (
                r#"{"meta":{"pagination":{"after":"abc"}}}"#,
                "{ cursor: /meta/pagination/after, query: NAME }",
            ),
            (r#"{"more":true}"#, "more: /more"),
            (r#"{"reply":{"total_count":200,"incidents":[]}}"#, "`/reply/total_count` is 200"),
        ] {
            let hints = hints(body, None, 100);
            assert!(hints.len() == 1 && hints[0].contains(expected), "{body}: {hints:?}");
        }
    }

    #[test]
    fn the_last_page_gives_no_hint() {
        for body in [
            r#"{"next":null,"more":false,"total":100,"value":[{"next":"x"}]}"#,
            r#"{"next":"","count":3}"#,
            "[]",
        ] {
            assert_eq!(hints(body, None, 100), [""; 0], "{body}");
        }
        let mut headers = HeaderMap::new();
        headers.append("link", "<https://a.example/1>; rel=\"self\"".parse().unwrap());
        assert_eq!(hints("[]", Some(&headers), 1), [""; 0]);
        headers.append("link", "<https://a.example/2>; rel=\"next\"".parse().unwrap());
        assert_eq!(hints("[]", Some(&headers), 1).len(), 1);
    }
}
