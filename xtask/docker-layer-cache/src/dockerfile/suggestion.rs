//! The two pieces of wording that `BuildKit`'s messages share: quoting, and "did you mean".

use std::fmt::Write as _;

/// Quotes as Go's `%q` does.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if (c as u32) < 0x80 && c.is_control() => {
                write!(quoted, "\\x{:02x}", c as u32).expect("a String takes all");
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{feff}' => {
                write!(quoted, "\\u{:04x}", c as u32).expect("a String takes all");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns `message`, with the option that is nearest to `value` where one is near.
///
/// Source: <https://github.com/moby/buildkit/blob/v0.30.0/util/suggest/error.go>
pub(super) fn suggest<'a>(
    message: String,
    value: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> String {
    match nearest(value, options, case_sensitive) {
        Some(option) => format!("{message} (did you mean {option}?)"),
        None => message,
    }
}

/// Returns the option that is nearest to `value`, at a distance of less than 3.
pub(super) fn nearest<'a>(
    value: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> Option<String> {
    let fold = |text: &str| {
        if case_sensitive {
            text.to_owned()
        } else {
            text.to_lowercase()
        }
    };
    let folded = fold(value);
    let mut best = None;
    let mut least = 3;
    for option in options.into_iter().map(fold) {
        if option == folded {
            return None;
        }
        let distance = distance(&folded, &option);
        if distance < least {
            least = distance;
            best = Some(option);
        }
    }
    let upper = !case_sensitive && value == value.to_uppercase() && value != value.to_lowercase();
    best.map(|option| if upper { option.to_uppercase() } else { option })
}

/// The Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("FOO", ["RUN", "FROM"], false), Some("FROM".into()));
        assert_eq!(nearest("foo", ["RUN", "FROM"], false), Some("from".into()));
        assert_eq!(nearest("1", ["a", "b"], true), Some("a".into()));
        assert_eq!(nearest("builder", ["a"], true), None);
        assert_eq!(quote("a\"b\n"), r#""a\"b\n""#);
    }
}
