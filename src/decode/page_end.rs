//! What a page says about its list.

/// What a page says about the list that it is a part of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PageEnd {
    /// How many records it has.
    pub records: usize,
    /// The value at the path of `next`, as JSON.
    pub next: Option<String>,
    /// The value at the path of `more`, as JSON.
    pub more: Option<String>,
}
