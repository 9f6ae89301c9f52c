//! Priority values that map to nothing.

use super::record::Record;
use crate::json::Found;

/// The most distinct values that are counted: the first ones.
const MAX_VALUES: u8 = 20;
/// The longest value that is kept whole, in bytes.
const MAX_VALUE_BYTES: usize = 64;

/// The mark of a record whose priority value is absent, maps to a priority, or is not counted.
pub(super) const NOT_UNMAPPED: u8 = 0;

/// The first distinct priority values that map to nothing.
#[derive(Debug, Default)]
pub(super) struct UnmappedValues(Vec<String>);

impl UnmappedValues {
    /// Notes a value that maps to nothing; returns the mark of the record that has it. Values that
    /// hold nothing are not noted.
    #[cold]
    pub(super) fn note(&mut self, value: Found<'_>) -> u8 {
        if value.first_held().is_none() {
            return NOT_UNMAPPED;
        }
        let text = value.text().unwrap_or(value.raw.into());
        self.note_text(&text[..text.floor_char_boundary(MAX_VALUE_BYTES)])
    }

    /// Notes a value that was noted before in another batch.
    pub(super) fn note_text(&mut self, text: &str) -> u8 {
        let position = self.0.iter().position(|known| known == text);
        let position = position.unwrap_or_else(|| {
            if self.0.len() < MAX_VALUES.into() {
                self.0.push(text.to_owned());
                self.0.len() - 1
            } else {
                usize::MAX
            }
        });
        u8::try_from(position).map_or(NOT_UNMAPPED, |position| position + 1)
    }

    /// The value of a mark, if it is the mark of one.
    pub(super) fn get(&self, mark: u8) -> Option<&str> {
        self.0.get(usize::from(mark).checked_sub(1)?).map(String::as_str)
    }

    /// How many of the records have each value.
    pub(super) fn counts(&self, records: &[Record]) -> Vec<(String, usize)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut counts = vec![0; self.0.len() + 1];
        for record in records {
            counts[usize::from(record.unmapped)] += 1;
        }
        let counted = self.0.iter().cloned().zip(counts.into_iter().skip(1));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
