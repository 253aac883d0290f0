//! Words: quotes, escapes and `$variables`.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/shell/lex.go>

use std::collections::{BTreeMap, BTreeSet};

use super::DockerfileError;
use super::suggestion::quote;

/// Variables, in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    names: Vec<String>,
    values: BTreeMap<String, String>,
}

/// How to read a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer {
    pub(super) escape: char,
    pub(super) raw_quotes: bool,
    pub(super) raw_escapes: bool,
    pub(super) skip_quotes: bool,
    pub(super) skip_unset: bool,
}

/// A word, expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) words: Vec<String>,
    pub(super) matched: BTreeSet<String>,
    pub(super) unmatched: BTreeSet<String>,
}

impl Environment {
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        if self.values.insert(name.to_owned(), value.into()).is_none() {
            self.names.push(name.to_owned());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

impl Lexer {
    pub(super) fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            skip_unset: false,
        }
    }

    /// Expands `word`.
    pub(super) fn expand(
        self,
        word: &str,
        environment: &Environment,
    ) -> Result<Expanded, DockerfileError> {
        // Go's scanner drops a BOM at the start.
        let source = word.strip_prefix('\u{feff}').unwrap_or(word);
        let mut scan = Scan {
            lexer: self,
            chars: source.chars().collect(),
            position: 0,
            environment,
            buffer: String::new(),
            depth: 0,
            expanded: Expanded::default(),
        };
        match scan.until(None, self.raw_escapes) {
            Ok((text, words)) => Ok(Expanded {
                text,
                words,
                ..scan.expanded
            }),
            Err(message) => Err(DockerfileError::new(format!(
                "failed to process {}: {message}",
                quote(word)
            ))),
        }
    }
}

pub(super) struct Scan<'a> {
    pub(super) lexer: Lexer,
    chars: Vec<char>,
    pub(super) position: usize,
    pub(super) environment: &'a Environment,
    /// The word being collected. One for all depths, as in `BuildKit`: a nested expansion loses
    /// what the outer word held.
    buffer: String,
    depth: usize,
    pub(super) expanded: Expanded,
}

/// How deep `${a:-${b:-…}}` may nest before it is refused instead of exhausting the stack.
const MAX_DEPTH: usize = 200;

#[derive(Default)]
struct Words {
    list: Vec<String>,
    in_word: bool,
}

impl Scan<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.position += usize::from(c.is_some());
        c
    }

    /// Reads up to `stop` (which it eats) or the end.
    pub(super) fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("expansion is nested too deeply".to_owned());
        }
        let outer = std::mem::replace(&mut self.lexer.raw_escapes, raw_escapes);
        let result = self.until_inner(stop);
        self.lexer.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        self.buffer.clear();
        let mut words = Words::default();
        let mut result = String::new();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.position += 1;
                return Ok((result, self.finish(words)));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    result.push_str(&value);
                    for c in value.chars() {
                        self.add(&mut words, c);
                    }
                }
                '\'' | '"' if !self.lexer.skip_quotes => {
                    let value = if c == '"' {
                        self.double_quote()?
                    } else {
                        self.single_quote()?
                    };
                    result.push_str(&value);
                    self.buffer.push_str(&value);
                    words.in_word = true;
                }
                '<' => {
                    let value = self.possible_heredoc();
                    result.push_str(&value);
                    self.buffer.push_str(&value);
                    words.in_word = true;
                }
                c if c == self.lexer.escape => {
                    self.position += 1;
                    if self.lexer.raw_escapes {
                        self.add_raw(&mut words, c);
                        result.push(c);
                    }
                    let Some(escaped) = self.next() else { break };
                    self.add_raw(&mut words, escaped);
                    result.push(escaped);
                }
                c => {
                    self.position += 1;
                    self.add(&mut words, c);
                    result.push(c);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!(
                "unexpected end of statement while looking for matching {stop}"
            )),
            None => Ok((result, self.finish(words))),
        }
    }

    fn add(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.add_raw(words, c);
        } else if words.in_word && !self.buffer.is_empty() {
            words.list.push(std::mem::take(&mut self.buffer));
            words.in_word = false;
        }
    }

    fn add_raw(&mut self, words: &mut Words, c: char) {
        self.buffer.push(c);
        words.in_word = true;
    }

    fn finish(&mut self, mut words: Words) -> Vec<String> {
        if !self.buffer.is_empty() {
            words.list.push(std::mem::take(&mut self.buffer));
        }
        words.list
    }

    /// `<<` and the blanks behind it stay in one word: `<< EOF` is a here-document too.
    fn possible_heredoc(&mut self) -> String {
        self.position += 1;
        let mut value = "<".to_owned();
        if self.peek() == Some('<') {
            self.position += 1;
            value.push('<');
            while let Some(blank) = self.peek().filter(|c| matches!(c, ' ' | '\t' | '\r')) {
                self.position += 1;
                value.push(blank);
            }
        }
        value
    }

    fn single_quote(&mut self) -> Result<String, String> {
        self.position += 1;
        let mut result = String::new();
        if self.lexer.raw_quotes {
            result.push('\'');
        }
        loop {
            match self.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    );
                }
                Some('\'') => {
                    if self.lexer.raw_quotes {
                        result.push('\'');
                    }
                    return Ok(result);
                }
                Some(c) => result.push(c),
            }
        }
    }

    fn double_quote(&mut self) -> Result<String, String> {
        self.position += 1;
        let mut result = String::new();
        if self.lexer.raw_quotes {
            result.push('"');
        }
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_owned(),
                    );
                }
                Some('"') => {
                    self.position += 1;
                    if self.lexer.raw_quotes {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(mut c) => {
                    self.position += 1;
                    if c == self.lexer.escape {
                        if self.lexer.raw_escapes {
                            result.push(c);
                        }
                        match self.peek() {
                            None => continue,
                            Some(next) if matches!(next, '"' | '$') || next == c => {
                                self.position += 1;
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
