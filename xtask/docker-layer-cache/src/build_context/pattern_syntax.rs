//! What Go's `filepath.Match` says of a pattern's syntax.
//!
//! Source: <https://github.com/golang/go/blob/go1.25.0/src/path/filepath/match.go>

use std::iter::Peekable;
use std::str::Chars;

/// Whether `filepath.Match(pattern, ".")` is without error, which is all that is asked of it.
///
/// A pattern is compared piece by piece, from `*` to `*`. A piece is wrong with a `\` at its end,
/// a `[` not closed, an empty class or a range without an end; but pieces behind one that does
/// not match `.` are never looked at. So `a\` is refused, and `a*\` is not.
pub(super) fn is_well_formed(pattern: &str) -> bool {
    let mut pattern = pattern;
    let mut name = ".";
    while !pattern.is_empty() {
        let piece_and_rest = pattern.trim_start_matches('*');
        let star = piece_and_rest.len() < pattern.len();
        let (piece, rest) = piece_and_rest.split_at(piece_end(piece_and_rest));
        if star && piece.is_empty() {
            return true;
        }
        match match_piece(piece, name) {
            Err(Malformed) => return false,
            Ok(Some(left)) if left.is_empty() || !rest.is_empty() => name = left,
            // What a star could skip of `.` leaves nothing for the piece to match.
            Ok(_) => return true,
        }
        pattern = rest;
    }
    true
}

struct Malformed;

/// Returns where the first `*` is that is not escaped and not in a class.
fn piece_end(pattern: &str) -> usize {
    let mut in_class = false;
    let mut chars = pattern.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '*' if !in_class => return index,
            _ => {}
        }
    }
    pattern.len()
}

/// Returns what is left of a name behind the piece, or `None` where the piece does not match. The
/// piece is read to its end either way.
fn match_piece<'a>(piece: &str, name: &'a str) -> Result<Option<&'a str>, Malformed> {
    let mut left = Some(name);
    let mut chars = piece.chars().peekable();
    while let Some(char) = chars.next() {
        let next = left.and_then(|left| left.chars().next());
        let matched = match char {
            '[' => match_class(&mut chars, next)?,
            '?' => next != Some('/'),
            '\\' => next == Some(chars.next().ok_or(Malformed)?),
            char => next == Some(char),
        };
        left = match (left, next) {
            (Some(left), Some(next)) if matched => Some(&left[next.len_utf8()..]),
            _ => None,
        };
    }
    Ok(left)
}

/// Reads a class behind its `[` and compares it.
fn match_class(chars: &mut Peekable<Chars<'_>>, next: Option<char>) -> Result<bool, Malformed> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut matched = false;
    let mut n_ranges = 0;
    loop {
        if n_ranges > 0 && chars.next_if_eq(&']').is_some() {
            return Ok(matched != negated);
        }
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        matched |= next.is_some_and(|next| (low..=high).contains(&next));
        n_ranges += 1;
    }
}

/// Reads one character of a class, which cannot be the piece's last.
fn class_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, Malformed> {
    let char = match chars.next() {
        None | Some('-' | ']') => return Err(Malformed),
        Some('\\') => chars.next().ok_or(Malformed)?,
        Some(char) => char,
    };
    match chars.peek() {
        Some(_) => Ok(char),
        None => Err(Malformed),
    }
}
