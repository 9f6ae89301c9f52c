use proptest::prelude::*;

use super::*;

/// Of the password `hunter2`, with cost 4.
fn hash() -> String {
    let salt = *b"sixteen bytes!!!";
    bcrypt::hash_with_salt("hunter2", 4, salt).unwrap().format_for_version(bcrypt::Version::TwoY)
}

fn errors(text: &str) -> Vec<(usize, String)> {
    let errors = Users::parse(text).expect_err(text);
    errors.into_iter().map(|error| (error.line, error.detail)).collect()
}

#[test]
fn entries_comments_and_line_ends_are_read() {
    let hash = hash();
    let text = format!("# users\r\n\r\nalice:{hash}\r\n  \n\t# bob\nJörg Müller:{hash}");
    let users = Users::parse(&text).unwrap();
    let names: Vec<&str> = users.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["Jörg Müller", "alice"]);
    let (_, found) = users.get("alice").unwrap();
    assert_eq!(found.as_str(), hash);
    assert!(bcrypt::verify("hunter2", found.as_str()).unwrap());
    assert!(users.get("Alice").is_none() && users.get("# bob").is_none());
    assert_eq!(Users::parse(&format!("{text}\r")).unwrap(), users);
    assert!(!format!("{users:?}").contains("$2"));
    for empty in ["", "\n", "# nobody", "\r\n \r\n"] {
        assert_eq!(Users::parse(empty), Ok(Users::default()), "{empty:?}");
    }
}

#[test]
fn each_version_and_cost_of_bcrypt_is_told_apart() {
    let hash = hash();
    for (version, is_accepted) in
        [("$2a$", true), ("$2b$", true), ("$2y$", true), ("$2x$", false), ("$2$0", false)]
    {
        let text = format!("a:{version}{}", &hash[4..]);
        assert_eq!(Users::parse(&text).is_ok(), is_accepted, "{version}");
    }
    for (cost, is_accepted) in
        [("03", false), ("04", true), ("14", true), ("15", false), ("31", false), ("99", false)]
    {
        let text = format!("a:$2y${cost}{}", &hash[6..]);
        assert_eq!(Users::parse(&text).is_ok(), is_accepted, "{cost}");
        if !is_accepted {
            assert_eq!(
                errors(&text),
                [(
                    1,
                    "the cost of the bcrypt hash is not within 4 to 14; make it again with \
                     `htpasswd -nB -C 10 NAME`"
                        .to_owned()
                )]
            );
        }
    }
}

#[test]
fn other_kinds_of_hashes_are_refused_by_kind() {
    let only = format!("; only bcrypt is accepted (`$2a$`, `$2b$`, `$2y$`): {FORM}");
    for (hash, kind) in [
        ("$apr1$x$hunter2", "an MD5 hash (apr1)"),
        ("$1$x$hunter2", "an MD5 crypt hash"),
        ("{SHA}hunter2=", "a SHA-1 hash"),
        ("{SSHA512}hunter2=", "a hash of another kind"),
        ("$5$x$hunter2", "a SHA-256 crypt hash"),
        ("$6$x$hunter2", "a SHA-512 crypt hash"),
        ("$argon2id$v=19$hunter2", "an Argon2 hash"),
        ("$2x$04$hunter2", "a bcrypt hash of a faulty program (version 2x)"),
        ("$2$04$hunter2", "a bcrypt hash of the outdated version 2"),
        ("$9$hunter2", "a hash of another kind"),
        ("hunter2", "no hash, or one of the outdated `crypt`"),
    ] {
        let expected = format!("what follows the name is {kind}{only}");
        assert_eq!(errors(&format!("alice:{hash}")), [(1, expected)], "{hash}");
    }
}

#[test]
fn malformed_lines_are_all_named() {
    let hash = hash();
    let (cut, long) = (&hash[..59], format!("{hash}x"));
    let text = format!(
        "alice\n:{hash}\na:{cut}\nb:{long}\nc:{hash}:x\nd:{hash} \ne :{hash}\nf\u{7}:{hash}\n\
         {}:{hash}\ng:\nh:{}é{}\ng:{hash}\ni:$2y$+4{}\nj:{}!{}\nk:{hash}\rl:{hash}\n{}:{hash}",
        "n".repeat(257),
        &hash[..40],
        &hash[42..],
        &hash[6..],
        &hash[..40],
        &hash[41..],
        "n".repeat(2048),
    );
    let malformed = format!("the bcrypt hash is malformed, or not whole; {FORM}");
    let expected = [
        (1, format!("there is no `:`; {FORM}")),
        (2, format!("there is no name before the first `:`; {FORM}")),
        (3, malformed.clone()),
        (4, malformed.clone()),
        (5, malformed.clone()),
        (6, malformed.clone()),
        (7, "there is white space before or after the name; remove it".to_owned()),
        (8, "the name contains a control character; remove it".to_owned()),
        (9, "the name is longer than 256 bytes; shorten it".to_owned()),
        (10, format!("there is no hash after the `:`; {FORM}")),
        (11, malformed.clone()),
        (12, "the name of line 10 again; keep one of the two".to_owned()),
        (13, malformed.clone()),
        (14, malformed.clone()),
        (15, malformed),
        (16, format!("longer than 2048 bytes; {FORM}")),
    ];
    assert_eq!(errors(&text), expected);
}

#[test]
fn the_errors_and_the_entries_are_bounded() {
    let found = errors(&"x\n".repeat(1000));
    assert_eq!(found.len(), 21);
    let last = "faulty, too, and others may be; only the first 20 faulty lines are described";
    assert_eq!(found[20], (21, last.to_owned()));
    assert_eq!(errors(&"x\n".repeat(20)).len(), 20);
    let hash = hash();
    let users = |count: usize| {
        let lines = (0..count).map(|number| format!("{number}:{hash}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(Users::parse(&users(50_000)).unwrap().iter().len(), 50_000);
    assert_eq!(
        errors(&users(50_002)),
        [(50_001, "more than 50000 entries; remove some".to_owned())]
    );
}

#[test]
fn bits_of_padding_do_not_matter() {
    let hash = hash();
    let mut padded = hash.clone().into_bytes();
    for (index, bits) in [(28, 15), (59, 3)] {
        let digits = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let value = digits.iter().position(|digit| *digit == padded[index]).unwrap();
        padded[index] = digits[value | bits];
    }
    let padded = String::from_utf8(padded).unwrap();
    assert!(bcrypt::verify("hunter2", &padded).is_err(), "the library refuses it");
    let users = Users::parse(&format!("alice:{padded}")).unwrap();
    assert_eq!(users.get("alice").unwrap().1.as_str(), hash);
}

proptest! {
    #[test]
    fn what_is_read_can_be_written_and_verified(
        users in proptest::collection::btree_map(
            "[^:\\p{C}\\s#][^:\\p{C}\\s]{0,20}",
            "\\$2[aby]\\$(0[4-9]|1[0-4])\\$[./A-Za-z0-9]{53}",
            0..9,
        )
    ) {
        let lines = users.iter().map(|(name, hash)| format!("{name}:{hash}\n"));
        let text = lines.collect::<Vec<_>>().concat();
        let parsed = Users::parse(&text).unwrap();
        prop_assert!(parsed.iter().map(|(name, _)| name.to_string()).eq(users.keys().cloned()));
        for (_, hash) in parsed.iter() {
            prop_assert!(hash.as_str().parse::<bcrypt::HashParts>().is_ok());
        }
        let lines = parsed.iter().map(|(name, hash)| format!("{name}:{}\r\n", hash.as_str()));
        let written = lines.collect::<Vec<_>>().concat();
        prop_assert_eq!(Users::parse(&written).unwrap(), parsed);
    }

    /// The letters of the secrets occur in no message.
    #[test]
    fn errors_quote_nothing(
        secret in "(\\$2[abxy]\\$[0-9]{2}\\$|\\$apr1\\$|\\{SHA\\})?[QXZJ]{4,60}(:[QXZJ]{1,9})?",
        name in "[a-z]{0,3}",
    ) {
        if let Err(errors) = Users::parse(&format!("{name}:{secret}\nn:{secret}\n{secret}")) {
            let shown = format!("{errors:?}");
            prop_assert!(!shown.contains(['Q', 'X', 'Z', 'J']), "{shown}");
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "([a#]{0,2}:?(\\$2y\\$04\\$)?\\PC{0,70}\r?\n?){0,9}") {
        let lines = text.split('\n').count();
        if let Err(errors) = Users::parse(&text) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.is_sorted_by(|a, b| a.line < b.line));
            prop_assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }
}
