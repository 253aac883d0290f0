//! Shell patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and literals.

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Star,
    Any,
    Literal(char),
}

impl Pattern {
    /// Compiles; a backslash escapes `*`, `?` and itself, and goes away before `}` and `/`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Literal(escaped),
                    other => {
                        return Err(format!(
                            "invalid escape '\\{}'",
                            other.unwrap_or('\u{fffd}')
                        ));
                    }
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Returns the length of the shortest or longest match at the start of `value`.
    fn match_len(&self, value: &[char], longest: bool) -> Option<usize> {
        // The reachable positions in ascending order, token by token. Go's `.` stops at a line feed.
        let mut reachable = vec![0];
        for token in &self.0 {
            reachable = match token {
                Token::Star => {
                    let mut next: Vec<usize> = Vec::new();
                    for &from in &reachable {
                        if next.last().is_some_and(|&last| last >= from) {
                            continue;
                        }
                        let rest = &value[from..];
                        let length = rest.iter().position(|&c| c == '\n').unwrap_or(rest.len());
                        next.extend(from..=from + length);
                    }
                    next
                }
                Token::Any => step(&reachable, value, |c| c != '\n'),
                Token::Literal(literal) => step(&reachable, value, |c| c == *literal),
            };
            if reachable.is_empty() {
                return None;
            }
        }
        if longest {
            reachable.last().copied()
        } else {
            reachable.first().copied()
        }
    }

    /// Removes the match at the start of `value`.
    pub(super) fn trim_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let len = self.match_len(&chars, longest).unwrap_or(0);
        chars[len..].iter().collect()
    }

    /// Replaces the first match, or all.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut position = 0;
        let mut after_match = false;
        while position <= chars.len() {
            let matched = self.match_len(&chars[position..], true);
            match matched {
                // No empty match right behind another match.
                Some(len) if len > 0 || !after_match => {
                    let text: String = chars[position..position + len].iter().collect();
                    if !all {
                        out.push_str(replacement);
                        out.extend(&chars[position + len..]);
                        return out;
                    }
                    out.push_str(&expand_template(replacement, &text));
                    position += len;
                    after_match = len > 0;
                    if len > 0 {
                        continue;
                    }
                }
                // Behind a star that found nothing, no later start finds anything.
                None if self.0.first() == Some(&Token::Star) && !chars.contains(&'\n') => break,
                _ => after_match = false,
            }
            if let Some(c) = chars.get(position) {
                out.push(*c);
            }
            position += 1;
        }
        out.extend(chars.get(position..).unwrap_or_default());
        out
    }
}

/// Goes on by one character that fits.
fn step(reachable: &[usize], value: &[char], fits: impl Fn(char) -> bool) -> Vec<usize> {
    let fitting = reachable
        .iter()
        .filter(|&&at| value.get(at).is_some_and(|&c| fits(c)));
    fitting.map(|at| at + 1).collect()
}

/// Reverses a pattern, escapes kept: `a\*c` is `c\*a`.
pub(super) fn reverse(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut reversed = Vec::with_capacity(chars.len());
    let mut i = 0;
    while i < chars.len() {
        if chars[i] == '\\' && i + 1 < chars.len() {
            reversed.extend([chars[i + 1], '\\']);
            i += 2;
        } else {
            reversed.push(chars[i]);
            i += 1;
        }
    }
    reversed.iter().rev().collect()
}

/// Expands `$name` of a replacement as Go's `ReplaceAllString` does: `$0` is the match, other
/// names are nothing, `$$` is a dollar.
fn expand_template(template: &str, matched: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{');
        let body = braced.unwrap_or(after);
        let end = body
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(body.len());
        let name = &body[..end];
        let closed = braced.is_none() || body[end..].starts_with('}');
        if name.is_empty() || !closed {
            out.push('$');
            rest = after;
            continue;
        }
        if name == "0" {
            out.push_str(matched);
        }
        rest = &body[end + usize::from(braced.is_some())..];
    }
    out.push_str(rest);
    out
}
