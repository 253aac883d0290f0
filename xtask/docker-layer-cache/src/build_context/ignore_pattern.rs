//! One pattern of an ignore file.
//!
//! Source: <https://github.com/moby/patternmatcher/blob/v0.6.0/patternmatcher.go>

use std::sync::OnceLock;

use regex_automata::meta::Regex;

use super::ContextError;
use super::ignore_file::clean;
use super::ignore_regex;
use super::pattern_syntax::is_well_formed;

/// A pattern and how paths are matched against it.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The cleaned pattern, without `!`.
    text: String,
    exception: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Exact,
    /// Ends in `**`: the text before it.
    Prefix(String),
    /// Starts with `**`: the text after it.
    Suffix(String),
    /// A regular expression in Go's syntax, compiled at its first use: one that is wrong is an
    /// error only if a path is ever compared with it.
    Regex {
        expression: String,
        compiled: OnceLock<Option<Regex>>,
    },
}

impl Pattern {
    /// Parses a line of an ignore file; `None` for an empty one.
    ///
    /// # Errors
    /// When Go's `filepath.Match` refuses the pattern, or when it is a lone `!`.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, ContextError> {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let cleaned = clean(trimmed);
        let (exception, text) = match cleaned.strip_prefix('!') {
            Some("") => {
                return Err(ContextError::ignore_pattern(
                    line,
                    "illegal exclusion pattern: \"!\"",
                ));
            }
            Some(text) => (true, text),
            None => (false, cleaned.as_str()),
        };
        if !is_well_formed(text) {
            return Err(ContextError::ignore_pattern(line, SYNTAX));
        }
        Ok(Some(Self {
            text: text.to_owned(),
            exception,
            kind: Kind::of(text),
        }))
    }

    /// Returns whether the pattern brings back what earlier ones left out.
    pub(super) fn is_exception(&self) -> bool {
        self.exception
    }

    /// Returns whether the pattern matches `path` itself, whatever its folders.
    ///
    /// # Errors
    /// When the pattern's regular expression is none.
    pub(super) fn matches(&self, path: &str) -> Result<bool, ContextError> {
        Ok(match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(prefix) => path.starts_with(prefix.as_str()),
            // `**/foo` also matches `foo`.
            Kind::Suffix(suffix) => {
                path.ends_with(suffix.as_str())
                    || suffix.strip_prefix('/').is_some_and(|rest| path == rest)
            }
            Kind::Regex {
                expression,
                compiled,
            } => compiled
                .get_or_init(|| ignore_regex::compile(expression))
                .as_ref()
                .ok_or_else(|| ContextError::ignore_pattern(&self.text, SYNTAX))?
                .is_match(path),
        })
    }

    /// Returns the pattern without a last `/**` and then a last `/*`.
    pub(super) fn without_trailing_glob(&self) -> &str {
        let text = self.text.strip_suffix("/**").unwrap_or(&self.text);
        text.strip_suffix("/*").unwrap_or(text)
    }
}

const SYNTAX: &str = "syntax error in pattern";

impl Kind {
    /// Chooses how a pattern is matched and translates it to a regular expression.
    fn of(pattern: &str) -> Self {
        #[derive(Clone, Copy, PartialEq)]
        enum Detected {
            Exact,
            Prefix,
            Suffix,
            Regex,
        }
        let mut detected = Detected::Exact;
        let mut expression = String::from("^");
        // Go's text scanner, which reads the pattern there, passes over a byte order mark.
        let mut chars = pattern
            .strip_prefix('\u{feff}')
            .unwrap_or(pattern)
            .chars()
            .peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            match char {
                '*' if chars.peek() == Some(&'*') => {
                    chars.next();
                    // `**/` is as `**`.
                    chars.next_if_eq(&'/');
                    if chars.peek().is_some() {
                        expression.push_str("(.*/)?");
                        detected = Detected::Regex;
                    } else if detected == Detected::Exact {
                        detected = Detected::Prefix;
                    } else {
                        expression.push_str(".*");
                        detected = Detected::Regex;
                    }
                    if first {
                        detected = Detected::Suffix;
                    }
                }
                '*' => {
                    expression.push_str("[^/]*");
                    detected = Detected::Regex;
                }
                '?' => {
                    expression.push_str("[^/]");
                    detected = Detected::Regex;
                }
                // Not `|`, `{` and `}`: the original means to escape them and does not, so that
                // in a pattern with `*` they are operators.
                '.' | '+' | '(' | ')' | '$' => expression.extend(['\\', char]),
                '\\' => {
                    expression.push('\\');
                    if let Some(escaped) = chars.next() {
                        expression.push(escaped);
                        detected = Detected::Regex;
                    }
                }
                '[' | ']' => {
                    expression.push(char);
                    detected = Detected::Regex;
                }
                char => expression.push(char),
            }
            first = false;
        }
        match detected {
            Detected::Exact => Self::Exact,
            Detected::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_owned()),
            Detected::Suffix => Self::Suffix(pattern[2..].to_owned()),
            Detected::Regex => {
                expression.push('$');
                Self::Regex {
                    expression,
                    compiled: OnceLock::new(),
                }
            }
        }
    }
}
