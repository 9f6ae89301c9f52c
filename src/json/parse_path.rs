//! Parses the three notations of paths.

use super::path::{Path, PathError, Step};

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The most steps of a path.
const MAX_STEPS: usize = 64;

fn refuse<T>(detail: impl Into<String>) -> Result<T, PathError> {
    Err(PathError { detail: detail.into() })
}

impl Path {
    /// Parses a path in any of the notations.
    ///
    /// # Errors
    ///
    /// When the text is longer than 1 KiB or has more than 64 steps; when a JSON Pointer has a `~`
    /// that is neither `~0` nor `~1`; when a JSONPath has anything but names, indices and `[*]`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_BYTES {
            return refuse("the path is longer than 1024 bytes");
        }
        let steps = match text.as_bytes().first() {
            None => Vec::new(),
            Some(b'/') => pointer(text)?,
            Some(b'$') => json_path(text)?,
            Some(_) => return Ok(Self::name(text)),
        };
        if steps.len() > MAX_STEPS {
            return refuse("the path has more than 64 steps");
        }
        Ok(Self::from_parts(text, steps))
    }
}

fn pointer(text: &str) -> Result<Vec<Step>, PathError> {
    let token = |token: &str| {
        if token.replace("~0", "").replace("~1", "").contains('~') {
            return refuse("in a JSON Pointer `~` is written `~0`, and `/` within a name `~1`");
        }
        Ok(Step::Token(token.replace("~1", "/").replace("~0", "~")))
    };
    text.split('/').skip(1).map(token).collect()
}

fn json_path(text: &str) -> Result<Vec<Step>, PathError> {
    let mut steps = Vec::new();
    let mut rest = &text[1..];
    while !rest.is_empty() {
        let (step, after) = if rest.starts_with("..") {
            return refuse("`..` is not supported; write the names on the way");
        } else if let Some(rest) = rest.strip_prefix('.') {
            dotted(rest)?
        } else if let Some(rest) = rest.strip_prefix('[') {
            bracketed(rest.trim_start())?
        } else {
            return refuse("after `$` come `.name`, `['name']`, `[0]` or `[*]`");
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

/// Reads what follows a dot.
fn dotted(text: &str) -> Result<(Step, &str), PathError> {
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Step::Each, rest));
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return refuse("a name is missing after a dot");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || !c.is_ascii();
    if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_plain) {
        return refuse(format!(
            "`.{name}` is no plain name; write `['…']` around names with other characters, \
             `[0]` for an index",
        ));
    }
    Ok((Step::Name(name.to_owned()), rest))
}

/// Reads what follows an opening bracket.
fn bracketed(text: &str) -> Result<(Step, &str), PathError> {
    let (step, rest) = match text.as_bytes().first() {
        Some(b'\'' | b'"') => {
            let (name, rest) = quoted(text)?;
            (Step::Name(name), rest)
        }
        Some(b'*') => (Step::Each, &text[1..]),
        Some(b'-' | b'0'..=b'9') => {
            let is_digit = |c: char| c == '-' || c.is_ascii_digit();
            let end = text.find(|c: char| !is_digit(c)).unwrap_or(text.len());
            let Some(index) =
                text[..end].parse().ok().filter(|index: &i64| index.to_string() == text[..end])
            else {
                return refuse(format!("`[{}]` is no index; write `[0]` or `[-1]`", &text[..end]));
            };
            (Step::Index(index), &text[end..])
        }
        Some(b'?') => {
            return refuse("filters `[?…]` are not supported; `[*]` selects all elements");
        }
        Some(b':') => return refuse("slices are not supported; `[*]` selects all elements"),
        _ => return refuse("in brackets stands a quoted name, an index or `*`"),
    };
    let rest = rest.trim_start();
    match rest.as_bytes().first() {
        Some(b']') => Ok((step, &rest[1..])),
        Some(b':') => refuse("slices are not supported; `[*]` selects all elements"),
        Some(b',') => refuse("several selectors in one pair of brackets are not supported"),
        _ => refuse("a closing bracket is missing"),
    }
}

/// Reads a quoted name, from its opening quote on (RFC 9535, section 2.3.1.1).
fn quoted(text: &str) -> Result<(String, &str), PathError> {
    const UNCLOSED: &str = "a closing quote is missing";
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return refuse(UNCLOSED) };
    // The name as a JSON string, whose escapes are the same but for the single quote's.
    let mut json = String::from("\"");
    while let Some((position, c)) = characters.next() {
        match c {
            _ if c == quote => {
                json.push('"');
                let Ok(name) = serde_json::from_str(&json) else {
                    return refuse("a quoted name has an invalid escape");
                };
                return Ok((name, &text[position + 1..]));
            }
            '\\' => match characters.next() {
                Some((_, '\'')) if quote == '\'' => json.push('\''),
                Some((_, escaped)) => json.extend(['\\', escaped]),
                None => return refuse(UNCLOSED),
            },
            '"' => json.push_str("\\\""),
            c => json.push(c),
        }
    }
    refuse(UNCLOSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Step {
        Step::Name(name.to_owned())
    }

    fn token(token: &str) -> Step {
        Step::Token(token.to_owned())
    }

    #[test]
    fn each_notation_is_read() {
        for (text, steps) in [
            ("", vec![]),
            ("$", vec![]),
            ("kibana.alert.severity", vec![name("kibana.alert.severity")]),
            ("@odata.nextLink", vec![name("@odata.nextLink")]),
            ("a[0]", vec![name("a[0]")]),
            ("/", vec![token("")]),
            ("/a/0/b.c", vec![token("a"), token("0"), token("b.c")]),
            ("/a~1b/~01/ ", vec![token("a/b"), token("~1"), token(" ")]),
            ("$.a.b-c._é", vec![name("a"), name("b-c"), name("_é")]),
            ("$[0][-1][*].*", vec![Step::Index(0), Step::Index(-1), Step::Each, Step::Each]),
            ("$['a.b']['it\\'s'][\"x\"]", vec![name("a.b"), name("it's"), name("x")]),
            (r#"$['say "hi"\n\u00e9\\']["]'"]"#, vec![name("say \"hi\"\né\\"), name("]'")]),
            ("$[ 'a' ][ 1 ].b", vec![name("a"), Step::Index(1), name("b")]),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.steps(), steps, "{text}");
            assert_eq!(path.as_str(), text);
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy() {
        for (text, part) in [
            ("/a~", "`~0`"),
            ("/a~2b", "`~0`"),
            ("$..a", "`..` is not supported"),
            ("$.a..b", "`..` is not supported"),
            ("$a", "after `$`"),
            ("$.", "a name is missing"),
            ("$.a.", "a name is missing"),
            ("$.[0]", "a name is missing"),
            ("$.0", "`[0]` for an index"),
            ("$.@odata", "`['…']`"),
            ("$.a b", "`['…']`"),
            ("$[?(@.a)]", "filters"),
            ("$[1:2]", "slices"),
            ("$[:2]", "slices"),
            ("$[0,1]", "several selectors"),
            ("$['a','b']", "several selectors"),
            ("$[01]", "no index"),
            ("$[-0]", "no index"),
            ("$[99999999999999999999]", "no index"),
            ("$[a]", "quoted name"),
            ("$[", "quoted name"),
            ("$[0", "closing bracket"),
            ("$['a", "closing quote"),
            ("$['a\\", "closing quote"),
            (r"$['\x']", "invalid escape"),
            (r"$['\ud800']", "invalid escape"),
            ("$[*].a]", "`['…']`"),
        ] {
            let error = Path::parse(text).expect_err(text);
            assert!(error.detail.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn length_and_steps_are_bounded() {
        assert!(Path::parse(&"x".repeat(1024)).is_ok());
        assert!(Path::parse(&"x".repeat(1025)).is_err());
        assert!(Path::parse(&"/x".repeat(64)).is_ok());
        assert!(Path::parse(&"/x".repeat(65)).is_err());
    }
}
