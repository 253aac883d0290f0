//! Regular expressions in Go's syntax, as far as ignore patterns can write one.
//!
//! Patterns are escaped only in part, so what a user writes can reach the expression: `\d` is a
//! digit, `[[:alpha:]]` a letter, and `a|b*` has two branches. Rust's syntax differs in places
//! (`\d` knows all of Unicode there, classes nest), so the expression is parsed here and handed
//! over parsed.
//!
//! Not supported: `\p{…}`, which no file name has needed yet; it is refused.
//!
//! Source: <https://github.com/golang/go/blob/go1.25.0/src/regexp/syntax/parse.go>

use regex_automata::meta::Regex;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

/// Compiles an expression; `None` where Go refuses it.
pub(super) fn compile(expression: &str) -> Option<Regex> {
    let mut parser = Parser { rest: expression };
    let hir = parser.alternation(0)?;
    if !parser.rest.is_empty() {
        return None;
    }
    Regex::builder().build_from_hir(&hir).ok()
}

struct Parser<'a> {
    rest: &'a str,
}

/// The most that a counted repetition may ask for.
const MAX_REPEAT: u32 = 1000;

impl Parser<'_> {
    /// Parses branches up to the end or a closing parenthesis.
    fn alternation(&mut self, depth: usize) -> Option<Hir> {
        let mut branches = Vec::new();
        let mut sequence: Vec<Hir> = Vec::new();
        let mut after_repetition = false;
        while let Some(char) = self.rest.chars().next() {
            if char == ')' && depth > 0 {
                break;
            }
            if let Some((min, max)) = self.repetition()? {
                // Repetitions do not stack.
                if after_repetition {
                    return None;
                }
                let operand = sequence.pop()?;
                sequence.push(Hir::repetition(Repetition {
                    min,
                    max,
                    greedy: true,
                    sub: Box::new(operand),
                }));
                after_repetition = true;
                continue;
            }
            after_repetition = false;
            self.rest = &self.rest[char.len_utf8()..];
            match char {
                '|' => branches.push(Hir::concat(std::mem::take(&mut sequence))),
                '(' => {
                    let group = self.alternation(depth + 1)?;
                    self.rest = self.rest.strip_prefix(')')?;
                    sequence.push(group);
                }
                ')' => return None,
                '^' => sequence.push(Hir::look(Look::Start)),
                '$' => sequence.push(Hir::look(Look::End)),
                '.' => sequence.push(class(&negated(&[(10, 10)]))),
                '[' => sequence.push(self.class()?),
                '\\' => self.escape(&mut sequence)?,
                char => sequence.push(literal(u32::from(char))),
            }
        }
        branches.push(Hir::concat(sequence));
        Some(Hir::alternation(branches))
    }

    /// Reads a repetition if one comes; the outer `None` is an error.
    ///
    /// Braces that do not count are literals.
    #[expect(
        clippy::option_option,
        reason = "nothing there and refused are two answers"
    )]
    fn repetition(&mut self) -> Option<Option<(u32, Option<u32>)>> {
        let (range, rest) = match self.rest.as_bytes().first() {
            Some(b'*') => ((0, None), &self.rest[1..]),
            Some(b'+') => ((1, None), &self.rest[1..]),
            Some(b'?') => ((0, Some(1)), &self.rest[1..]),
            Some(b'{') => match counted(&self.rest[1..]) {
                Some((min, max, rest)) => {
                    let too_big = min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT);
                    if too_big || max.is_some_and(|max| min > max) {
                        return None;
                    }
                    ((min, max), rest)
                }
                None => return Some(None),
            },
            _ => return Some(None),
        };
        // Lazy or greedy is the same for a yes or no.
        self.rest = rest.strip_prefix('?').unwrap_or(rest);
        Some(Some(range))
    }

    /// Reads what follows a `\` outside of a class.
    fn escape(&mut self, sequence: &mut Vec<Hir>) -> Option<()> {
        let char = self.rest.chars().next()?;
        let hir = match char {
            'A' => Hir::look(Look::Start),
            'z' => Hir::look(Look::End),
            'b' => Hir::look(Look::WordAscii),
            'B' => Hir::look(Look::WordAsciiNegate),
            'Q' => {
                let (quoted, rest) = self.rest[1..]
                    .split_once("\\E")
                    .unwrap_or((&self.rest[1..], ""));
                sequence.extend(quoted.chars().map(|char| literal(u32::from(char))));
                self.rest = rest;
                return Some(());
            }
            _ => {
                if let Some(ranges) = perl_class(char) {
                    class(&ranges)
                } else {
                    sequence.push(literal(self.escaped_char()?));
                    return Some(());
                }
            }
        };
        self.rest = &self.rest[1..];
        sequence.push(hir);
        Some(())
    }

    /// Reads the character that stands behind a `\`.
    fn escaped_char(&mut self) -> Option<u32> {
        let char = self.next()?;
        Some(match char {
            '0' => self.octal(0),
            // A lone digit would be a reference back, which Go does not have.
            '1'..='7' if self.rest.starts_with(|next| matches!(next, '0'..='7')) => {
                self.octal(char.to_digit(8)?)
            }
            'x' => self.hex()?,
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => u32::from(char),
            _ => return None,
        })
    }

    /// Reads up to two more octal digits.
    fn octal(&mut self, first: u32) -> u32 {
        let mut value = first;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|char| char.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.rest = &self.rest[1..];
        }
        value
    }

    /// Reads two hex digits, or any number of them in braces.
    fn hex(&mut self) -> Option<u32> {
        let first = self.next()?;
        if first != '{' {
            return Some(first.to_digit(16)? * 16 + self.next()?.to_digit(16)?);
        }
        let (digits, rest) = self.rest.split_once('}')?;
        if digits.is_empty() {
            return None;
        }
        let mut value = 0;
        for digit in digits.chars() {
            value = value * 16 + digit.to_digit(16)?;
            if value > u32::from(char::MAX) {
                return None;
            }
        }
        self.rest = rest;
        Some(value)
    }

    /// Reads a class behind its `[`.
    fn class(&mut self) -> Option<Hir> {
        let negate = self.rest.starts_with('^');
        if negate {
            self.rest = &self.rest[1..];
        }
        let mut ranges = Vec::new();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some(after) = self.rest.strip_prefix("[:")
                && let Some((name, rest)) = after.split_once(":]")
            {
                ranges.extend(posix_class(name)?);
                self.rest = rest;
                continue;
            }
            if let Some(after) = self.rest.strip_prefix('\\')
                && let Some(perl) = after.chars().next().and_then(perl_class)
            {
                ranges.extend(perl);
                self.rest = &after[1..];
                continue;
            }
            let low = self.class_char()?;
            let mut high = low;
            // A `-` before the `]` is itself.
            if let Some(after) = self.rest.strip_prefix('-')
                && !after.is_empty()
                && !after.starts_with(']')
            {
                self.rest = after;
                high = self.class_char()?;
                if high < low {
                    return None;
                }
            }
            ranges.push((low, high));
        }
        self.rest = &self.rest[1..];
        Some(class(&if negate { negated(&ranges) } else { ranges }))
    }

    fn class_char(&mut self) -> Option<u32> {
        match self.next()? {
            '\\' => self.escaped_char(),
            char => Some(u32::from(char)),
        }
    }

    fn next(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }
}

/// Reads `2}`, `2,}` or `2,3}` behind a `{`; numbers too big to read are bigger than any limit.
fn counted(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, rest) = number(text)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = number(rest)?;
            (Some(max), rest)
        }
    };
    Some((min, max, rest.strip_prefix('}')?))
}

/// Reads a decimal number without leading zeros.
fn number(text: &str) -> Option<(u32, &str)> {
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(n_digits);
    if digits.is_empty() || (n_digits > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

type Ranges = Vec<(u32, u32)>;

/// `\d`, `\s`, `\w` and their opposites: ASCII alone.
fn perl_class(name: char) -> Option<Ranges> {
    let ranges = match name.to_ascii_lowercase() {
        'd' => vec![(0x30, 0x39)],
        's' => vec![(9, 10), (12, 13), (0x20, 0x20)],
        'w' => vec![(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)],
        _ => return None,
    };
    Some(if name.is_ascii_uppercase() {
        negated(&ranges)
    } else {
        ranges
    })
}

/// The inside of `[:name:]`.
fn posix_class(name: &str) -> Option<Ranges> {
    let (negate, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let ranges: Ranges = match name {
        "alnum" => vec![(0x30, 0x39), (0x41, 0x5a), (0x61, 0x7a)],
        "alpha" => vec![(0x41, 0x5a), (0x61, 0x7a)],
        "ascii" => vec![(0, 0x7f)],
        "blank" => vec![(9, 9), (0x20, 0x20)],
        "cntrl" => vec![(0, 0x1f), (0x7f, 0x7f)],
        "digit" => vec![(0x30, 0x39)],
        "graph" => vec![(0x21, 0x7e)],
        "lower" => vec![(0x61, 0x7a)],
        "print" => vec![(0x20, 0x7e)],
        "punct" => vec![(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
        "space" => vec![(9, 13), (0x20, 0x20)],
        "upper" => vec![(0x41, 0x5a)],
        "word" => vec![(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)],
        "xdigit" => vec![(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)],
        _ => return None,
    };
    Some(if negate { negated(&ranges) } else { ranges })
}

/// Returns all characters outside of `ranges`.
fn negated(ranges: &[(u32, u32)]) -> Ranges {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut outside = Vec::new();
    let mut next = 0;
    for (low, high) in sorted {
        if low > next {
            outside.push((next, low - 1));
        }
        next = next.max(high + 1);
    }
    if next <= u32::from(char::MAX) {
        outside.push((next, u32::from(char::MAX)));
    }
    outside
}

fn literal(code: u32) -> Hir {
    class(&[(code, code)])
}

/// Returns a class; surrogates, which no path has, fall out of it.
fn class(ranges: &[(u32, u32)]) -> Hir {
    let ranges = ranges.iter().filter_map(|&(low, high)| {
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        (low <= high).then(|| ClassUnicodeRange::new(low, high))
    });
    Hir::class(Class::Unicode(ClassUnicode::new(ranges)))
}
