//! Patterns of `COPY`: those of Go's `path.Match` in sources, those of ignore files in `--exclude`
//! and `--parents`.

/// Tells whether `name`, one component of a path, matches `pattern`: `*`, `?`, `[a-z]`, `[^a]`,
/// `\x`. A malformed pattern matches nothing.
///
/// Source: <https://pkg.go.dev/path#Match>
pub(super) fn matches_component(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the last star stands, and what of the name it has eaten so far.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while p < pattern.len() || n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        let one = name.get(n).and_then(|c| one(&pattern[p..], *c));
        if let Some(n_pattern) = one {
            p += n_pattern;
            n += 1;
            continue;
        }
        match star {
            Some((at, eaten)) if eaten < name.len() => {
                star = Some((at, eaten + 1));
                (p, n) = (at + 1, eaten + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Tells whether a pattern names more than itself.
pub(super) fn is_pattern(component: &str) -> bool {
    component.contains(['*', '?', '[', '\\'])
}

/// Tells whether the last pattern that matches `path` or a folder above it takes it: `**` crosses
/// folders, `!` gives back.
///
/// Source: <https://github.com/moby/patternmatcher>
pub(super) fn matches_any(patterns: &[String], path: &str) -> bool {
    let mut taken = false;
    for pattern in patterns {
        let (gives_back, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern.as_str()),
        };
        if taken == gives_back && matches_path_or_above(pattern, path) {
            taken = !gives_back;
        }
    }
    taken
}

fn matches_path_or_above(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = components(pattern);
    let path: Vec<&str> = components(path);
    !pattern.is_empty() && (1..=path.len()).any(|n| matches_components(&pattern, &path[..n]))
}

fn matches_components(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            // At the end, `**` stands for one component at least.
            (0..=path.len())
                .filter(|n| !rest.is_empty() || *n > 0)
                .any(|n| matches_components(rest, &path[n..]))
        }
        (Some((first, pattern)), Some((name, path))) => {
            matches_component(first, name) && matches_components(pattern, path)
        }
        _ => false,
    }
}

/// Splits a path that may be written unclean.
pub(super) fn components(path: &str) -> Vec<&str> {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            component => components.push(component),
        }
    }
    components
}

/// Matches one character, and returns how much of the pattern that took.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => class(pattern, c),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        first => (first == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    let mut n_ranges = 0;
    loop {
        if pattern.get(at)? == &']' && n_ranges > 0 {
            return (found != negated).then_some(at + 1);
        }
        let low = class_character(pattern, &mut at)?;
        let high = if pattern.get(at) == Some(&'-') {
            at += 1;
            class_character(pattern, &mut at)?
        } else {
            low
        };
        found |= (low..=high).contains(&c);
        n_ranges += 1;
    }
}

fn class_character(pattern: &[char], at: &mut usize) -> Option<char> {
    let mut c = *pattern.get(*at)?;
    if matches!(c, '-' | ']') {
        return None;
    }
    if c == '\\' {
        *at += 1;
        c = *pattern.get(*at)?;
    }
    *at += 1;
    Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*d", "abc", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "ä", true),
            ("[a-c]", "b", true),
            ("[^a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[]a]", "a", false),
            ("[-]", "-", false),
            ("[\\-]", "-", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches_component(pattern, name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn ignore_patterns_match_folders_above_and_the_last_decides() {
        for (patterns, path, expected) in [
            (&["a"][..], "a/b", true),
            (&["*.txt"], "d/a.txt", false),
            (&["**/*.txt"], "d/e/a.txt", true),
            (&["**/*.txt"], "a.txt", true),
            (&["d/**"], "d/e/a", true),
            (&["d/**"], "d", false),
            (&["*", "!a"], "a", false),
            (&["*", "!a", "a"], "a", true),
            (&["./d/../a"], "a", true),
            (&[""], "a", false),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(
                matches_any(&patterns, path),
                expected,
                "{patterns:?} {path}"
            );
        }
    }
}
