//! Here-documents: `RUN <<EOF`.

use super::DockerfileError;
use super::expand::{Environment, Lexer};

/// A here-document of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, without quotes.
    pub name: String,
    /// The word was not quoted: variables in the content are expanded (by `COPY` and `ADD`).
    pub expand: bool,
    /// `<<-`: tabs at the start of lines are dropped.
    pub chomp: bool,
    /// The lines, as in the file, without the terminator.
    pub content: String,
}

impl Heredoc {
    /// Parses a whole word such as `<<-"EOF"` or `3<<EOF`; `None` where it is another word.
    pub(super) fn parse(word: &str) -> Result<Option<Self>, DockerfileError> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(rest) = rest.strip_prefix("<<") else {
            return Ok(None);
        };
        let (rest, chomp) = match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let rest = rest.trim_start_matches([' ', '\t', '\n', '\u{c}', '\r']);
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        // Read with and without quotes: where the two differ, a part of the word was quoted.
        let mut lexer = Lexer::new('\\');
        lexer.skip_unset = true;
        let words = lexer.expand(rest, &Environment::default())?.words;
        let [name] = words.as_slice() else {
            return Ok(None);
        };
        lexer.raw_quotes = true;
        let raw_words = lexer.expand(rest, &Environment::default())?.words;
        let [raw] = raw_words.as_slice() else {
            return Err(DockerfileError::new(format!(
                "internal lexing of heredoc produced inconsistent results: {rest}"
            )));
        };
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Ok(Some(Self {
            name: name.clone(),
            expand: quotes(name) == quotes(raw),
            chomp,
            content: String::new(),
        }))
    }

    /// Returns whether `word` is a here-document; a word that cannot be read is not.
    pub(super) fn is_word(word: &str) -> bool {
        matches!(Self::parse(word), Ok(Some(_)))
    }

    /// Finds the here-documents that a logical line opens.
    pub(super) fn in_line(line: &str) -> Result<Vec<Self>, DockerfileError> {
        let lexer = Lexer {
            escape: '\\',
            raw_quotes: true,
            raw_escapes: true,
            skip_quotes: false,
            skip_unset: true,
        };
        let words = lexer
            .expand(line, &Environment::default())
            .map(|expanded| expanded.words)
            .unwrap_or_default();
        let mut heredocs = Vec::new();
        for word in words {
            heredocs.extend(Self::parse(&word)?);
        }
        Ok(heredocs)
    }

    /// Returns whether `line` ends the document.
    pub(super) fn is_terminator(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.chomp {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }

    /// Returns the content as the instruction gets it: without leading tabs where asked for.
    pub fn chomped_content(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}
