//! Paths on values: against `serde_json`, and one pass for many paths against one path at a time.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn found(path: &str, json: &str) -> Vec<String> {
    let path = Path::parse(path).unwrap();
    path.find(json).into_iter().map(|found| found.raw.to_owned()).collect()
}

#[test]
fn paths_lead_to_values() {
    let json = r#" { "a.b": 1, "a": {"0": [10, {"b": null}, 30], "b~c/d": "x", "\u0065": true},
        "list": [ [1, 2], [] , [3] ], "a": {"0": [1]}, "": 4 } "#;
    for (path, expected) in [
        ("a.b", vec!["1"]),
        ("/a/0", vec!["[1]"]),
        ("/a/0/0", vec!["1"]),
        ("/a/e", vec![]),
        ("/", vec!["4"]),
        ("$.list[*][*]", vec!["1", "2", "3"]),
        ("$.list[0][-1]", vec!["2"]),
        ("$.list[-1]", vec!["[3]"]),
        ("$.list[-3][0]", vec!["1"]),
        ("$.list[-4]", vec![]),
        ("$.list[3]", vec![]),
        ("/list/1", vec!["[]"]),
        ("/list/01", vec![]),
        ("/list/-", vec![]),
        ("$.list.a", vec![]),
        ("$.a[0]", vec![]),
        ("$['a'].*", vec!["[1]"]),
        ("$.*[*]", vec!["[1]", "[1, 2]", "[]", "[3]"]),
        ("", vec![json.trim()]),
        ("$", vec![json.trim()]),
        ("/missing/x", vec![]),
    ] {
        assert_eq!(found(path, json), expected, "{path}");
    }
    assert_eq!(found("$.*", r#"{"a":1,"b":2,"\u0061":3,"\ud800":4}"#), ["3", "2", "4"]);
}

#[test]
fn an_array_stands_for_its_elements_that_hold_something() {
    for (json, held) in [
        ("1", vec!["1"]),
        ("null", vec![]),
        ("\"\"", vec![]),
        ("[]", vec![]),
        ("[ ]", vec![]),
        ("{}", vec!["{}"]),
        ("false", vec!["false"]),
        ("[null, [\"\", [\"a\"]], [], 0, \" \"]", vec!["\"a\"", "0", "\" \""]),
        ("[[[ [ ] ],\n\t[{\"a\":[1,2]} ,\",]\" ]] ]", vec!["{\"a\":[1,2]}", "\",]\""]),
    ] {
        let mut elements = Vec::new();
        let _ = Found::new(json).visit_held(&mut |element| {
            elements.push(element.raw);
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(elements, held, "{json}");
        assert_eq!(Found::new(json).first_held().map(|found| found.raw), held.first().copied());
    }
}

#[test]
fn a_dead_end_says_what_stands_there() {
    let json = r#"{"actor":{"alternateId":"x","displayName":"y","id":1},"list":[{"a":1}],"n":0,
        "empty":{},"none":[]}"#;
    for (path, text) in [
        ("/actor/mail", "no such member; there are `alternateId`, `displayName`, `id`"),
        ("mail", "no such member; there are `actor`, `list`, `n`, `empty`, `none`"),
        ("/user/mail", "no member `user`; there are `actor`, `list`, `n`, `empty`, `none`"),
        (
            "/actor/user/mail",
            "no member `user` in `/actor`; there are `alternateId`, `displayName`, `id`",
        ),
        (
            "$.actor.user.mail",
            "no member `user` in `$['actor']`; there are `alternateId`, `displayName`, `id`",
        ),
        ("$.list[*].b", "no such member; there is `a`"),
        ("/empty/x", "no such member; the object there is empty"),
        (
            "/list/a",
            "a list of length 1 stands at `/list`, which has no `a`; a JSONPath with `[*]` leads to \
             all elements, one with `[0]` to the first",
        ),
        ("$.list[7]", "a list of length 1 stands at `$['list']`, which has no `[7]`"),
        ("$.none[*]", "an empty list stands at `$['none']`, which has no `[*]`"),
        ("/n/x", "a number stands at `/n`, which has no `x`"),
    ] {
        let dead_end = Path::parse(path).unwrap().dead_end(json).unwrap();
        assert_eq!(dead_end.to_string(), text, "{path}");
    }
    assert_eq!(Path::parse("/actor/id").unwrap().dead_end(json), None);
    assert_eq!(
        Path::name("x").dead_end("\"text\"").unwrap().to_string(),
        "a string is the whole value, which has no `x`"
    );
}

#[test]
fn the_names_at_a_dead_end_are_bounded() {
    const MAX_CUT_BYTES: usize = 64 + '…'.len_utf8();
    let members: Vec<_> =
        (0..30).map(|index| format!("\"{index:02}{}\":1", "é".repeat(100))).collect();
    let json = format!("{{{}}}", members.join(","));
    let dead_end = Path::name("x").dead_end(&json).unwrap();
    let Standing::Object { members, others } = &dead_end.there else { panic!("{dead_end:?}") };
    assert_eq!((members.len(), *others), (20, 10));
    assert!(members.iter().all(|name| name.len() <= MAX_CUT_BYTES && name.ends_with('…')));
    assert!(dead_end.to_string().ends_with(" and 10 others"));
}

/// A value, some of whose names repeat and some of which are indices.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        "-?[1-9][0-9]{0,3}",
        "\"[a-z\u{e9}]{0,4}\"",
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(("a|b|\\\\u0061|0|1", inner), 0..5).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        "a|b|c|",
        "(/(a|b|0|1|2)){1,4}",
        "\\$(\\.a|\\.b|\\['0'\\]|\\[\\*\\]|\\.\\*|\\[0\\]|\\[1\\]|\\[-1\\]|\\[-2\\]){0,4}",
    ]
}

/// What the steps lead to, by an independent implementation on built values.
fn reference<'v>(value: &'v Json, steps: &[Step]) -> Vec<&'v Json> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let children: Vec<&Json> = match (step, value) {
        (Step::Name(name), Json::Object(members)) => members.get(name).into_iter().collect(),
        (Step::Token(token), _) => {
            let token = token.replace('~', "~0").replace('/', "~1");
            value.pointer(&format!("/{token}")).into_iter().collect()
        }
        (Step::Index(index), Json::Array(elements)) => {
            let length = i64::try_from(elements.len()).unwrap();
            let index = if *index < 0 { length + index } else { *index };
            usize::try_from(index).ok().and_then(|index| elements.get(index)).into_iter().collect()
        }
        (Step::Each, Json::Array(elements)) => elements.iter().collect(),
        (Step::Each, Json::Object(members)) => members.values().collect(),
        _ => vec![],
    };
    children.into_iter().flat_map(|child| reference(child, rest)).collect()
}

/// Without regard to order, since `serde_json` sorts the members of objects.
fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn paths_lead_where_they_lead_in_built_values(json in json(), path in path()) {
        let value: Json = serde_json::from_str(&json).unwrap();
        let path = Path::parse(&path).unwrap();
        let expected = reference(&value, path.steps());
        let actual: Vec<Json> = path
            .find(&json)
            .into_iter()
            .map(|found| serde_json::from_str(found.raw).unwrap())
            .collect();
        prop_assert_eq!(actual.len(), expected.len());
        prop_assert_eq!(path.dead_end(&json).is_none(), !expected.is_empty());
        if path.steps().contains(&Step::Each) {
            let text = |value: &Json| value.to_string();
            prop_assert_eq!(
                sorted(actual.iter().map(text).collect()),
                sorted(expected.into_iter().map(text).collect())
            );
        } else {
            prop_assert_eq!(actual.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn one_pass_finds_what_each_path_alone_finds(
        json in json(),
        paths in prop::collection::vec(path(), 0..8),
    ) {
        let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
        let selection = Selection::new(&paths);
        let mut captures = selection.captures();
        // What an earlier value left behind does not count.
        for text in ["{\"a\":{\"b\":{\"a\":[7]}},\"b\":[7]}", json.as_str()] {
            let mut scanner = Scanner::new(text.as_bytes());
            selection.read(Selection::ROOT, &mut scanner, 0, &mut captures).unwrap();
            scanner.end().unwrap();
            for (index, path) in paths.iter().enumerate() {
                let mut values = Vec::new();
                let _ = selection.visit(index, &captures, text.as_bytes(), &mut |found| {
                    values.push(found);
                    ControlFlow::<()>::Continue(())
                });
                prop_assert_eq!(values, path.find(text), "{}", path);
            }
        }
    }
}
