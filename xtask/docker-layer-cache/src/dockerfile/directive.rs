//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of the file.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/parser/directives.go>

use std::collections::BTreeSet;

use super::DockerfileError;

/// A directive, `# name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// Reads directives line by line, until the first line that is none.
#[derive(Debug)]
pub(super) struct DirectiveParser {
    comment: &'static str,
    line: usize,
    done: bool,
    seen: BTreeSet<String>,
}

impl DirectiveParser {
    pub(super) fn new(comment: &'static str) -> Self {
        Self {
            comment,
            line: 0,
            done: false,
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn parse_line(&mut self, line: &str) -> Result<Option<Directive>, DockerfileError> {
        self.line += 1;
        if self.done {
            return Ok(None);
        }
        let directive = line
            .strip_prefix(self.comment)
            .and_then(|rest| split_directive(rest.trim_start()));
        let Some((name, value)) = directive else {
            self.done = true;
            return Ok(None);
        };
        let name = name.to_lowercase();
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            self.done = true;
            return Ok(None);
        }
        if !self.seen.insert(name.clone()) {
            return Err(DockerfileError::new(format!(
                "only one {name} parser directive can be used"
            ))
            .at(self.line));
        }
        Ok(Some(Directive {
            name,
            value: value.to_owned(),
            line: self.line,
        }))
    }
}

/// Returns the frontend that the file asks for, as written up to the first space, and the line.
///
/// It counts behind a BOM and a shebang, as `#`, as `//`, and as a key of a JSON document.
pub(super) fn detect_syntax(text: &str) -> Option<(String, usize)> {
    let directive =
        find_directive("syntax", text, "#").or_else(|| find_directive("syntax", text, "//"));
    if let Some(directive) = directive {
        let reference = directive.value.split(' ').next().unwrap_or_default();
        return Some((reference.to_owned(), directive.line));
    }
    let (body, shebang) = body(text);
    let json: serde_json::Value = serde_json::from_str(body).ok()?;
    Some((json.get("syntax")?.as_str()?.to_owned(), shebang + 1))
}

/// Returns the value of `# check=`.
pub(super) fn detect_check(text: &str) -> Option<Directive> {
    find_directive("check", text, "#")
}

fn find_directive(name: &str, text: &str, comment: &'static str) -> Option<Directive> {
    let (body, shebang) = body(text);
    let mut parser = DirectiveParser::new(comment);
    for line in body.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        // A line that Go's scanner cannot hold ends the search.
        if line.len() >= super::logical_line::MAX_LINE_BYTES || parser.done {
            return None;
        }
        match parser.parse_line(line) {
            Ok(Some(mut directive)) if directive.name == name => {
                directive.line += shebang;
                return Some(directive);
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}

/// The text without BOM and shebang, and the number of lines that this took away.
fn body(text: &str) -> (&str, usize) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with("#!") {
        (text.split_once('\n').map_or("", |(_, rest)| rest), 1)
    } else {
        (text, 0)
    }
}

/// Matches `^([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$`.
fn split_directive(text: &str) -> Option<(&str, &str)> {
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r');
    let (name, value) = text.split_once('=')?;
    let name = name.trim_end_matches(space);
    let value = value.trim_matches(space);
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
        && !value.is_empty()
        && !value.contains('\n');
    valid.then_some((name, value))
}

/// Refuses what `BuildKit`'s linter cannot read in `# check=`.
pub(super) fn validate_check(value: &str) -> Result<(), String> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(());
    }
    for part in value.split(';') {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!("invalid check option {part:?}"));
        };
        match key.trim() {
            "skip" | "experimental" => {}
            "error" => {
                let value = value.trim();
                if !super::mount::is_bool(value) {
                    return Err(format!(
                        "failed to parse check option {part:?}: strconv.ParseBool: parsing {value:?}: invalid syntax"
                    ));
                }
            }
            key => return Err(format!("invalid check option {key:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_counts_only_at_the_top() {
        for (text, expected) in [
            ("# syntax=a/b:1\nFROM x", Some("a/b:1")),
            ("#syntax = a/b:1   \nFROM x", Some("a/b:1")),
            ("# SYNTAX=a/b:1 --foo\nFROM x", Some("a/b:1")),
            ("# escape=`\r\n# syntax=a/b:1\r\nFROM x", Some("a/b:1")),
            ("# check=skip=all\n# syntax=a/b:1\nFROM x", Some("a/b:1")),
            ("#!/bin/x\n# syntax=a/b:1\nFROM x", Some("a/b:1")),
            ("// syntax=a/b:1\nFROM x", Some("a/b:1")),
            ("{\"syntax\": \"a/b:1\"}", Some("a/b:1")),
            (" # syntax=a/b:1\nFROM x", None),
            ("# hi\n# syntax=a/b:1\nFROM x", None),
            ("\n# syntax=a/b:1\nFROM x", None),
            ("# escape=`\n# escape=`\n# syntax=a\nFROM x", None),
            ("# syntax=\nFROM x", None),
        ] {
            let actual = detect_syntax(text).map(|(reference, _)| reference);
            assert_eq!(actual.as_deref(), expected, "{text:?}");
        }
    }
}
