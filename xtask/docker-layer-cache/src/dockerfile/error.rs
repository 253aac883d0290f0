//! Why a Dockerfile is refused.

use std::fmt;

use super::BaseReference;

/// A refusal, in `BuildKit`'s own words, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileError {
    message: String,
    line: usize,
    column: usize,
    hint: Option<String>,
    references: Vec<BaseReference>,
    refs_complete: bool,
}

impl DockerfileError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            line: 0,
            column: 0,
            hint: None,
            references: Vec::new(),
            refs_complete: false,
        }
    }

    /// Sets the line, unless an inner place is known.
    pub(super) fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    /// Puts `prefix` in front of the message.
    pub(super) fn wrap(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}{}", self.message);
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Finds the column: that of the first of the quoted words in the line, else of its first word.
    pub(super) fn with_column_in(mut self, text: &str) -> Self {
        let Some(line) = self.line.checked_sub(1).and_then(|n| text.lines().nth(n)) else {
            return self;
        };
        let quoted = self.message.split('"').skip(1).step_by(2);
        let byte = quoted
            .filter(|word| !word.is_empty())
            .find_map(|word| line.find(word))
            .unwrap_or_else(|| line.len() - line.trim_start().len());
        self.column = line[..byte].chars().count() + 1;
        self
    }

    pub(super) fn with_references(mut self, references: Vec<BaseReference>, all: bool) -> Self {
        self.references = references;
        self.refs_complete = all;
        self
    }

    /// Returns the line of the refused instruction, from 1; 0 where the file as a whole is refused.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column in that line, in characters from 1; 0 where there is no line.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Returns the next step, where there is an obvious one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the references that were known before the refusal.
    pub fn references(&self) -> &[BaseReference] {
        &self.references
    }

    /// Returns whether [`DockerfileError::references`] are all that the build needs: the refusal
    /// came after they were known, so a cache key can still be computed from them.
    pub fn refs_complete(&self) -> bool {
        self.refs_complete
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DockerfileError {}
