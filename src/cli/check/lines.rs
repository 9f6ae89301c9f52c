//! The lines of a report: labels on the left, and a mark where a person has to do something.

/// The width of the labels.
const LABEL_WIDTH: usize = 14;

/// The text of a report.
#[derive(Default)]
pub(super) struct Lines {
    text: String,
    problems: usize,
    doubts: usize,
}

impl Lines {
    /// A line without label and indentation.
    pub(super) fn heading(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The first line of a part, with its label.
    pub(super) fn add(&mut self, label: &str, text: &str) {
        self.line(' ', label, text);
    }

    /// A further line of the part.
    pub(super) fn more(&mut self, text: &str) {
        self.line(' ', "", text);
    }

    /// A further line that says what must be mended.
    pub(super) fn problem(&mut self, text: &str) {
        self.problems += 1;
        self.line('!', "", text);
    }

    /// A further line that says what to look at.
    pub(super) fn doubt(&mut self, text: &str) {
        self.doubts += 1;
        self.line('?', "", text);
    }

    /// How many lines say what must be mended.
    pub(super) fn problems(&self) -> usize {
        self.problems
    }

    /// How many lines say what to look at.
    pub(super) fn doubts(&self) -> usize {
        self.doubts
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, mark: char, label: &str, text: &str) {
        let line = format!("{mark} {label:<LABEL_WIDTH$}{text}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}
