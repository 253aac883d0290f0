//! The lines of a key file: words, separated by one space.

use std::fmt::{self, Display, Write as _};

use crate::oci::Digest;

/// A line under construction.
///
/// A word stands as it is when all its characters are plain, see [`is_plain`]. Every other word,
/// also the empty one, stands in double quotes, with `\"`, `\\` and `\u{…}` for what is not plain.
/// So a line is read back in one way only, and no name, whatever it holds, can write a second
/// line or a second word.
pub(super) struct Line {
    text: String,
}

impl Line {
    /// Starts a line with its kind.
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            text: kind.to_owned(),
        }
    }

    /// Starts from a finished line.
    pub(super) fn continued(text: String) -> Self {
        Self { text }
    }

    /// Adds a word.
    pub(super) fn field(mut self, value: impl Display) -> Self {
        self.text.push(' ');
        let value = value.to_string();
        write_word(&mut self.text, &value).expect("a String takes every text");
        self
    }

    /// Adds a digest, all of whose characters are plain.
    pub(super) fn digest(mut self, digest: &Digest) -> Self {
        self.text.push(' ');
        self.text.push_str(digest.as_str());
        self
    }

    /// Returns the line, without a line break.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

fn write_word(text: &mut String, word: &str) -> fmt::Result {
    if !word.is_empty() && (is_plain_ascii(word.as_bytes()) || word.chars().all(is_plain)) {
        text.push_str(word);
        return Ok(());
    }
    text.push('"');
    for char in word.chars() {
        match char {
            '"' | '\\' => {
                text.push('\\');
                text.push(char);
            }
            ' ' => text.push(' '),
            char if is_plain(char) => text.push(char),
            char => write!(text, "\\u{{{:x}}}", u32::from(char))?,
        }
    }
    text.push('"');
    Ok(())
}

/// Whether all bytes are plain, see [`is_plain`], and ASCII.
///
/// A loop and no iterator: a build without optimisation spends much of a key with many inputs here.
pub(super) fn is_plain_ascii(word: &[u8]) -> bool {
    let mut at = 0;
    while at < word.len() {
        let byte = word[at];
        if byte <= b' ' || byte >= 0x7f || byte == b'"' || byte == b'\\' {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether a character shows as itself and cannot be taken for another one's absence: no space,
/// no control, nothing invisible or that turns the direction of the text.
///
/// The list is fixed. Tables that grow with Unicode would move keys with the compiler's version.
fn is_plain(char: char) -> bool {
    match char {
        '\0'..='\u{7f}' => char.is_ascii_graphic() && !matches!(char, '"' | '\\'),
        '\u{80}'..='\u{a0}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{1680}'
        | '\u{180e}'
        | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}'
        | '\u{3000}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        _ => true,
    }
}
