//! Reads files of `NAME:…` lines, and collects what is wrong with them.

use std::collections::HashMap;

use super::LineError;

/// The longest line, in bytes, without its line end. An employee's id takes at most three bytes for
/// each of its own.
const MAX_LINE_BYTES: usize = 2048;

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The most entries of a file.
const MAX_ENTRIES: usize = 50_000;

/// The most errors that are described. One more says that there are others.
const MAX_ERRORS: usize = 20;

/// Calls `take` with the number, the name and the rest of each line that has an entry; blank lines
/// and those that begin with `#` have none. `form` says how such a line is made.
///
/// # Errors
///
/// Every malformed line, up to a bound. What `take` refuses is one.
pub(super) fn read<'t>(
    text: &'t str,
    form: &str,
    mut take: impl FnMut(usize, &'t str, &'t str) -> Result<(), String>,
) -> Result<(), Vec<LineError>> {
    let mut first_lines = HashMap::new();
    let mut entries = 0;
    let mut errors = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        entries += 1;
        if entries > MAX_ENTRIES {
            let detail = format!("more than {MAX_ENTRIES} entries; remove some");
            errors.push(LineError { line: number, detail });
            break;
        }
        let taken = split(line, form).and_then(|(name, rest)| {
            if let Some(first) = first_lines.get(name) {
                return Err(format!("the name of line {first} again; keep one of the two"));
            }
            first_lines.insert(name, number);
            take(number, name, rest)
        });
        let Err(detail) = taken else { continue };
        if errors.len() == MAX_ERRORS {
            let detail = format!(
                "faulty, too, and others may be; only the first {MAX_ERRORS} faulty lines are \
                 described"
            );
            errors.push(LineError { line: number, detail });
            break;
        }
        errors.push(LineError { line: number, detail });
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The name and the rest of a line.
fn split<'t>(line: &'t str, form: &str) -> Result<(&'t str, &'t str), String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes; {form}"));
    }
    let Some((name, rest)) = line.split_once(':') else {
        return Err(format!("there is no `:`; {form}"));
    };
    if name.is_empty() {
        Err(format!("there is no name before the first `:`; {form}"))
    } else if name.len() > MAX_NAME_BYTES {
        Err(format!("the name is longer than {MAX_NAME_BYTES} bytes; shorten it"))
    } else if name.contains(char::is_control) {
        Err("the name contains a control character; remove it".to_owned())
    } else if name.trim() != name {
        Err("there is white space before or after the name; remove it".to_owned())
    } else {
        Ok((name, rest))
    }
}
