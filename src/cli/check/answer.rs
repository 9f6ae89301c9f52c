//! Explains an answer that is JSON, but not what the configuration describes.

use super::candidates;
use super::lead::{Lead, kind, member_names};
use super::lines::Lines;
use super::shown::{count, grouped, names, shown};
use crate::json::{Found, Path, Step, elements, object_members, unescape};

/// How deep below the body lists are looked for.
const MAX_DEPTH: usize = 4;
/// The most lists, and the most members, that are named.
const MAX_NAMES: usize = 20;
/// How much of a body that is not JSON is looked at, and shown.
const MAX_START_BYTES: usize = 4096;
const MAX_START_CHARS: usize = 120;
/// How a body that is compressed by gzip begins.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// How much of a reported failure is shown.
const MAX_VALUE_CHARS: usize = 300;

/// Says what stands at the paths of `fail_if`, and what stands where the records should be. `body`
/// must be valid JSON.
pub(super) fn explain(body: &str, records: &Path, fail_if: &[Path], lines: &mut Lines) {
    for path in fail_if {
        for found in path.find(body).into_iter().filter(|found| is_failure(*found)) {
            let value = shown(found.raw, MAX_VALUE_CHARS);
            lines.problem(&format!("`fail_if` `{path}` is {value}"));
        }
    }
    let mut lead = Lead::new(records);
    lead.follow(body);
    let found = records.find(body);
    let whole = Found::new(body.trim_ascii());
    if whole.is_array() && !found.iter().any(|found| found.is_array()) {
        let length = count(elements(whole.raw).count(), "element");
        lines.problem(&format!("the answer itself is the list ({length}); set `records: \"\"`"));
        return;
    }
    if let Some(end) = lead.dead_end() {
        lines.problem(&format!("`records` {end}"));
    } else if let Some(other) = found.iter().find(|found| !found.is_array()) {
        let members = if other.raw.starts_with('{') {
            let members = member_names(other.raw);
            format!(" with {}", names(members.iter().map(String::as_str), MAX_NAMES))
        } else {
            String::new()
        };
        let what = kind(*other);
        lines.problem(&format!("`records` `{records}` leads to {what}{members}, not to an array"));
        keyed(*other, records, lines);
    } else {
        return;
    }
    let mut lists = Vec::new();
    find_lists(whole, "", &mut lists);
    if !lists.is_empty() {
        lines.more(&format!("arrays in the answer: {}", lists.join(", ")));
    }
}

/// Says what can be done if the members of an object are lists, or look like the records.
fn keyed(object: Found<'_>, records: &Path, lines: &mut Lines) {
    if !object.raw.starts_with('{') || object_members(object.raw).next().is_none() {
        return;
    }
    let all = |first: char| object_members(object.raw).all(|(_, it)| it.raw.starts_with(first));
    if all('[') {
        let each = each_member(records);
        lines.more(&format!("each of its members is a list; `records: \"{each}\"` reads them all"));
    } else if all('{') {
        lines.more(
            "each of its members is an object; if they are the records, ask the API for an array: \
             `[*]` reads members only if each is a list",
        );
    }
}

/// The JSONPath to all members of what `path` leads to.
fn each_member(path: &Path) -> String {
    let steps = path.steps().iter().map(|step| match step {
        Step::Name(name) | Step::Token(name) => candidates::step(name),
        Step::Index(index) => format!("[{index}]"),
        Step::Each => "[*]".to_owned(),
    });
    format!("${}[*]", steps.collect::<String>())
}

/// Says how a body that is not JSON begins, and what it may be.
pub(super) fn explain_text(body: &[u8], lines: &mut Lines) {
    let start = String::from_utf8_lossy(&body[..body.len().min(MAX_START_BYTES)]).into_owned();
    lines.more(&format!("it begins: {}", shown(&start, MAX_START_CHARS)));
    let second_line = start.lines().nth(1).unwrap_or_default().trim_start();
    if start.starts_with("HTTP/") {
        lines.problem("the file begins with a response's headers; save the body alone");
    } else if body.starts_with(GZIP_MAGIC) {
        lines.problem("it is compressed by gzip; decompress it, or save it with curl --compressed");
    } else if start.trim_start().starts_with('<') {
        lines.problem("it is HTML or XML, such as a page to sign in; look at path and credentials");
    } else if start.starts_with('{') && second_line.starts_with('{') {
        lines.problem(
            "it looks like one JSON document a line, which only a file may be (.ndjson); ask the \
             API for one document",
        );
    }
}

/// Whether a value at a path of `fail_if` says that the answer has failed.
fn is_failure(value: Found<'_>) -> bool {
    !matches!(value.raw, "null" | "false" | "\"\"" | "0")
        && !matches!(value.raw.as_bytes(), [b'[', .., b']'] if elements(value.raw).next().is_none())
        && !matches!(value.raw.as_bytes(), [b'{', .., b'}'] if object_members(value.raw).next().is_none())
}

/// The pointers to arrays below a value, with their lengths.
fn find_lists(value: Found<'_>, pointer: &str, lists: &mut Vec<String>) {
    if lists.len() >= MAX_NAMES {
        return;
    }
    if value.is_array() {
        let length = grouped(elements(value.raw).count());
        lists.push(format!("`{}` ({length} elements)", shown(pointer, 200)));
    } else if value.raw.starts_with('{') && pointer.matches('/').count() < MAX_DEPTH {
        for (spelled, member) in object_members(value.raw) {
            let Some(name) = unescape(spelled) else { continue };
            let name = name.replace('~', "~0").replace('/', "~1");
            find_lists(member, &format!("{pointer}/{name}"), lists);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(body: &str, records: &str, fail_if: &[&str]) -> String {
        let mut lines = Lines::default();
        let fail_if: Vec<_> = fail_if.iter().map(|path| Path::parse(path).unwrap()).collect();
        explain(body, &Path::parse(records).unwrap(), &fail_if, &mut lines);
        lines.into_text()
    }

    #[test]
    fn what_stands_in_the_place_of_the_list_is_told() {
        let body = r#"{"meta":{"n":1},"data":{"items":[1,2],"next":null},"errors":[{"code":403}]}"#;
        let text = explained(body, "/results", &["/errors", "/meta/x"]);
        assert!(text.contains("`fail_if` `/errors` is [{\"code\":403}]"), "{text}");
        let end = "`records` `/results`: no such member; there are `meta`, `data`, `errors`";
        assert!(text.contains(end), "{text}");
        assert!(text.contains("`/data/items` (2 elements), `/errors` (1 elements)"), "{text}");
        let text = explained(body, "/data", &[]);
        assert!(
            text.contains("leads to an object with `items`, `next`, not to an array"),
            "{text}"
        );
        let text = explained(body, "", &[]);
        assert!(text.contains("leads to an object with `meta`, `data`, `errors`"), "{text}");
        assert_eq!(explained(body, "/data/items", &["/data/next", "/meta/none"]), "");
    }

    #[test]
    fn a_list_without_anything_around_it_is_told() {
        let text = explained(" [1,2,3]", "/results", &[]);
        assert!(text.contains("itself is the list (3 elements); set `records: \"\"`"), "{text}");
        assert!(!text.contains("arrays in the answer"), "{text}");
        assert_eq!(explained("[1,2,3]", "", &[]), "");
    }

    #[test]
    fn an_object_in_place_of_the_list_is_told_with_what_can_be_done() {
        for (body, records, expected) in [
            (r#"{"a":{"x y":[1],"z":[]}}"#, "/a", "`records: \"$.a[*]\"` reads them all"),
            (r#"{"a b":[{"c":{"x":[1]}}]}"#, "$['a b'][0].c", "\"$['a b'][0].c[*]\"` reads"),
            (r#"{"x":[1],"z":[]}"#, "", "`records: \"$[*]\"` reads them all"),
            (r#"{"a":{"x":{"id":1},"z":{}}}"#, "/a", "ask the API for an array"),
        ] {
            let text = explained(body, records, &[]);
            assert!(text.contains(expected), "{text}");
        }
        for body in [r#"{"a":{}}"#, r#"{"a":{"x":[],"n":1}}"#, r#"{"a":"x"}"#] {
            let text = explained(body, "/a", &[]);
            assert!(text.contains("not to an array") && !text.contains("members"), "{text}");
        }
    }

    #[test]
    fn bodies_that_are_not_json_are_recognised() {
        for (body, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n{}"[..], "save the body alone"),
            (b"\x1f\x8b\x08\x00", "curl --compressed"),
            (b" <!DOCTYPE html><title>Sign in</title>", "look at path and credentials"),
            (b"{\"a\":1}\n{\"a\":2}\n", ".ndjson"),
        ] {
            let mut lines = Lines::default();
            explain_text(body, &mut lines);
            assert_eq!(lines.problems(), 1);
            let text = lines.into_text();
            assert!(text.contains(expected) && text.contains("it begins: "), "{text}");
        }
        let mut lines = Lines::default();
        explain_text(b"{\"a\":", &mut lines);
        assert_eq!(lines.problems(), 0);
    }

    #[test]
    fn empty_failures_are_none() {
        let body = r#"{"a":[ ],"b":{},"c":0,"d":"","e":false,"f":null,"r":[]}"#;
        assert_eq!(explained(body, "/r", &["/a", "/b", "/c", "/d", "/e", "/f"]), "");
    }
}
