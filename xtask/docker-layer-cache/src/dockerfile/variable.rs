//! `$name` and `${name…}` inside a word.
//!
//! Source: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/shell/lex.go>
//! (`processDollar`)

use super::expand::Scan;
use super::pattern::{self, Pattern};

impl Scan<'_> {
    /// Reads up to the closing brace.
    fn until_brace(&mut self, raw_escapes: bool) -> Result<String, String> {
        match self.until(Some('}'), raw_escapes) {
            Ok((word, _)) => Ok(word),
            Err(_) if self.peek().is_none() => Err("syntax error: missing '}'".to_owned()),
            Err(message) => Err(message),
        }
    }

    pub(super) fn dollar(&mut self) -> Result<String, String> {
        self.position += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name) {
                Some(value) => value,
                None if self.lexer.skip_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.position += 1;
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(match self.get(&name) {
                Some(value) => value,
                None if self.lexer.skip_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.next();
                self.modifier(&name, true, operator)
            }
            Some('/') => self.substitute(&name),
            operator => self.modifier(&name, false, operator),
        }
    }

    /// `${name:-word}` and its kin, behind the operator.
    fn modifier(
        &mut self,
        name: &str,
        null_is_unset: bool,
        operator: Option<char>,
    ) -> Result<String, String> {
        let shown = operator.unwrap_or('\u{fffd}');
        let colon = if null_is_unset { ":" } else { "" };
        let unsupported = format!("unsupported modifier ({colon}{shown}) in substitution");
        let is_trim = matches!(operator, Some('#' | '%'));
        let known = is_trim || matches!(operator, Some('+' | '-' | '?'));
        if (is_trim && null_is_unset) || (!known && !null_is_unset) {
            return Err(unsupported);
        }
        let mut word = self.until_brace(is_trim)?;
        let value = self.get(name);
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}{colon}{shown}{word}}}"));
        }
        let is_set = value
            .as_ref()
            .is_some_and(|value| !(null_is_unset && value.is_empty()));
        match operator {
            Some('-') => Ok(if is_set {
                value.unwrap_or_default()
            } else {
                word
            }),
            Some('+') => Ok(if is_set { word } else { String::new() }),
            Some('?') if is_set => Ok(value.unwrap_or_default()),
            Some('?') => {
                if word.is_empty() {
                    let state = if value.is_none() { "unset" } else { "empty" };
                    word = format!("is not allowed to be {state}");
                }
                Err(format!("{name}: {word}"))
            }
            Some(operator @ ('#' | '%')) => {
                let value = value.unwrap_or_default();
                let longest = word.starts_with(operator);
                if longest {
                    word.remove(0);
                }
                trim(&word, &value, longest, operator == '%')
            }
            _ => Err(unsupported),
        }
    }

    /// `${name/pattern/replacement}`, behind the first slash.
    fn substitute(&mut self, name: &str) -> Result<String, String> {
        let all = self.peek() == Some('/');
        self.position += usize::from(all);
        let (pattern, _) = self.until(Some('/'), true).map_err(|message| {
            if self.peek().is_none() {
                "syntax error: missing '/' in ${}".to_owned()
            } else {
                message
            }
        })?;
        let replacement = self.until_brace(true)?;
        let value = self.get(name);
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let compiled = Pattern::new(&pattern)
            .map_err(|error| format!("invalid pattern ({pattern}) in substitution: {error}"))?;
        Ok(compiled.replace(&value.unwrap_or_default(), &replacement, all))
    }

    /// Reads a name: digits, one special parameter, or letters, digits and `_`.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.peek().filter(|c| c.is_numeric()) {
                    name.push(digit);
                    self.position += 1;
                }
                return name;
            }
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.position += 1;
                return c.to_string();
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
            self.position += 1;
        }
        name
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = self.environment.get(name).map(str::to_owned);
        let names = if value.is_some() {
            &mut self.expanded.matched
        } else {
            &mut self.expanded.unmatched
        };
        names.insert(name.to_owned());
        value
    }
}

fn trim(word: &str, value: &str, longest: bool, suffix: bool) -> Result<String, String> {
    // The shortest suffix is the shortest prefix of everything reversed.
    let word = if suffix {
        pattern::reverse(word)
    } else {
        word.to_owned()
    };
    let reverse = |text: &str| text.chars().rev().collect::<String>();
    let compiled = Pattern::new(&word)
        .map_err(|error| format!("invalid pattern ({word}) in substitution: {error}"))?;
    Ok(if suffix {
        reverse(&compiled.trim_prefix(&reverse(value), longest))
    } else {
        compiled.trim_prefix(value, longest)
    })
}
