use proptest::prelude::*;

use super::*;

/// The digits of a digest.
fn digits(digest: TokenDigest) -> String {
    String::from_utf8(crate::hex::digits(digest).as_flattened().to_vec()).unwrap()
}

/// The digits of the digest of `text`.
fn hex(text: &str) -> String {
    digits(digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap())
}

fn errors(text: &str) -> Vec<(usize, String)> {
    let errors = Tokens::parse(text).expect_err(text);
    errors.into_iter().map(|error| (error.line, error.detail)).collect()
}

fn employee(id: &str) -> Scope {
    Scope::Employee(id.into())
}

#[test]
fn entries_and_scopes_are_read() {
    let text = format!(
        "# tokens\r\nreporting:{}\r\nall:{}:all\nprometheus:{}:metrics\n\n\
         Ann Lee:{}:self=EMP%3A1%20%c3%a9%25\nbob:{}:self=emp=2+é@x",
        hex("a"),
        hex("b").to_uppercase(),
        hex("c"),
        hex("d"),
        hex("e")
    );
    let tokens = Tokens::parse(&text).unwrap();
    let found: Vec<_> =
        tokens.as_slice().iter().map(|token| (&*token.name, token.scope.clone())).collect();
    assert_eq!(
        found,
        [
            ("reporting", Scope::All),
            ("all", Scope::All),
            ("prometheus", Scope::Metrics),
            ("Ann Lee", employee("EMP:1 é%")),
            ("bob", employee("emp=2+é@x")),
        ]
    );
    assert_eq!(tokens.as_slice()[1].digest, digest(&SHA256, b"b").as_ref());
    assert!(!format!("{tokens:?}").contains("digest"));
    assert_eq!(Tokens::parse("# none\n\n"), Ok(Tokens::default()));
}

#[test]
fn malformed_lines_are_all_named() {
    let (a, b, c) = (hex("a"), hex("b"), hex("c"));
    let (x, sha1) = (format!("{}x", &a[..63]), &a[..40]);
    let text = format!(
        "n1\nn2:\nn3:{x}\nn4:{sha1}\nn5:{a}  -\nok:{a}\nn6:{}\nok:{b}\nn7:{b}:admin\nn8:{c}:\n",
        a.to_uppercase()
    );
    let no_digest = format!("what follows the name is no SHA-256 digest; {FORM}");
    let scope = format!("the scope after the digest is unknown; {SCOPES}");
    let expected = [
        (1, format!("there is no `:`; {FORM}")),
        (2, no_digest.clone()),
        (3, format!("the digest has other characters than digits; {FORM}")),
        (4, no_digest.clone()),
        (5, no_digest),
        (7, "the token of line 6 again; keep one of the two".to_owned()),
        (8, "the name of line 6 again; keep one of the two".to_owned()),
        (9, scope.clone()),
        (10, scope),
    ];
    assert_eq!(errors(&text), expected);
}

#[test]
fn scopes_are_checked() {
    let encoded = "the employee's id is not percent-encoded; write `:` as `%3A`, `%` as `%25` and \
        a space as `%20`";
    let unknown = format!("the scope after the digest is unknown; {SCOPES}");
    let none = "there is no employee's id after `self=`; write `self=EMPLOYEE_ID`";
    let hex = hex("a");
    for (scope, expected) in [
        ("self", &*unknown),
        ("All", &unknown),
        ("all ", &unknown),
        ("self =x", &unknown),
        ("incidents:read", &unknown),
        ("all=x", &unknown),
        ("self=", none),
        ("self=a:b", encoded),
        ("self=a b", encoded),
        ("self=a%", encoded),
        ("self=a%3", encoded),
        ("self=a%3é", encoded),
        ("self=a%zz", encoded),
        ("self=%FF", "the employee's id is not UTF-8; percent-encode its UTF-8 bytes"),
        ("self=a%00", "the employee's id contains a control character; remove it"),
        ("self=a%0A", "the employee's id contains a control character; remove it"),
        (
            &format!("self={}", "a".repeat(257)),
            "the employee's id is longer than 256 bytes; is it the right one?",
        ),
    ] {
        assert_eq!(errors(&format!("n:{hex}:{scope}")), [(1, expected.to_owned())], "{scope}");
    }
    let longest = format!("n:{hex}:self={}", "%C3%A9".repeat(128));
    assert_eq!(Tokens::parse(&longest).unwrap().as_slice()[0].scope, employee(&"é".repeat(128)));
}

#[test]
fn the_digest_of_no_token_is_refused() {
    let expected = "the digest is that of an empty token; make a token, such as with `openssl rand \
        -hex 32`, and write its digest";
    for nothing in ["", "\n", "\r\n"] {
        assert_eq!(errors(&format!("n:{}", hex(nothing))), [(1, expected.to_owned())]);
    }
    let known = "n:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855:metrics";
    assert_eq!(errors(known), [(1, expected.to_owned())]);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in proptest::collection::btree_map(
            "[^:\\p{C}\\s#][^:\\p{C}\\s]{0,20}",
            (any::<TokenDigest>(), proptest::option::of("[^\\p{Cc}]{1,60}")),
            0..9,
        )
    ) {
        let lines = entries.iter().map(|(name, (digest, id))| {
            let encode = percent_encoding::utf8_percent_encode;
            let scope = match id {
                None => "all".to_owned(),
                Some(id) => format!("self={}", encode(id, percent_encoding::NON_ALPHANUMERIC)),
            };
            format!("{name}:{}:{scope}", digits(*digest))
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let tokens = Tokens::parse(&text).unwrap();
        let found: Vec<_> = tokens
            .as_slice()
            .iter()
            .map(|token| (token.name.to_string(), (token.digest, token.scope.only_employee())))
            .map(|(name, (digest, id))| (name, (digest, id.map(ToString::to_string))))
            .collect();
        prop_assert!(found.into_iter().eq(entries));
    }

    /// The letters of the secrets occur in no message.
    #[test]
    fn errors_quote_nothing(
        secret in "[QXZJ]{4,64}",
        scope in "(:[QXZJ=]{1,9}|:self=[QXZJ:% ]{0,9})?",
    ) {
        let digest = hex("a");
        let text = format!("{secret}\nn:{secret}{scope}\nn:{digest}{scope}\nm:{digest}{scope}");
        if let Err(errors) = Tokens::parse(&text) {
            let shown = format!("{errors:?}");
            prop_assert!(!shown.contains(['Q', 'X', 'Z', 'J']), "{shown}");
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "([a#]{0,2}:?[0-9a-f]{0,64}:?\\PC{0,20}\r?\n?){0,9}") {
        let lines = text.split('\n').count();
        if let Err(errors) = Tokens::parse(&text) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.is_sorted_by(|a, b| a.line < b.line));
            prop_assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }
}
