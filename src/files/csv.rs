//! Comma-separated values (RFC 4180), as JSON objects of strings.
//!
//! Files that are cut off inside quotes, or have text after a closing quote, are refused; common
//! parsers accept both, and would make other records of them.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr_iter, memchr3};

/// Why a text is no CSV.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CsvError {
    /// The line, from 1, in which the faulty row begins.
    pub line: usize,
    /// What is wrong there.
    pub fault: &'static str,
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl std::error::Error for CsvError {}

/// The rows of a text, one after the other.
#[derive(Clone, Debug)]
pub struct Rows<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Rows<'t> {
    /// The rows of a text without byte order mark.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        Self { text, position: 0 }
    }

    /// Reads the fields of the next row; empty lines are skipped. False at the end of the text.
    ///
    /// # Errors
    ///
    /// When a quote is not closed, or text follows a closing quote.
    pub fn read(&mut self, fields: &mut Vec<Cow<'t, str>>) -> Result<bool, CsvError> {
        fields.clear();
        while let Some(b'\r' | b'\n') = self.peek() {
            self.position += 1;
        }
        if self.peek().is_none() {
            return Ok(false);
        }
        let start = self.position;
        loop {
            let field = match self.peek() {
                Some(b'"') => self.quoted(),
                _ => Ok(self.unquoted()),
            };
            let field = field.map_err(|fault| CsvError { line: self.line_of(start), fault })?;
            fields.push(field);
            match self.peek() {
                Some(b',') => self.position += 1,
                // A line end, whose bytes are skipped before the next row.
                _ => return Ok(true),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn unquoted(&mut self) -> Cow<'t, str> {
        let rest = &self.text[self.position..];
        let end = memchr3(b',', b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len());
        self.position += end;
        Cow::Borrowed(&rest[..end])
    }

    fn quoted(&mut self) -> Result<Cow<'t, str>, &'static str> {
        self.position += 1;
        let mut field = Cow::Borrowed("");
        loop {
            let rest = &self.text[self.position..];
            let Some(quote) = memchr(b'"', rest.as_bytes()) else {
                return Err("a quote is not closed");
            };
            self.position += quote + 1;
            if self.peek() == Some(b'"') {
                // Two quotes stand for one.
                field.to_mut().push_str(&rest[..=quote]);
                self.position += 1;
                continue;
            }
            if field.is_empty() {
                field = Cow::Borrowed(&rest[..quote]);
            } else {
                field.to_mut().push_str(&rest[..quote]);
            }
            return match self.peek() {
                None | Some(b',' | b'\n' | b'\r') => Ok(field),
                Some(_) => Err("text follows a closing quote"),
            };
        }
    }

    fn line_of(&self, position: usize) -> usize {
        memchr_iter(b'\n', &self.text.as_bytes()[..position]).count() + 1
    }
}

/// The rows of a text as JSON objects, whose members are named by the header row.
#[derive(Clone, Debug)]
pub struct Objects<'t> {
    rows: Rows<'t>,
    /// What comes before each value: the member's name in quotes, after a brace or comma.
    prefixes: Vec<String>,
    fields: Vec<Cow<'t, str>>,
}

impl<'t> Objects<'t> {
    /// Reads the header row.
    ///
    /// # Errors
    ///
    /// When the header row is wrong, or there is none: then the text may be that of a file that is
    /// just being written.
    pub fn new(text: &'t str) -> Result<Self, CsvError> {
        let (mut rows, mut fields) = (Rows::new(text), Vec::new());
        if text.trim_ascii().is_empty() || !rows.read(&mut fields)? {
            return Err(CsvError { line: 1, fault: "the file has no header row" });
        }
        let prefix = |(index, name): (usize, &Cow<'_, str>)| {
            let mut prefix = String::from(if index == 0 { "{" } else { "," });
            push_string(&mut prefix, name);
            prefix.push(':');
            prefix
        };
        Ok(Self { prefixes: fields.iter().enumerate().map(prefix).collect(), rows, fields })
    }

    /// Appends the next row's object to `json`, with a line end; false at the end of the text.
    ///
    /// # Errors
    ///
    /// When the row is wrong, or has another number of fields than the header row.
    pub fn write_next(&mut self, json: &mut String) -> Result<bool, CsvError> {
        let before = self.rows.position;
        if !self.rows.read(&mut self.fields)? {
            return Ok(false);
        }
        if self.fields.len() != self.prefixes.len() {
            let text = &self.rows.text[before..];
            let start = before + text.len() - text.trim_start_matches(['\r', '\n']).len();
            let fault = "the row has another number of fields than the header row";
            return Err(CsvError { line: self.rows.line_of(start), fault });
        }
        for (prefix, field) in self.prefixes.iter().zip(&self.fields) {
            json.push_str(prefix);
            push_string(json, field);
        }
        json.push_str("}\n");
        Ok(true)
    }
}

/// Appends a JSON string.
fn push_string(json: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(text).expect("a text is a JSON string"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Result<Vec<Vec<String>>, CsvError> {
        let (mut rows, mut fields, mut all) = (Rows::new(text), Vec::new(), Vec::new());
        while rows.read(&mut fields)? {
            all.push(fields.iter().map(ToString::to_string).collect());
        }
        Ok(all)
    }

    fn objects(text: &str) -> Result<String, CsvError> {
        let (mut objects, mut json) = (Objects::new(text)?, String::new());
        while objects.write_next(&mut json)? {}
        Ok(json)
    }

    #[test]
    fn rows_are_read_with_and_without_quotes() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n\r\n\n", &[]),
            ("a,b\r\nc,d", &[&["a", "b"][..], &["c", "d"]]),
            ("a\nb\n", &[&["a"], &["b"]]),
            ("a\r\r\nb", &[&["a"], &["b"]]),
            (",\n", &[&["", ""]]),
            ("\"\"\n", &[&[""]]),
            ("\"a,b\n\"\"c\"\"\",\"\"\"\"", &[&["a,b\n\"c\"", "\""]]),
            ("a\"b,c", &[&["a\"b", "c"]]),
            (" \"a\"", &[&[" \"a\""]]),
            ("å,\"ø\"", &[&["å", "ø"]]),
        ] {
            assert_eq!(rows(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn objects_have_the_columns_in_order_all_strings() {
        assert_eq!(
            objects("id,\"who \"\"am\"\"\",id\n1,å,2\n\n\"a\tb\",,\"\\\"\n").unwrap(),
            "{\"id\":\"1\",\"who \\\"am\\\"\":\"å\",\"id\":\"2\"}\n\
             {\"id\":\"a\\tb\",\"who \\\"am\\\"\":\"\",\"id\":\"\\\\\"}\n"
        );
        assert_eq!(objects("id,who\n").unwrap(), "");
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (text, line, fault) in [
            ("a\n\"b", 2, "a quote is not closed"),
            ("a\n\"b\"\"", 2, "a quote is not closed"),
            ("a\n\"b\"c", 2, "text follows"),
            ("a\n\"b\" ,c", 2, "text follows"),
            ("a\n\"1\n2\"\n\nx,y\n", 5, "another number"),
            ("a,b\n1\n", 2, "another number"),
            ("\"a", 1, "a quote is not closed"),
            ("", 1, "has no header row"),
            ("\n\r\n \n", 1, "has no header row"),
        ] {
            let error = objects(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.fault.contains(fault), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            table in proptest::collection::vec(
                proptest::collection::vec("[a-z,\"\r\n å]{0,6}", 3..=3), 0..5,
            ),
            line_end in prop_oneof![Just("\n"), Just("\r\n")],
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
            let text = table.iter().map(line).collect::<Vec<_>>().join(line_end);
            prop_assert_eq!(rows(&text).unwrap(), table);
        }

        #[test]
        fn no_text_is_read_past_its_end(text in "[a,\"\r\n]{0,20}") {
            let _ = objects(&text);
        }
    }
}
