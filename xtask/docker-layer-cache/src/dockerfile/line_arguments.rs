//! What follows the keyword of a logical line: builder flags, then words, JSON or a whole string.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/parser/line_parsers.go>

use super::DockerfileError;
use super::suggestion::quote;

/// A logical line, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitLine {
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    pub(super) rest: String,
}

/// Arguments, and whether they were a JSON array.
pub(super) type Arguments = (Vec<String>, bool);

/// Splits keyword, flags and the rest.
pub(super) fn split_line(line: &str) -> SplitLine {
    let line = line.trim();
    let (keyword, rest) = split_blank(line).unwrap_or((line, ""));
    let (flags, rest) = extract_flags(rest);
    SplitLine {
        keyword: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
    }
}

/// The blanks that separate words: Go's `[\t\v\f\r ]`.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits at the first run of blanks.
fn split_blank(text: &str) -> Option<(&str, &str)> {
    let start = text.find(is_blank)?;
    Some((&text[..start], text[start..].trim_start_matches(is_blank)))
}

/// Splits at every run of blanks; a run at an end makes an empty word, as Go's `Regexp.Split`.
pub(super) fn split_words(rest: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = rest;
    if rest.is_empty() {
        return words;
    }
    while let Some((word, tail)) = split_blank(rest) {
        words.push(word.to_owned());
        rest = tail;
    }
    words.push(rest.to_owned());
    words
}

/// Takes `--flag=value` words off the front, quotes and backslashes resolved.
///
/// `BuildKit` walks bytes here: a byte of a longer character becomes a character of its own, and
/// the bytes 0x85 and 0xA0 are spaces.
fn extract_flags(line: &str) -> (Vec<String>, &str) {
    let bytes = line.as_bytes();
    let is_space = |b: u8| char::from(b).is_whitespace();
    let rest = |mut position: usize| {
        while !line.is_char_boundary(position) {
            position += 1;
        }
        &line[position..]
    };
    let mut flags = Vec::new();
    let mut position = 0;
    loop {
        while position < bytes.len() && is_space(bytes[position]) {
            position += 1;
        }
        if !bytes[position..].starts_with(b"--") {
            return (flags, rest(position));
        }
        let (mut word, mut quote, mut quoted) = (String::new(), None, false);
        let ended_at_space = loop {
            let Some(&byte) = bytes.get(position) else {
                break false;
            };
            match (byte, quote) {
                (byte, None) if is_space(byte) => break true,
                (b'\'' | b'"', None) => {
                    quote = Some(byte);
                    quoted = true;
                }
                (byte, Some(q)) if byte == q => quote = None,
                (b'\\', _) => {
                    // A backslash at the end is skipped.
                    if let Some(&next) = bytes.get(position + 1) {
                        position += 1;
                        word.push(char::from(next));
                    }
                }
                (byte, _) => word.push(char::from(byte)),
            }
            position += 1;
        };
        if word == "--" {
            let rest = if ended_at_space { rest(position) } else { "" };
            return (flags, rest);
        }
        if quoted || !word.is_empty() {
            flags.push(word);
        }
        if !ended_at_space {
            return (flags, "");
        }
    }
}

/// Splits into words, quotes kept: `ENV`, `LABEL` and `ARG`.
pub(super) fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut in_word = false;
    let mut blank_ok = false;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if in_word && (blank_ok || !word.is_empty()) {
                words.push(std::mem::take(&mut word));
            }
            (in_word, blank_ok) = (false, false);
            continue;
        }
        in_word = true;
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                blank_ok = true;
            }
            (c, Some(q)) if c == q => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // An escape at the end is skipped.
            let Some(next) = chars.next() else { break };
            word.push(c);
            word.push(next);
        } else {
            word.push(c);
        }
    }
    if in_word && (blank_ok || !word.is_empty()) {
        words.push(word);
    }
    words
}

/// `name=value …`, or the old `name value`: key, value and separator of each.
pub(super) fn name_values(
    rest: &str,
    keyword: &str,
    escape: char,
) -> Result<Vec<String>, DockerfileError> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let (name, value) = split_blank(rest)
            .ok_or_else(|| DockerfileError::new(format!("{keyword} must have two arguments")))?;
        return Ok(vec![name.to_owned(), value.to_owned(), String::new()]);
    }
    let mut arguments = Vec::with_capacity(words.len() * 3);
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            DockerfileError::new(format!(
                "Syntax error - can't find = in {}. Must be of the form: name=value",
                quote(&word)
            ))
        })?;
        arguments.extend([name.to_owned(), value.to_owned(), "=".to_owned()]);
    }
    Ok(arguments)
}

/// A JSON array of strings; `None` where it is no JSON array at all.
fn json_array(rest: &str) -> Result<Option<Vec<String>>, DockerfileError> {
    let rest = rest.trim_start();
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else {
        return Ok(None);
    };
    values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => Ok(text),
            _ => Err(DockerfileError::new(
                "when using JSON array syntax, arrays must be comprised of strings only",
            )),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// JSON, or the whole rest as one argument: `RUN`, `CMD`, `ENTRYPOINT`, `SHELL`.
pub(super) fn maybe_json(rest: &str) -> Result<Arguments, DockerfileError> {
    if rest.is_empty() {
        return Ok((Vec::new(), false));
    }
    Ok(match json_array(rest)? {
        Some(array) => (array, true),
        None => (vec![rest.to_owned()], false),
    })
}

/// JSON, or words: `COPY`, `ADD`, `VOLUME`.
pub(super) fn maybe_json_list(rest: &str) -> Result<Arguments, DockerfileError> {
    Ok(match json_array(rest)? {
        Some(array) => (array, true),
        None => (split_words(rest), false),
    })
}

/// `HEALTHCHECK`: a type, then JSON or a string.
pub(super) fn health_check(rest: &str) -> Result<Arguments, DockerfileError> {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    if end == 0 {
        return Ok((Vec::new(), false));
    }
    let (tail, json) = maybe_json(rest[end..].trim_start())?;
    let mut arguments = vec![rest[..end].to_owned()];
    arguments.extend(tail);
    Ok((arguments, json))
}
