//! Follows a list from page to page.

use std::collections::HashSet;
use std::fmt;

use http::HeaderMap;
use reqwest::Url;
use xxhash_rust::xxh3::xxh3_128;

use super::cursor::Cursor;
use super::link::next_link;
use super::{NextPage, Request, RequestError, RequestTemplate, RequestTimes, Target, query};
use crate::json::{Path, unescape};

/// The longest address of a next page, also when it has a cursor in its query.
const MAX_ADDRESS_BYTES: usize = 8 << 10;

/// The longest value of a cursor in JSON.
const MAX_CURSOR_BYTES: usize = 64 << 10;

/// What a page says about the next.
#[derive(Clone, Copy, Debug)]
pub struct PageFacts<'a> {
    /// The page's own address, after redirects.
    pub url: &'a Url,
    /// The headers of the answer.
    pub headers: &'a HeaderMap,
    /// How many records it has.
    pub records: usize,
    /// The JSON text of the address or cursor in it, if there is one.
    pub next: Option<&'a str>,
    /// The JSON text of the value that says whether there is more, if there is one.
    pub more: Option<&'a str>,
}

/// Why the next page cannot be asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PagesError {
    /// A sentence for people, which quotes nothing from an answer.
    pub detail: String,
}

impl fmt::Display for PagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for PagesError {}

impl From<RequestError> for PagesError {
    fn from(error: RequestError) -> Self {
        Self { detail: error.detail }
    }
}

/// The requests for the pages of a list, one after the other.
#[derive(Clone, Debug)]
pub struct Pager {
    next: Option<NextPage>,
    base: Url,
    times: RequestTimes,
    max_pages: usize,
    /// The request for the present page; that for the first page where pages name addresses.
    template: RequestTemplate,
    first: Request,
    /// How many pages were asked for.
    pages: usize,
    /// The offset or number of the present page.
    position: u64,
    /// Digests of the addresses or cursors that were used.
    seen: HashSet<u128>,
    /// Whether the list has ended because the next address or cursor was used before.
    is_repeated: bool,
}

impl Pager {
    /// The pages of the list that begins with this request.
    ///
    /// # Errors
    ///
    /// When the template makes no request below `base`, has no place for what `next` puts into it,
    /// or has something else than a whole number where `next` counts on from it.
    pub fn new(
        template: &RequestTemplate,
        next: Option<&NextPage>,
        base: &Url,
        times: RequestTimes,
        max_pages: usize,
    ) -> Result<Self, RequestError> {
        let mut template = template.clone();
        let mut seen = HashSet::new();
        let mut position = 0;
        match next {
            None | Some(NextPage::Link | NextPage::Url(_)) => {}
            Some(NextPage::Cursor { to, .. }) => {
                // There must be such a place, although the first request may not use it.
                template.clone().set(to, &Cursor::number(0))?;
                seen.extend(template.written_at(to, &times).map(|text| digest(&text)));
            }
            Some(NextPage::Offset { at, size, end, .. }) => {
                position = first_position(&mut template, at, 0, &times)?;
                if let Some(end) = end {
                    first_position(&mut template, end, position.saturating_add(*size), &times)?;
                }
            }
            Some(NextPage::Number { at, first, .. }) => {
                position = first_position(&mut template, at, *first, &times)?;
            }
        }
        let first = template.render(base, &times)?;
        if matches!(next, Some(NextPage::Link | NextPage::Url(_))) {
            seen.insert(address_digest(&first.url));
        }
        Ok(Self {
            next: next.cloned(),
            base: base.clone(),
            times,
            max_pages,
            template,
            first,
            pages: 1,
            position,
            seen,
            is_repeated: false,
        })
    }

    /// The request for the first page.
    #[must_use]
    pub fn first(&self) -> Request {
        self.first.clone()
    }

    /// How many pages were asked for.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Whether the list has ended because the address or cursor of its next page was used before.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// The request for the page after this one; `None` if the list ends with it.
    ///
    /// # Errors
    ///
    /// When the next page's address or cursor is invalid or not allowed, or when there are more
    /// pages than allowed.
    pub fn next(&mut self, page: &PageFacts<'_>) -> Result<Option<Request>, PagesError> {
        let Some(next) = self.next.clone() else { return Ok(None) };
        let request = match &next {
            NextPage::Link => {
                let target = next_link(page.headers, page.url);
                target.map_or(Ok(None), |target| self.linked(page.url, target))?
            }
            NextPage::Url(path) => self.after_address(page, path)?,
            NextPage::Cursor { at, to } => self.after_cursor(page, at, to)?,
            NextPage::Offset { more, size, .. } if ends(page, more.is_some(), Some(*size)) => None,
            NextPage::Number { more, size, .. } if ends(page, more.is_some(), *size) => None,
            NextPage::Offset { at, size, end, .. } => {
                let records = u64::try_from(page.records).unwrap_or(u64::MAX);
                self.position = self.position.saturating_add(records);
                self.set_number(at, self.position)?;
                if let Some(end) = end {
                    self.set_number(end, self.position.saturating_add(*size))?;
                }
                Some(self.template.render(&self.base, &self.times)?)
            }
            NextPage::Number { at, .. } => {
                self.position = self.position.saturating_add(1);
                self.set_number(at, self.position)?;
                Some(self.template.render(&self.base, &self.times)?)
            }
        };
        if let Some(request) = &request {
            self.count(request)?;
        }
        Ok(request)
    }

    /// Puts a number where there is one already; as a string if that is one.
    fn set_number(&mut self, at: &Target, number: u64) -> Result<(), RequestError> {
        let present = self.template.written_at(at, &self.times).unwrap_or_default();
        let is_string = matches!(at, Target::Body(_)) && present.starts_with('"');
        let number =
            if is_string { Cursor::new(&format!("\"{number}\"")) } else { Cursor::number(number) };
        self.template.set(at, &number)
    }

    /// Counts one more page, within the bounds.
    fn count(&mut self, request: &Request) -> Result<(), PagesError> {
        if request.url.as_str().len() > MAX_ADDRESS_BYTES {
            return Err(too_long());
        }
        if self.pages >= self.max_pages {
            let detail = format!(
                "there are more than max_pages ({}) pages; ask for larger ones, or raise max_pages",
                self.max_pages
            );
            return Err(PagesError { detail });
        }
        self.pages += 1;
        Ok(())
    }

    fn after_address(
        &mut self,
        page: &PageFacts<'_>,
        path: &Path,
    ) -> Result<Option<Request>, PagesError> {
        let json = page.next.map_or("null", str::trim);
        if matches!(json, "null" | "false" | "\"\"") {
            return Ok(None);
        }
        let string = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match string.and_then(unescape) {
            Some(target) => self.linked(page.url, &target),
            None => error(format!("the value at `{path}` is no address of a next page")),
        }
    }

    /// The request for the page at this address, unless it was asked for before.
    fn linked(&mut self, page: &Url, target: &str) -> Result<Option<Request>, PagesError> {
        if target.len() > MAX_ADDRESS_BYTES {
            return Err(too_long());
        }
        let Ok(url) = page.join(target) else {
            return error("the address of the next page is no URL");
        };
        let url = without_fragment(&url);
        if url.origin() != self.base.origin() {
            return error(
                "the address of the next page has another scheme, host or port than the \
                 upstream's base_url, so that it is not followed",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            let detail = "the address of the next page has user information, so that it is not \
                          followed";
            return error(detail);
        }
        // The page may have another address than was asked for.
        self.seen.insert(address_digest(page));
        let is_new = self.seen.insert(address_digest(&url));
        self.is_repeated = !is_new;
        Ok(is_new.then(|| Request { url, ..self.first.clone() }))
    }

    fn after_cursor(
        &mut self,
        page: &PageFacts<'_>,
        path: &Path,
        to: &Target,
    ) -> Result<Option<Request>, PagesError> {
        let Some(json) = page.next else { return Ok(None) };
        if json.len() > MAX_CURSOR_BYTES {
            return error(format!("the value at `{path}` has more than {MAX_CURSOR_BYTES} bytes"));
        }
        let cursor = Cursor::new(json);
        if cursor.is_nothing() {
            return Ok(None);
        }
        let Some(text) = cursor.written_at(to) else {
            return error(format!("the value at `{path}` is not Unicode text"));
        };
        if !self.seen.insert(digest(&text)) {
            self.is_repeated = true;
            return Ok(None);
        }
        self.template.set(to, &cursor)?;
        Ok(Some(self.template.render(&self.base, &self.times)?))
    }
}

/// Whether a list with offsets or page numbers ends with this page.
fn ends(page: &PageFacts<'_>, says_more: bool, size: Option<u64>) -> bool {
    let records = u64::try_from(page.records).unwrap_or(u64::MAX);
    if says_more {
        records == 0 || page.more.map(str::trim) == Some("false")
    } else {
        records == 0 || size.is_some_and(|size| records < size)
    }
}

fn error<T>(detail: impl Into<String>) -> Result<T, PagesError> {
    Err(PagesError { detail: detail.into() })
}

fn too_long() -> PagesError {
    let detail = format!("the address of the next page has more than {MAX_ADDRESS_BYTES} bytes");
    PagesError { detail }
}

/// Puts `value` at this place, unless a number is configured there. Returns the number there.
fn first_position(
    template: &mut RequestTemplate,
    at: &Target,
    value: u64,
    times: &RequestTimes,
) -> Result<u64, RequestError> {
    let set = template.written_at(at, times);
    let Some(set) = set else {
        template.set(at, &Cursor::number(value))?;
        return Ok(value);
    };
    // There must be such a place for later pages.
    template.clone().set(at, &Cursor::number(value))?;
    set.trim_matches('"').parse().map_err(|_| RequestError {
        detail: "the request has a value that is no whole number where `next` puts one; remove it"
            .to_owned(),
    })
}

fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

/// The digest of an address, which may be percent-encoded in different ways.
fn address_digest(url: &Url) -> u128 {
    let mut address = query::normalized(url.path());
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |part: &str| query::normalized(&part.replace('+', "%20"));
        address.extend(["&", &decoded(name), "=", &decoded(value)]);
    }
    digest(&address)
}

fn digest(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

#[cfg(test)]
mod tests;
