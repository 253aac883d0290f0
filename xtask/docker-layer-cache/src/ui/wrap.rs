//! Lines of a width, and whether they are painted.

use std::io::IsTerminal;

/// Breaks `text` into lines of at most `width` characters at its spaces, but not within backticks:
/// what stands there is to be copied. A word that is longer gets a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for word in words(text) {
        let word_length = word.chars().count();
        match lines.last_mut() {
            Some(line) if length + 1 + word_length <= width => {
                line.push(' ');
                line.push_str(&word);
                length += 1 + word_length;
            }
            _ => {
                lines.push(word);
                length = word_length;
            }
        }
    }
    lines
}

/// Tells whether stdout shows colours: a terminal, and nobody says no (<https://no-color.org>).
pub(crate) fn paints() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Returns the words of a text; what stands within backticks is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '`';
        if c.is_whitespace() && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(if c.is_control() { '\u{fffd}' } else { c });
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_break_at_spaces_and_not_within_commands() {
        for (text, expected) in [
            ("", vec![]),
            ("one two", vec!["one two"]),
            ("one two three", vec!["one two", "three"]),
            ("run `a b c d e f`, so", vec!["run", "`a b c d e f`,", "so"]),
            ("an_endless_word x", vec!["an_endless_word", "x"]),
        ] {
            assert_eq!(wrap(text, 10), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text in "[a-z ]{0,200}", width in 1_usize..80) {
            let lines = wrap(&text, width);
            let joined = lines.join(" ");
            let words = text.split_whitespace().collect::<Vec<_>>();
            prop_assert_eq!(joined.split_whitespace().collect::<Vec<_>>(), words);
            for line in lines {
                prop_assert!(line.len() <= width || !line.contains(' '), "{}", line);
            }
        }
    }
}
