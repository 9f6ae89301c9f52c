//! What people see of a mapped record: its title, its link, its id and the details of its record.

use reqwest::Url;

use super::display::{truncate, visible};
use crate::decode::{members, unescape};
use crate::render::member_value;

/// How many characters of a title are shown.
const MAX_TITLE_CHARS: usize = 200;

/// How many characters of a link's host are shown.
const MAX_HOST_CHARS: usize = 40;

/// The longest address that becomes a link; it bounds the size of a page.
const MAX_LINK_BYTES: usize = 1_024;

/// The members of the envelope of a mapped record, as JSON values.
pub(super) struct Envelope<'a> {
    pub(super) id: Option<&'a [u8]>,
    title: Option<&'a [u8]>,
    url: Option<&'a [u8]>,
    /// The record as its source wrote it.
    pub(super) record: &'a [u8],
}

/// A title and where it leads.
pub(super) struct Title {
    pub(super) text: String,
    /// The address, if it is one for people: `http` or `https`.
    pub(super) href: Option<String>,
    /// The host that the link leads to, or the end of a long one's name, which says whose it is.
    pub(super) host: String,
}

impl<'a> Envelope<'a> {
    /// Reads a record's members (everything after its opening brace); `None` unless they have the
    /// form of an envelope. The record of a plain source may have that form too; it loses nothing
    /// by being shown in the same way.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        let mut members = members(record);
        let mut next = move || members.next().map(|(name, member)| (name, member_value(member)));
        let (Some((Some(priority), _)), Some((Some(timestamp), _))) = (next(), next()) else {
            return None;
        };
        if priority != "priority" || timestamp != "timestamp" {
            return None;
        }
        let mut envelope = Self { id: None, title: None, url: None, record: b"" };
        loop {
            let (name, value) = next()?;
            match &*name? {
                "id" => envelope.id = Some(value),
                "title" => envelope.title = Some(value),
                "url" => envelope.url = Some(value),
                "record" => {
                    envelope.record = value;
                    return next().is_none().then_some(envelope);
                }
                _ => return None,
            }
        }
    }

    /// Its id, title and address, as spelled.
    pub(super) fn texts(&self) -> [Option<&'a [u8]>; 3] {
        [self.id, self.title, self.url]
    }

    /// Its title; in its absence, the address that it links.
    pub(super) fn title(&self) -> Option<Title> {
        let url = self.url.and_then(text);
        let link = url.as_deref().and_then(link);
        let text = self.title.and_then(text).filter(|title| !title.trim().is_empty());
        let text = text.or_else(|| link.is_some().then(|| url.clone()).flatten())?;
        let (href, host) = link.unzip();
        let text = truncate(&visible(&text), MAX_TITLE_CHARS);
        Some(Title { text, href, host: host.as_deref().map(end_of_host).unwrap_or_default() })
    }

    /// The address, if it must not be a link; it is shown as text.
    pub(super) fn unlinked_url(&self) -> Option<&'a [u8]> {
        self.url.filter(|url| text(url).as_deref().and_then(link).is_none())
    }
}

/// The last characters of a host's name, which is ASCII.
fn end_of_host(host: &str) -> String {
    match host.len().checked_sub(MAX_HOST_CHARS) {
        None | Some(0) => host.to_owned(),
        Some(hidden) => format!("…{}", &host[hidden..]),
    }
}

fn text(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(spelled) => unescape(spelled).map(std::borrow::Cow::into_owned),
        None => Some(value.to_owned()),
    }
}

/// The address and its host, if a browser would take it for no other than an absolute address of
/// the web. Addresses with a user name are left out, because people take it for the host.
fn link(address: &str) -> Option<(String, String)> {
    let scheme = address.split_once("://")?.0;
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_web || !is_plain || address.len() > MAX_LINK_BYTES {
        return None;
    }
    let url = Url::parse(address).ok()?;
    let host = url.host_str().filter(|_| url.username().is_empty() && url.password().is_none())?;
    Some((address.to_owned(), host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(members: &str) -> Option<(String, Option<String>)> {
        let members = format!("\"priority\":\"low\",\"timestamp\":1.000000,{members}}}");
        let title = Envelope::read(members.as_bytes())?.title()?;
        Some((title.text, title.href))
    }

    #[test]
    fn only_absolute_addresses_of_the_web_become_links() {
        for (url, expected) in [
            ("https://portal.example/a?b=1&c=%202", true),
            ("HTTP://portal.example", true),
            ("http://[2001:db8::1]:8080/", true),
            ("javascript:alert(1)", false),
            ("javascript://portal.example/%0aalert(1)", false),
            ("data:text/html,x", false),
            ("//portal.example/", false),
            ("/alerts/1", false),
            ("https:portal.example", false),
            ("https:///", false),
            (" https://portal.example/", false),
            ("https://portal.example/a b", false),
            ("ht\\ntps://portal.example/", false),
            ("https:\\\\\\\\portal.example/", false),
            ("https://portal.example\\\\@evil.example/", false),
            ("https://portal.example@evil.example/", false),
            ("https://pörtal.example/", false),
            ("ftp://portal.example/", false),
            ("", false),
        ] {
            let members = format!("\"title\":\"t\",\"url\":\"{url}\",\"record\":{{}}");
            let (text, href) = title(&members).unwrap();
            assert_eq!((text.as_str(), href.is_some()), ("t", expected), "{url}");
        }
        assert_eq!(end_of_host("portal.example"), "portal.example");
        let end = end_of_host(&format!("{}.evil.example", "login-portal.example.".repeat(5)));
        assert!(end.starts_with('…') && end.ends_with(".evil.example") && end.len() < 50, "{end}");
        let long = format!("https://portal.example/{}", "a".repeat(MAX_LINK_BYTES));
        assert_eq!(link(&long), None);
    }

    #[test]
    fn a_title_is_bounded_and_shows_what_it_hides() {
        let long = format!("\"title\":\"{}\",\"record\":{{}}", "a".repeat(999));
        assert_eq!(title(&long).unwrap().0.chars().count(), MAX_TITLE_CHARS + 1);
        let (text, _) = title(r#""title":"gpj.\u202eexe\u0007","record":{}"#).unwrap();
        assert_eq!(text, "gpj.\u{fffd}exe\u{fffd}");
        assert_eq!(title(r#""title":7,"record":{}"#).unwrap().0, "7");
        let (text, href) = title(r#""url":"https://portal.example/1","record":{}"#).unwrap();
        assert_eq!((text.as_str(), href.unwrap()), ("https://portal.example/1", text.clone()));
        for without in [r#""record":{}"#, r#""title":" ","record":{}"#, r#""url":"x","record":{}"#]
        {
            assert_eq!(title(without), None, "{without}");
        }
    }

    #[test]
    fn other_records_are_no_envelopes() {
        for members in [
            r#""priority":"low","timestamp":1}"#,
            r#""priority":"low","timestamp":1,"record":{},"id":"1"}"#,
            r#""priority":"low","timestamp":1,"ip":"1","record":{}}"#,
            r#""timestamp":1,"priority":"low","record":{}}"#,
            "}",
        ] {
            assert!(Envelope::read(members.as_bytes()).is_none(), "{members}");
        }
    }
}
