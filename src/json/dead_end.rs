//! Where a path that leads to nothing ends, for people who write paths.

use std::fmt;

use super::find::children;
use super::found::{Found, elements};
use super::members::object_members;
use super::path::{Path, Step};

/// The most members that are listed.
const MAX_MEMBERS: usize = 20;
/// The longest name that is listed whole, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Where a path ends that leads to no value: the value at which its next step finds nothing.
///
/// It contains names of members, which come from the upstream; their number and length are
/// bounded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadEnd {
    /// The steps that lead somewhere, in the notation of the path; empty for the whole value.
    pub reached: String,
    /// The step that finds nothing there.
    pub step: String,
    /// Whether that is the path's last step.
    pub is_last: bool,
    /// What stands there.
    pub there: Standing,
}

/// What stands where a path ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// An object.
    Object {
        /// The names of its first members, as spelled; long ones are cut.
        members: Vec<String>,
        /// How many members it has besides.
        others: usize,
    },
    /// An array with so many elements.
    Array(usize),
    /// Another value: `a string`, `a number`, `a boolean` or `null`.
    Scalar(&'static str),
}

impl Path {
    /// Where the path ends if it leads to no value. `json` is as for [`Path::find`].
    #[must_use]
    pub fn dead_end(&self, json: &str) -> Option<DeadEnd> {
        let mut values = vec![Found::new(json.trim_ascii())];
        for (index, step) in self.steps().iter().enumerate() {
            let next: Vec<_> = values.iter().flat_map(|value| children(*value, step)).collect();
            if next.is_empty() {
                return Some(DeadEnd {
                    reached: self.written(&self.steps()[..index]),
                    step: plain(step),
                    is_last: index + 1 == self.steps().len(),
                    there: standing(*values.first()?),
                });
            }
            values = next;
        }
        None
    }

    /// Steps in the notation of this path.
    fn written(&self, steps: &[Step]) -> String {
        let is_pointer = self.as_str().starts_with('/');
        let root = if is_pointer || steps.is_empty() { "" } else { "$" };
        let step = |step: &Step| match step {
            Step::Token(token) => format!("/{}", token.replace('~', "~0").replace('/', "~1")),
            Step::Name(name) => format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")),
            Step::Index(_) | Step::Each => plain(step),
        };
        steps.iter().map(step).fold(root.to_owned(), |written, step| written + &step)
    }
}

fn plain(step: &Step) -> String {
    match step {
        Step::Token(name) | Step::Name(name) => name.clone(),
        Step::Index(index) => format!("[{index}]"),
        Step::Each => "[*]".to_owned(),
    }
}

fn standing(value: Found<'_>) -> Standing {
    match value.raw.as_bytes().first() {
        Some(b'{') => {
            let mut names = object_members(value.raw).map(|(name, _)| cut(name));
            let members = names.by_ref().take(MAX_MEMBERS).collect();
            Standing::Object { members, others: names.count() }
        }
        Some(b'[') => Standing::Array(elements(value.raw).count()),
        Some(b'"') => Standing::Scalar("a string"),
        Some(b't' | b'f') => Standing::Scalar("a boolean"),
        Some(b'n') => Standing::Scalar("null"),
        _ => Standing::Scalar("a number"),
    }
}

/// A name of bounded length.
fn cut(name: &str) -> String {
    let end = name.floor_char_boundary(MAX_NAME_BYTES);
    if end == name.len() { name.to_owned() } else { format!("{}…", &name[..end]) }
}

impl fmt::Display for DeadEnd {
    /// Says what is missing, and what stands there instead, as a clause that follows the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reached, step, is_last, there } = self;
        match there {
            Standing::Object { members, others } => {
                match (is_last, reached.is_empty()) {
                    (true, _) => f.write_str("no such member")?,
                    (false, true) => write!(f, "no member `{step}`")?,
                    (false, false) => write!(f, "no member `{step}` in `{reached}`")?,
                }
                let quoted: Vec<_> = members.iter().map(|name| format!("`{name}`")).collect();
                match quoted.as_slice() {
                    [] => f.write_str("; the object there is empty")?,
                    [only] => write!(f, "; there is {only}")?,
                    several => write!(f, "; there are {}", several.join(", "))?,
                }
                if *others > 0 {
                    write!(f, " and {others} others")?;
                }
                return Ok(());
            }
            Standing::Array(0) => f.write_str("an empty list")?,
            Standing::Array(length) => write!(f, "a list of length {length}")?,
            Standing::Scalar(kind) => f.write_str(kind)?,
        }
        match reached.as_str() {
            "" => f.write_str(" is the whole value")?,
            reached => write!(f, " stands at `{reached}`")?,
        }
        write!(f, ", which has no `{step}`")?;
        if matches!(there, Standing::Array(1..)) && !step.starts_with('[') {
            f.write_str(
                "; a JSONPath with `[*]` leads to all elements, one with `[0]` to the first",
            )?;
        }
        Ok(())
    }
}
