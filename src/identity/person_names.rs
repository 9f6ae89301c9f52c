//! The names of persons.

/// The longest name of a person, in bytes. A longer one is ignored, because answers repeat names.
pub(super) const MAX_NAME_BYTES: usize = 256;

/// Names by the index of the employee, in one text.
#[derive(Debug, Default)]
pub(super) struct PersonNames {
    text: String,
    /// The position and length of each employee's name; a length of 0 where there is none.
    spans: Vec<(u32, u16)>,
}

impl PersonNames {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The name of an employee.
    pub(super) fn get(&self, employee: u32) -> Option<&str> {
        let (start, length) = *self.spans.get(employee as usize)?;
        (length > 0).then(|| &self.text[start as usize..][..length.into()])
    }

    /// The employees who have a name, and their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        let employees = 0..u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        employees.filter_map(|employee| Some((employee, self.get(employee)?)))
    }

    /// Sets the name of an employee who has none. A name that is empty or too long is ignored.
    pub(super) fn set(&mut self, employee: u32, name: &str) {
        let Some(length) = u16::try_from(name.len()).ok().filter(|length| {
            (1..=MAX_NAME_BYTES).contains(&usize::from(*length)) && self.get(employee).is_none()
        }) else {
            return;
        };
        // This cannot fail: all names together are shorter than the bodies they come from, and
        // these have fewer than 2^32 bytes.
        let Ok(start) = u32::try_from(self.text.len()) else { return };
        let index = employee as usize;
        if self.spans.len() <= index {
            self.spans.resize(index + 1, (0, 0));
        }
        self.spans[index] = (start, length);
        self.text.push_str(name);
    }

    /// Gives back memory that was reserved for more names.
    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.spans.shrink_to_fit();
    }
}
