//! The header `Link` (RFC 8288).

use http::HeaderMap;
use http::header::LINK;
use reqwest::Url;

/// The target of the first link to the next page, as the header spells it. `page` is the address
/// that links belong to.
///
/// A link with an `anchor` elsewhere does not belong to the page, and one with `results="false"`
/// leads to no records.
#[must_use]
pub fn next_link<'h>(headers: &'h HeaderMap, page: &Url) -> Option<&'h str> {
    let values = headers.get_all(LINK).iter();
    let links = values.flat_map(|value| Links { rest: value.as_bytes() });
    let next = links.into_iter().find(|link| link.is_next && link.is_of(page))?;
    std::str::from_utf8(next.target).ok().filter(|_| next.has_results)
}

/// One link of a header, with the parameters that matter here.
#[derive(Debug)]
struct Link<'h> {
    target: &'h [u8],
    is_next: bool,
    has_results: bool,
    anchor: Option<Vec<u8>>,
}

impl Link<'_> {
    fn is_of(&self, page: &Url) -> bool {
        let Some(anchor) = &self.anchor else { return true };
        let mut page = page.clone();
        page.set_fragment(None);
        let anchor = std::str::from_utf8(anchor).ok().and_then(|anchor| page.join(anchor).ok());
        anchor.is_some_and(|anchor| anchor == page)
    }
}

/// The links of one header line. They end where the line is malformed.
struct Links<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Links<'h> {
    type Item = Link<'h>;

    fn next(&mut self) -> Option<Link<'h>> {
        while let Some((b' ' | b'\t' | b',', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        self.rest = self.rest.strip_prefix(b"<")?;
        let target = self.until(|byte| byte == b'>');
        self.rest = self.rest.strip_prefix(b">")?;
        let mut link = Link { target, is_next: false, has_results: true, anchor: None };
        let mut has_relation = false;
        while let Some((name, value)) = self.parameter() {
            if name.eq_ignore_ascii_case(b"rel") {
                // Only the first counts (RFC 8288, section 3.3).
                if !std::mem::replace(&mut has_relation, true) {
                    let mut relations = value.split(u8::is_ascii_whitespace);
                    link.is_next = relations.any(|one| one.eq_ignore_ascii_case(b"next"));
                }
            } else if name.eq_ignore_ascii_case(b"anchor") {
                link.anchor.get_or_insert(value);
            } else if name.eq_ignore_ascii_case(b"results") {
                link.has_results = !value.eq_ignore_ascii_case(b"false");
            }
        }
        Some(link)
    }
}

impl<'h> Links<'h> {
    /// The next parameter of the link, with its value unquoted; `None` at the link's end.
    fn parameter(&mut self) -> Option<(&'h [u8], Vec<u8>)> {
        self.skip_whitespace();
        self.rest = self.rest.strip_prefix(b";")?;
        self.skip_whitespace();
        let name = self.until(|byte| matches!(byte, b' ' | b'\t' | b'=' | b';' | b','));
        self.skip_whitespace();
        let Some(rest) = self.rest.strip_prefix(b"=") else { return Some((name, Vec::new())) };
        self.rest = rest;
        self.skip_whitespace();
        if let Some(rest) = self.rest.strip_prefix(b"\"") {
            self.rest = rest;
            return Some((name, self.quoted()));
        }
        let value = self.until(|byte| matches!(byte, b';' | b','));
        Some((name, value.trim_ascii().to_vec()))
    }

    /// Reads a quoted string after its opening quote (RFC 9110, section 5.6.4).
    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let Some((&escaped, rest)) = rest.split_first() else { break };
                    self.rest = rest;
                    value.push(escaped);
                }
                byte => value.push(byte),
            }
        }
        value
    }

    fn until(&mut self, is_end: impl Fn(u8) -> bool) -> &'h [u8] {
        let end = self.rest.iter().position(|&byte| is_end(byte)).unwrap_or(self.rest.len());
        let (before, rest) = self.rest.split_at(end);
        self.rest = rest;
        before
    }

    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn next(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let page = Url::parse("https://api.example.test/logs?page=1").unwrap();
        next_link(&headers, &page).map(str::to_owned)
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for lines in [
            &["</n>; rel=\"next\""][..],
            &["</n>;rel=next"],
            &["</n>  ;  REL = \"NEXT\"  "],
            &["</self>; rel=\"self\", </n>; rel=\"next\""],
            &["</self>; rel=\"self\"", "</n>; rel=\"next\""],
            &["</n>; rel=\"prefetch  next\""],
            &["</a,b;c>; rel=last, </n>; title=\"a, <b>; rel=\\\"x\\\"\"; rel=next"],
            &[",, </n>; rel=next ,"],
            &["</n>; results=\"true\"; rel=next; cursor=\"0:0:0\""],
            &["</n>; a; b=; rel=next"],
            &["</n>; rel=next; rel=prev"],
            &["</n>; anchor=\"\"; rel=next"],
            &["</n>; anchor=\"/logs?page=1\"; rel=next"],
            &["</x>; anchor=\"/elsewhere\"; rel=next, </n>; rel=next"],
            &["</n>; rel=next, </m>; rel=next"],
            &["</n>; title=\"never closed; rel=next", "</n>; rel=next"],
        ] {
            assert_eq!(next(lines).as_deref(), Some("/n"), "{lines:?}");
        }
        let target = next(&["<https://api.example.test/logs?a=1,2&b=%3E>; rel=next"]);
        assert_eq!(target.as_deref(), Some("https://api.example.test/logs?a=1,2&b=%3E"));
    }

    #[test]
    fn other_headers_have_no_next_page() {
        for lines in [
            &[][..],
            &[""],
            &["</n>"],
            &["</n>; rel=prev"],
            &["</n>; rel=nextish"],
            &["</n>; rev=next"],
            &["</n>; rel=prev; rel=next"],
            &["</n>; rel=next; results=\"false\""],
            &["</n>; results=\"false\"; rel=next, </m>; rel=next"],
            &["</n>; rel=next; anchor=\"#part\""],
            &["</n>; rel=next; anchor=\"https://other.example.test/\""],
            &["/n; rel=next"],
            &["</n; rel=next"],
            &["</n>; title=\"x; rel=next"],
            &["</n> rel=next"],
        ] {
            assert_eq!(next(lines), None, "{lines:?}");
        }
    }
}
