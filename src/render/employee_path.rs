//! The address of an employee's page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// The characters that are escaped in path segments and query values: all but the unreserved ones
/// of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The query key for ids of employees; see [`employee_path`] for its use on employees' pages.
pub(crate) const EMPLOYEE_KEY: &str = "employee_id";

/// A text as a path segment or a query value.
pub(crate) fn escape(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ESCAPED)
}

/// The path of an employee's page below the gateway's root, with a query if no path can have the
/// id.
pub(crate) fn employee_path(id: &str) -> String {
    if is_path_segment(id) {
        format!("employees/{}", escape(id))
    } else {
        format!("employees/?{EMPLOYEE_KEY}={}", escape(id))
    }
}

/// Whether an id can be sent as a path segment. Browsers resolve dot segments even if they are
/// escaped, and proxies treat escaped slashes as slashes and reject control characters.
pub(crate) fn is_path_segment(id: &str) -> bool {
    !matches!(id, "" | "." | "..") && !id.contains(['/', '\\']) && !id.contains(char::is_control)
}
